"""The operations of the graph, one family in a module."""
