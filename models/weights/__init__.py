"""Reads published weights: one module for each file format."""
