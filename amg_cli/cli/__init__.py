"""Floor 6: one file a command. Parse, call, print; no algorithm."""
