"""The two-way decoder by less work: the image in factors."""
