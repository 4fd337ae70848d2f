"""Image encoders, one kind a file."""
