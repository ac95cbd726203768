"""What several of the examples share; none of it is a program."""
