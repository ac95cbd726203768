"""`graft evaluate`, for classes and for numbers."""
