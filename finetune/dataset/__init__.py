"""What a person wants to know of a set of images before anything is trained on it, and how it is split."""
