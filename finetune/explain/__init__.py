"""What in a photo speaks for a class."""
