"""The page that shows a run: a folder that a browser opens from the disk."""
