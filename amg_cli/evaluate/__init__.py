"""Floor 5: scores of masks against truth, and against another run."""
