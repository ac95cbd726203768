"""Small programs for the autodiff graph, each with its known answer; `python -m examples.line` runs the first."""
