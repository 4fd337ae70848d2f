"""The published generator on one image: `python reference.py MODULE TYPE FILE IMAGE`.

MODULE is mobile_sam or segment_anything, TYPE a key of its registry, FILE a checkpoint. Options
after these are settings of `SamAutomaticMaskGenerator`, as NAME=NUMBER. Prints the number of masks.
"""

from __future__ import annotations

import importlib
import sys
import warnings

import cv2
import torch


def main() -> None:
    """Load, generate, count."""
    module, model_type, checkpoint, image, *options = sys.argv[1:]
    warnings.filterwarnings("ignore")
    published = importlib.import_module(module)
    model = published.sam_model_registry[model_type](checkpoint=checkpoint).eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    settings = {name: float(value) for name, value in (option.split("=") for option in options)}
    generator = published.SamAutomaticMaskGenerator(model, output_mode="coco_rle", **settings)
    image_bgr = cv2.imread(image)
    assert image_bgr is not None, image
    image_rgb = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    print(len(generator.generate(image_rgb)))


if __name__ == "__main__":
    main()
