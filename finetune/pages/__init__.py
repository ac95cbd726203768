"""What all HTML pages share: how numbers are written, the style sheet, and templates that escape everything."""
