"""What commands have in common: options, text, progress, and how answers are printed."""
