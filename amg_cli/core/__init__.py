"""Floor 1: plain values and arithmetic. Imports nothing else of this package."""
