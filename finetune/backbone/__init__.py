"""The frozen part of a network: what it computes of each view of an image, and where trainable blocks begin."""
