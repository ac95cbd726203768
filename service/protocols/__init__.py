"""How requests are put and results are given: one module for each protocol, with its own routes."""
