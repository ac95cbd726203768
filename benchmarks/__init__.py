"""One script for each claim about speed or memory; each prints one table."""
