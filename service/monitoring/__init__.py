"""What is served, compared with what it should be: with its own file, its training images, and another model."""
