"""Teaches a model new classes."""
