"""Mask decoders, one kind a file; and the two-way transformer."""
