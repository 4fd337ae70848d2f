"""How well masks cover true segments, one by one, and how much they repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.evaluate.truth import TrueImage

RECALL_AT = (0.5, 0.75, 0.9)
DUPLICATE_IOU = 0.9


def iou_matrix(rows: Sequence[Rle], columns: Sequence[Rle]) -> NDArray[np.float64]:
    """Mask IoU of each with each. -> (R, C)"""
    if not rows or not columns:
        return np.zeros((len(rows), len(columns)))
    return np.asarray(coco_mask.iou(list(rows), list(columns), [0] * len(columns)))


@dataclass(frozen=True)
class ImageSegments:
    """One image's figures.

    best_iou:   of each true segment that is no crowd, with the mask that fits it best
    nb_masks:   masks of the image
    coverage:   share of the image's pixels in at least one mask
    duplicates: masks with an IoU over `DUPLICATE_IOU` with a mask that is ranked before them
    """

    best_iou: tuple[float, ...]
    nb_masks: int
    coverage: float
    duplicates: int


def measure_segments(truth: TrueImage, masks: Sequence[Mask]) -> ImageSegments:
    """Compare the masks of one image, best first, with its true segments."""
    rles = [mask.rle for mask in masks]
    true_rles = [segment.rle for segment in truth.segments if not segment.is_crowd]
    best = iou_matrix(rles, true_rles).max(axis=0, initial=0)
    with_earlier = np.tril(iou_matrix(rles, rles), k=-1)
    covered_px = rle_codec.area(rle_codec.merge(rles)) if rles else 0
    return ImageSegments(
        best_iou=tuple(best.tolist()),
        nb_masks=len(masks),
        coverage=covered_px / (truth.size_hw[0] * truth.size_hw[1]),
        duplicates=int((with_earlier > DUPLICATE_IOU).any(axis=1).sum()),
    )


@dataclass
class SegmentsTally:
    """Means over images, which are kept as a few numbers each."""

    images: list[ImageSegments] = field(default_factory=list)

    def add(self, image: ImageSegments) -> None:
        """Count one more image in."""
        self.images.append(image)

    def scores(self) -> dict[str, float]:
        """Over all segments: mean best IoU, recall. Over images: masks, coverage, duplicates."""
        best = [iou for image in self.images for iou in image.best_iou]
        nb_masks = sum(image.nb_masks for image in self.images)
        nb_duplicates = sum(image.duplicates for image in self.images)
        scores = {"mean best IoU": mean(best)}
        scores |= {f"recall at {at}": mean([iou >= at for iou in best]) for at in RECALL_AT}
        scores["masks an image"] = mean([image.nb_masks for image in self.images])
        scores["coverage"] = mean([image.coverage for image in self.images])
        scores["duplicates"] = nb_duplicates / nb_masks if nb_masks else float("nan")
        return scores


def mean(values: Sequence[float]) -> float:
    """The mean, or nan of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
