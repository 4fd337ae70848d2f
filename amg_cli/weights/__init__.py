"""Floor 3: from a name or a file to a model: known models, cache, download, checkpoints."""
