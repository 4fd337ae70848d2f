"""One ViT-B with seeded random weights, for every contender: `python random_vit_b.py FOLDER`.

Writes FOLDER/vit_b.pth, as the official file is, and FOLDER/transformers, the same by its library.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from amg_cli.weights.layouts import to_official


def main() -> None:
    """Draw the weights, write both."""
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    model = SamModel(SamConfig()).eval()
    model.save_pretrained(folder / "transformers")
    SamProcessor(SamImageProcessor()).save_pretrained(folder / "transformers")
    torch.save(to_official(model.state_dict()), folder / "vit_b.pth")


if __name__ == "__main__":
    main()
