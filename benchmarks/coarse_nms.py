"""`--coarse-nms-thresh`: seconds with it and without, in turn, and the masks that are found again.

    python benchmarks/coarse_nms.py PHOTOS --json benchmarks/results/coarse_nms-nano.json
    python benchmarks/coarse_nms.py PHOTOS --checkpoint mobile_sam.pt --first 10

Generation alone, without start-up. Recall and duplicates are of `amg eval`, which takes the option.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
from side_by_side import machine

from amg_cli import GenerationConfig, Mask, generate, load_model
from amg_cli.batch.reading import read_image
from amg_cli.cli.process import keep_memory
from amg_cli.core import rle as rle_codec

SAME_IOU = 0.9


def nb_found_again(masks: list[Mask], others: list[Mask]) -> int:
    """How many of `masks` have one nearly the same among `others`."""
    if not masks or not others:
        return 0
    iou = rle_codec.shares([mask.rle for mask in masks], [mask.rle for mask in others])
    return int((iou.max(axis=1) >= SAME_IOU).sum())


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="Instead of nano.")
@click.option("--thresh", default=0.9, show_default=True)
@click.option("--first", default=20, show_default=True, help="So many photographs, by name.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    photos: Path, checkpoint: Path | None, thresh: float, first: int, json_file: Path | None
) -> None:
    """Time both ways on the same photographs."""
    keep_memory()
    model = load_model(checkpoint, device="cpu")
    of_model = dict(model.settings)
    every = GenerationConfig(**of_model)
    coarse = GenerationConfig(**of_model, coarse_nms_thresh=thresh)
    paths = sorted(photos.glob("*.jpg"))[:first]
    generate(read_image(paths[0]), model, every)
    rows: list[dict[str, Any]] = []
    for path in paths:
        image_rgb, seconds, found = read_image(path), [], []
        for config in (every, coarse):
            start = time.perf_counter()
            found.append(generate(image_rgb, model, config))
            seconds.append(round(time.perf_counter() - start, 3))
        numbers = {"masks": len(found[0]), "again": nb_found_again(*found)}
        rows.append({"image": path.name, "seconds": seconds, **numbers})
    ratios = [row["seconds"][0] / row["seconds"][1] for row in rows]
    without, with_it = (statistics.median(row["seconds"][i] for row in rows) for i in (0, 1))
    nb_masks, nb_again = (sum(row[name] for row in rows) for name in ("masks", "again"))
    click.echo(
        f"{model.name}: {without:.2f} s, {with_it:.2f} s with it, "
        f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"{nb_again} of {nb_masks} masks found again"
    )
    if json_file:
        summary = {"model": model.name, "thresh": thresh, "ratio": statistics.median(ratios)}
        result = {"machine": machine(), **summary, "images": rows}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
