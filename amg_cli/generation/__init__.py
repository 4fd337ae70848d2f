"""Floor 3: the masks of one image."""
