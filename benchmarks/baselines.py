"""Masks by classical methods: what a proposal generator should beat.

`python benchmarks/baselines.py METHOD --input DIR --output DIR` writes the reference's RLE file for
each image, named as `amg` names it, so that `amg eval --masks DIR` reads it. Needs scikit-image.

METHOD segments the image several times, from coarse to fine, and pools the regions:

    felzenszwalb  graph-based segmentation at scales 800, 400, 200, 100, 50; min_size 50
    slic          superpixels: 25, 50, 100, 200, 400 asked for; a textured photograph gives about a
                  third, as its small ones are merged

Rank: coarser segmentations first, larger regions first within one, of equal area the lower label.
A region that an earlier segmentation holds too is dropped, and so are those beyond the 1,000th: of
felzenszwalb on a photograph, most of scales 100 and 50. `predicted_iou` only tells the rank: 1,
1/2, 1/3, …; `stability_score` is 1; the point is a pixel of the mask; the crop is the whole image.

Selective search is left out. OpenCV has it in opencv-contrib-python alone, whose files take the
place of those of opencv-python, which `amg` needs; and it gives boxes, not masks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from amg_cli.batch.commit import committed
from amg_cli.batch.naming import Names
from amg_cli.batch.reading import read_image
from amg_cli.batch.sources.inputs import find_sources
from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import AmgError, ImageError
from amg_cli.core.mask import Mask
from amg_cli.formats import reference_rle
from amg_cli.formats.format import Output
from amg_cli.formats.result import Result

SCALES = (800, 400, 200, 100, 50)
MIN_SIZE_PX = 50
SEGMENT_COUNTS = (25, 50, 100, 200, 400)
MAX_MASKS = 1000

Segmentations = Iterator[NDArray[np.integer]]


def felzenszwalb(image_rgb: NDArray[np.uint8]) -> Segmentations:
    """(H, W, 3) -> an (H, W) of labels for each scale, coarse to fine."""
    from skimage import segmentation

    for scale in SCALES:
        yield segmentation.felzenszwalb(image_rgb, scale=scale, min_size=MIN_SIZE_PX)


def slic(image_rgb: NDArray[np.uint8]) -> Segmentations:
    """(H, W, 3) -> an (H, W) of labels for each number of superpixels, coarse to fine."""
    from skimage import segmentation

    for nb_segments in SEGMENT_COUNTS:
        yield segmentation.slic(image_rgb, n_segments=nb_segments)


METHODS: dict[str, Callable[[NDArray[np.uint8]], Segmentations]] = {
    "felzenszwalb": felzenszwalb,
    "slic": slic,
}


def pooled_masks(segmentations: Segmentations, max_masks: int = MAX_MASKS) -> list[Mask]:
    """The regions of all segmentations as masks, in order of rank; no mask twice."""
    masks: list[Mask] = []
    seen: set[str] = set()
    for labels in segmentations:
        for region in _regions(labels):
            if len(masks) == max_masks:
                return masks
            rle = rle_codec.encode(region)
            if rle["counts"] not in seen:
                seen.add(rle["counts"])
                masks.append(_mask(region, rle, rank=len(masks)))
    return masks


def _regions(labels: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
    """Each region of a segmentation as (H, W) bool, the largest first."""
    used, areas_px = np.unique(labels, return_counts=True)
    for i in np.argsort(-areas_px, kind="stable"):
        yield labels == used[i]


def _mask(region: NDArray[np.bool_], rle: rle_codec.Rle, rank: int) -> Mask:
    height, width = region.shape
    ys, xs = region.nonzero()
    middle = len(ys) // 2  # of its pixels in reading order; its centre may lie outside
    return Mask(
        rle=rle,
        box_xyxy=(int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())),
        pred_iou=1 / (1 + rank),
        stability_score=1.0,
        point_xy=(float(xs[middle]), float(ys[middle])),
        crop_box_xyxy=(0, 0, width, height),
    )


@click.command(context_settings={"max_content_width": 100})
@click.argument("method", type=click.Choice(list(METHODS)))
@click.option(
    "--input", "inputs", type=click.Path(path_type=Path), multiple=True, required=True,
    metavar="PATH", help="An image, or a folder of images. Can be given several times.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The folder to write to. An image whose file is there already is skipped.",
)  # fmt: skip
@click.option(
    "--max-masks", type=click.IntRange(min=1), default=MAX_MASKS, show_default=True,
    help="Masks an image at most.",
)  # fmt: skip
def main(method: str, inputs: tuple[Path, ...], output: Path, max_masks: int) -> None:
    """Write masks by a classical method for every image."""
    try:
        sources = find_sources(inputs, output, recursive=False)
    except AmgError as error:
        click.echo(error, err=True)
        sys.exit(error.exit_code)
    exit_code = 0
    names = Names().give([source.relative for source in sources])
    targets = [output / f"{name}{reference_rle.FORMAT.suffix}" for name in names]
    for source, target in tqdm(
        zip(sources, targets, strict=True), total=len(sources), unit="image"
    ):
        if target.exists():
            continue
        try:
            image_rgb = read_image(source.path)
            masks = pooled_masks(METHODS[method](image_rgb), max_masks)
            size_hw = image_rgb.shape[0], image_rgb.shape[1]
            result = Result(0, source.relative, source.relative, size_hw, masks)
            with committed(target, overwrite=False) as path:
                reference_rle.write(result, Output(path, target))
        except ImageError as error:
            tqdm.write(str(error), file=sys.stderr)
            exit_code = error.exit_code
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
