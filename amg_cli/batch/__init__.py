"""Floor 5: many images: find, name, read, generate, commit. Knows nothing of click or networks."""
