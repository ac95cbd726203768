"""Heads and top blocks of networks, trained in the autodiff graph, resumable to the bit."""
