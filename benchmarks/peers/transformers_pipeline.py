"""The mask-generation pipeline of transformers on one image: `… FOLDER IMAGE [NAME=NUMBER …]`.

FOLDER is a model saved by transformers. Prints the number of masks.
"""

from __future__ import annotations

import sys

import torch
from PIL import Image
from transformers import pipeline


def main() -> None:
    """Load, generate, count."""
    folder, image, *options = sys.argv[1:]
    settings = {name: float(value) for name, value in (option.split("=") for option in options)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = pipeline("mask-generation", model=folder, device=device)
    found = generator(Image.open(image).convert("RGB"), points_per_batch=64, **settings)
    print(len(found["masks"]))


if __name__ == "__main__":
    main()
