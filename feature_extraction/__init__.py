"""Images in, vectors out."""
