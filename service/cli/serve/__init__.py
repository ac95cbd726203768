"""`graft serve`: what it is started with, and what it says."""
