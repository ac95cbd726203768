"""Event files and projector folders that TensorBoard reads."""
