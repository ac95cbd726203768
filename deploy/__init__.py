"""What runs around a service; the list of what its images install is the only code here."""
