"""Floor 3: output formats, a writer and a reader each, one file a format."""
