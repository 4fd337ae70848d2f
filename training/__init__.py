"""Training of `nano`, the model that comes with the package. Not part of the package."""
