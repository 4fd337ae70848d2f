"""`generate` alone, without start-up, in one process and in turn: what a GPU does an image in.

    python benchmarks/in_process.py --checkpoint mobile_sam.pt dog.jpg truck.jpg

In the environment of `benchmarks/requirements.txt`. The device is the GPU where there is one; amg
is then compiled too. With `--reference` the published generator takes part.
"""

from __future__ import annotations

import importlib
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from side_by_side import machine

from amg_cli import generate, load_model
from amg_cli.batch.reading import read_image
from amg_cli.cli.process import keep_memory
from amg_cli.models.compiled import compile_model
from amg_cli.models.devices import synchronizer

Image = NDArray[np.uint8]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Contender = Callable[[Image], int | None]  # -> the number of masks, where it has any


def amg(checkpoint: Path, precision: str, compiled: bool = False) -> Contender:
    """This project's."""
    model = load_model(checkpoint, device=DEVICE, precision=precision)
    if compiled:
        compile_model(model)
    return lambda image: len(generate(image, model))


def reference(checkpoint: Path, module: str, model_type: str) -> Contender:
    """The published generator."""
    published = importlib.import_module(module)
    model = published.sam_model_registry[model_type](checkpoint=str(checkpoint)).eval()
    model.to(DEVICE)
    generator = published.SamAutomaticMaskGenerator(model, output_mode="coco_rle")
    return lambda image: len(generator.generate(image))


def in_turn(
    contenders: dict[str, Contender], images: tuple[Path, ...], rounds: int
) -> list[dict[str, Any]]:
    """Time all on every image, round by round, after one that warms up; and print it."""
    wait = synchronizer(torch.device(DEVICE))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for round_ in range(rounds + 1):
        for path in images:
            image_rgb = read_image(path)
            for name, run in contenders.items():
                start = time.perf_counter()
                nb_masks = run(image_rgb)
                if wait:
                    wait()
                row = found.setdefault((path.name, name), {"masks": nb_masks, "seconds": []})
                if round_:
                    row["seconds"].append(round(time.perf_counter() - start, 4))
    rows = [{"image": i, "contender": name, **row} for (i, name), row in found.items()]
    for row in rows:
        seconds = row["seconds"]
        masks = "" if row["masks"] is None else f" {row['masks']:4} masks"
        click.echo(
            f"{row['image']:<16} {row['contender']:<32} {statistics.median(seconds):8.3f} s "
            f"({min(seconds):.3f} to {max(seconds):.3f}){masks}"
        )
    return rows


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--reference", "module", help="mobile_sam or segment_anything.")
@click.option("--model-type", default="vit_t", show_default=True, help="Of the reference.")
@click.option(
    "--rounds",
    default=5,
    type=click.IntRange(min=1),
    show_default=True,
    help="After one that warms up.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    images: tuple[Path, ...],
    checkpoint: Path,
    module: str | None,
    model_type: str,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Time the generation alone."""
    warnings.filterwarnings("ignore")
    keep_memory()
    contenders = {"amg fp32": amg(checkpoint, "fp32"), "amg bf16": amg(checkpoint, "bf16")}
    if torch.cuda.is_available():
        contenders["amg bf16 compiled"] = amg(checkpoint, "bf16", compiled=True)
    if module:
        contenders[module] = reference(checkpoint, module, model_type)
    rows = in_turn(contenders, images, rounds)
    if json_file:
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        result = {"machine": {**machine(), "gpu": gpu}, "runs": rows}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
