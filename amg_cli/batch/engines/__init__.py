"""What does the images of a run: this process, several, or a Ray cluster's actors."""
