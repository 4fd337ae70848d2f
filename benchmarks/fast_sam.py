"""FastSAM's networks beside everything by `nano`, in one process and in turn: time only.

    python benchmarks/fast_sam.py dog.jpg truck.jpg

In the environment of `benchmarks/requirements.txt`, with ultralytics. FastSAM-s and -x are YOLOv8's
networks for segmentation with one class, at 1,024 pixels (Zhao et al. 2023). Their weights here are
random, so that what follows the network, and depends on what it finds, is left out: NMS and the
masks of those that stay. `amg` is timed whole, from the pixels to the masks.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import click
import cv2
import torch
from in_process import Contender, Image, in_turn
from side_by_side import machine

from amg_cli import GenerationConfig, generate, load_model
from amg_cli.cli.process import prepare_process
from amg_cli.models.sam import Sam

LONG_SIDE, STRIDE = 1024, 32
NETWORKS = {"FastSAM-s": "yolov8s-seg.yaml", "FastSAM-x": "yolov8x-seg.yaml"}


def everything(model: Sam, coarse_nms_thresh: float = 1.0) -> Contender:
    """By a model's own settings, from the pixels to the masks."""
    config = GenerationConfig(**model.settings, coarse_nms_thresh=coarse_nms_thresh)
    return lambda image_rgb: len(generate(image_rgb, model, config))


def fast_sam(layout: str) -> Contender:
    """A network with random weights, of an RGB image."""
    from ultralytics.nn.tasks import SegmentationModel

    model = SegmentationModel(layout, nc=1, verbose=False).eval().fuse(verbose=False)

    def run(image_rgb: Image) -> None:
        """The network alone."""
        model(network_input(image_rgb))

    return run


def network_input(image_rgb: Image) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H', W') in [0, 1]: resized and padded as its own program does."""
    height, width = image_rgb.shape[:2]
    scale = LONG_SIDE / max(height, width)
    height, width = round(height * scale), round(width * scale)
    image = cv2.resize(image_rgb, (width, height))
    below, right = -height % STRIDE, -width % STRIDE
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(114,) * 3)
    return torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=7, show_default=True, help="After one that warms up.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@torch.inference_mode()
def main(images: tuple[Path, ...], rounds: int, json_file: Path | None) -> None:
    """Time them side by side."""
    warnings.filterwarnings("ignore")
    prepare_process()
    model = load_model("nano", device="cpu")
    contenders = {
        "amg nano": everything(model),
        "amg nano --coarse-nms-thresh 0.9": everything(model, 0.9),
    }
    contenders.update({name: fast_sam(layout) for name, layout in NETWORKS.items()})
    runs = in_turn(contenders, images, rounds)
    if json_file:
        result = {"machine": machine(), "threads": torch.get_num_threads(), "runs": runs}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
