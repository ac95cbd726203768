"""Heads and top blocks of networks, trained in the autodiff graph."""
