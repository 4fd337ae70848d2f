"""Floor 5: one file a command. Parse, call, print; no algorithm."""
