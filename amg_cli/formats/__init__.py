"""Floor 4: output formats, a writer and a reader each, one file a format."""
