"""One prompt for each true segment: the published measure of interactive segmentation.

A point is the innermost of its segment, that is the farthest from its boundary; a box is the
segment's own. Of the three masks a prompt gives, the model's first choice and the best are scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.evaluate.recall import SIZES
from amg_cli.evaluate.segments import iou_matrix, mean
from amg_cli.evaluate.truth import Segment, TrueImage
from amg_cli.generation.predict import Prediction, encode_image, predictions
from amg_cli.generation.prompts import Prompts
from amg_cli.models.sam import Sam

MIN_AREA_PX = 200  # smaller segments are left out
LARGE_FROM_PX, MEDIUM_FROM_PX = 96**2, 32**2

PromptKind = Literal["point", "box"]


def innermost_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The centre (x, y) of the pixel of `mask`, (H, W), that is farthest from its boundary.

    The image's edge is boundary too. Of several such pixels the first, row by row.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = divmod(int(distance.argmax()), mask.shape[1])
    return x + 0.5, y + 0.5


@dataclass(frozen=True)
class PromptedSegment:
    """One true segment's result. area_px: of the truth; IoU of the first choice and of the best."""

    area_px: float
    first_iou: float
    best_iou: float


def prompt_segments(
    model: Sam, image_rgb: NDArray[np.uint8], truth: TrueImage
) -> dict[PromptKind, list[PromptedSegment]]:
    """Prompt the model for each true segment of an image, by point and by box.

    Raises InputError for an image that is not of the truth's size.
    """
    if image_rgb.shape[:2] != truth.size_hw:
        cause = f"(h, w) is {image_rgb.shape[:2]}, where the truth is {truth.size_hw}"
        raise InputError(truth.file_name, cause, "give the image that the truth was drawn on")
    segments = [s for s in truth.segments if s.area_px >= MIN_AREA_PX and not s.is_crowd]
    if not segments:
        return {"point": [], "box": []}
    rles = [segment.rle for segment in segments]
    encoded = encode_image(model, image_rgb)
    points = np.array([innermost_point(rle_codec.decode(rle)) for rle in rles])
    boxes = coco_mask.toBbox(rles)
    boxes[:, 2:] += boxes[:, :2]
    return {
        "point": list(_score(segments, predictions(model, encoded, Prompts(points[:, None])))),
        "box": list(_score(segments, predictions(model, encoded, Prompts(boxes_xyxy=boxes)))),
    }


def _score(segments: Sequence[Segment], found: Iterator[Prediction]) -> Iterator[PromptedSegment]:
    remaining = iter(segments)
    for prediction in found:
        for masks, scores in zip(prediction.masks, prediction.scores, strict=True):
            segment = next(remaining)
            iou = iou_matrix(rle_codec.encode_all(masks), [segment.rle])[:, 0]
            first = float(iou[int(scores.argmax())])
            yield PromptedSegment(segment.area_px, first, float(iou.max()))


def prompt_scores(results: Sequence[PromptedSegment]) -> dict[str, float]:
    """Mean IoU of the first choice and of the best of three; the latter by size as well."""
    scores = {
        "segments": len(results),
        "first": mean([result.first_iou for result in results]),
        "best of three": mean([result.best_iou for result in results]),
    }
    for size in SIZES[1:]:
        ious = [result.best_iou for result in results if _size(result.area_px) == size]
        scores[f"best of three {size}"] = mean(ious)
    return scores


def _size(area_px: float) -> str:
    if area_px >= LARGE_FROM_PX:
        return "large"
    return "medium" if area_px >= MEDIUM_FROM_PX else "small"
