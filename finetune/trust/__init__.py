"""Whether answers can be relied on: measured, calibrated, rejected where nothing is known, and proven in the file."""
