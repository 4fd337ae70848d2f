"""Everything by SAM 2, beside its published generator: seconds an image, and peak memory.

    python benchmarks/newer_models.py sam2.1_t IMAGE… --rounds 2 --json results/sam2.1_t.json

In an environment with `sam2` and amg on one torch, from this repository's root. Both have the same
weights, drawn by key, so that masks mean nothing and only time does: no thresholds, so that each of
the 3,072 masks is drawn, and duplicates by boxes. Each contender has a process of its own, in turn.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import torch
from side_by_side import machine

NO_THRESHOLDS: dict[str, Any] = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
CONTENDERS = ("amg fp32", "amg bf16", "sam2")


def published_model(name: str) -> Any:
    """The published model of a row of the zoo, with weights drawn by key."""
    from sam2.build_sam import build_sam2

    from tests.goldens import seeded

    release, size = name.split("_")
    model = build_sam2(f"configs/{release}/{release}_hiera_{size}.yaml", device="cpu")
    for key, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(seeded.sam2_weight(key, tuple(tensor.shape))))
    return model


def generator_of(contender: str, name: str, checkpoint: Path, side: int) -> Callable[[Any], Any]:
    """What finds the masks of an image. side: points along each side"""
    if contender == "sam2":
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        mode = "coco_rle"
        published = SAM2AutomaticMaskGenerator(
            published_model(name), points_per_side=side, output_mode=mode, **NO_THRESHOLDS
        )
        return published.generate
    from amg_cli import GenerationConfig, generate, load_model
    from amg_cli.cli.process import keep_memory

    keep_memory()
    model = load_model(
        checkpoint, model_type=name, device="cpu", precision=contender.removeprefix("amg ")
    )
    config = GenerationConfig(points_per_side=side, **NO_THRESHOLDS)
    return lambda image_rgb: generate(image_rgb, model, config)


def timed(
    given: tuple[str, str, Path, int], images: list[Path]
) -> tuple[list[tuple[str, float]], int]:
    """Seconds and masks of each image, and the most memory that the process had.

    given: to `generator_of`
    """
    from amg_cli.batch.reading import read_image

    run = generator_of(*given)
    rows = []
    for path in images:
        image_rgb = read_image(path)
        start = time.perf_counter()
        run(image_rgb)
        rows.append((path.name, time.perf_counter() - start))
    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=1, type=click.IntRange(min=1), show_default=True)
@click.option("--points-per-side", default=32, show_default=True)
@click.option("--contender", "contenders", multiple=True, type=click.Choice(CONTENDERS))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    name: str,
    images: tuple[Path, ...],
    rounds: int,
    points_per_side: int,
    contenders: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Time them in turn."""
    context = multiprocessing.get_context("spawn")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, f"{name}.pt")
        torch.save({"model": published_model(name).state_dict()}, checkpoint)
        for contender in (contenders or CONTENDERS) * rounds:
            given = (contender, name, checkpoint, points_per_side)
            with ProcessPoolExecutor(1, mp_context=context) as process:
                rows, peak = process.submit(timed, given, list(images)).result()
            for image, seconds in rows:
                row = found.setdefault((image, contender), {"seconds": [], "peak_mb": 0})
                row["seconds"].append(round(seconds, 3))
                row["peak_mb"] = max(row["peak_mb"], round(peak / 1e6))
    for (image, contender), row in found.items():
        median = f"{statistics.median(row['seconds']):7.1f} s"
        click.echo(f"{image:<16} {contender:<10} {median} {row['peak_mb']:6} MB")
    if json_file:
        runs = [{"image": i, "contender": c, **row} for (i, c), row in found.items()]
        json_file.write_text(
            json.dumps({"model": name, "machine": machine(), "runs": runs}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
