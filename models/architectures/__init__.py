"""Networks as blueprints, one module each."""
