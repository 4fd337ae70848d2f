"""Floor 4: scores of masks against truth, and against another run."""
