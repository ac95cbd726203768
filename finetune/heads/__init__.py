"""What stands behind the frozen part, and how both become one network."""
