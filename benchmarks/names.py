"""Names by a text-image encoder: how many true masks of a COCO data set get their true category.

    python benchmarks/names.py --truth instances.json --images DIR

Its categories are the classes. By `top1` a mask is right whose likeliest class is its own; `mean`
is over the categories that occur, each as much as another. `--text-encoder` and `--text-weights`
are as of `amg`; without them ViT-B-32, of which nobody has measured this here, as its weights could
not be had.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import click
from side_by_side import machine

from amg_cli.batch.convert import results_of, with_pixels
from amg_cli.core.errors import ImageError
from amg_cli.core.naming import BACKGROUNDS, Background, NamingConfig
from amg_cli.models.text_image import TextImageEncoder
from amg_cli.tasks.names import Namer
from amg_cli.weights.text_image import ENCODER, load_text_image_encoder


def score(
    truth: Path, images: Path, encoder: TextImageEncoder, background: Background, first: int | None
) -> dict[str, float]:
    """Shares of masks that are named right, and seconds a mask. first: only so many images"""
    right: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    namer, seconds = None, 0.0
    for number, result in enumerate(results_of(truth, images)):
        if isinstance(result, ImageError):
            raise result
        if number == first:
            break
        if not result.masks:
            continue
        if namer is None:
            namer = Namer(encoder, NamingConfig(classes=result.categories, background=background))
        pixels = with_pixels(result).image_rgb
        assert pixels is not None
        start = time.perf_counter()
        found = namer.named(pixels, result.masks)
        seconds += time.perf_counter() - start
        for mask, true in zip(found, result.masks, strict=True):
            masks[str(true.category)] += 1
            right[str(true.category)] += mask.category == true.category
    count = sum(masks.values())
    shares = [right[name] / number for name, number in masks.items()]
    return {
        "masks": count,
        "top1": round(sum(right.values()) / count, 4),
        "mean": round(sum(shares) / len(shares), 4),
        "seconds_a_mask": round(seconds / count, 4),
    }


@click.command()
@click.option("--truth", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--images", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--text-encoder", default=ENCODER, show_default=True)
@click.option("--text-weights")
@click.option("--device", default="auto", show_default=True)
@click.option("--first", type=int, help="Only so many images.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    truth: Path,
    images: Path,
    text_encoder: str,
    text_weights: str | None,
    device: str,
    first: int | None,
    json_file: Path | None,
) -> None:
    """A line for each treatment of the background."""
    encoder = load_text_image_encoder(text_encoder, text_weights, device=device, progress=True)
    rows = []
    for background in BACKGROUNDS:
        figures = score(truth, images, encoder, background, first)
        rows.append({"encoder": text_encoder, "background": background, **figures})
        click.echo(f"{background:<6} {figures}")
    if json_file:
        json_file.write_text(json.dumps({"machine": machine(), "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
