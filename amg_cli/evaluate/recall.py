"""Average recall (AR) of ranked masks, class-agnostic: the arithmetic is pycocotools'.

K stands for the masks an image may have, T for the IoU thresholds 0.5, 0.55, …, 0.95.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from amg_cli.core.mask import Mask
from amg_cli.evaluate.truth import TrueImage

MAX_MASKS = (10, 100, 1000)
SIZES = ("all", "small", "medium", "large")  # COCO's: under 32², to 96², and more
IOU_THRESHOLDS = tuple(float(threshold) for threshold in COCOeval(iouType="segm").params.iouThrs)


def _zeros(*shape: int) -> NDArray[np.int64]:
    return np.zeros(shape, np.int64)


@dataclass
class RecallTally:
    """What has been found so far; images are added one at a time and not kept.

    found: (sizes, K, T) true segments found by the first K masks of each image
    count: (sizes,) true segments
    """

    found: NDArray[np.int64] = field(
        default_factory=lambda: _zeros(len(SIZES), len(MAX_MASKS), len(IOU_THRESHOLDS))
    )
    count: NDArray[np.int64] = field(default_factory=lambda: _zeros(len(SIZES)))

    def add(self, truth: TrueImage, masks: Sequence[Mask]) -> None:
        """Match the best-scored masks of an image to its true segments, as COCOeval does."""
        for size, matched in enumerate(_evaluate(truth, masks)):
            if matched is None:  # neither masks nor segments
                continue
            hits = (matched["dtMatches"] > 0) & ~matched["dtIgnore"].astype(bool)
            for i, most in enumerate(MAX_MASKS):
                self.found[size, i] += hits[:, :most].sum(axis=1)
            self.count[size] += np.count_nonzero(np.asarray(matched["gtIgnore"]) == 0)

    def curve(self, size: str = "all") -> list[float]:
        """Recall at each of `IOU_THRESHOLDS`, of at most 1,000 masks an image."""
        i = SIZES.index(size)
        return [_share(n, self.count[i]) for n in self.found[i, -1]]

    def scores(self) -> dict[str, float]:
        """AR for each number of masks, and for each size at the largest. nan without segments."""
        scores = {
            f"AR@{most}": _share(self.found[0, i].mean(), self.count[0])
            for i, most in enumerate(MAX_MASKS)
        }
        for i, size in enumerate(SIZES[1:], start=1):
            name = f"AR@{MAX_MASKS[-1]} {size}"
            scores[name] = _share(self.found[i, -1].mean(), self.count[i])
        return scores


def _share(part: float, count: int) -> float:
    return float(part / count) if count else float("nan")


def _evaluate(truth: TrueImage, masks: Sequence[Mask]) -> list[Any]:
    """What COCOeval finds for one image, one for each of `SIZES`."""
    annotations = [
        {"segmentation": segment.rle, "area": segment.area_px, "iscrowd": int(segment.is_crowd)}
        for segment in truth.segments
    ]
    results = [
        {"segmentation": mask.rle, "area": mask.area_px, "iscrowd": 0, "score": mask.pred_iou}
        for mask in masks
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        evaluation = COCOeval(
            _coco(annotations, truth.size_hw), _coco(results, truth.size_hw), "segm"
        )
        evaluation.params.useCats = 0
        evaluation.params.maxDets = list(MAX_MASKS)
        evaluation.evaluate()
    return list(evaluation.evalImgs)


def _coco(annotations: list[dict[str, Any]], size_hw: tuple[int, int]) -> COCO:
    """An index of one image. Identifiers begin at 1: COCOeval takes 0 for no match."""
    index = COCO()
    index.dataset = {
        "images": [{"id": 1, "height": size_hw[0], "width": size_hw[1]}],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": coco_mask.toBbox(a["segmentation"])}
            | a
            for i, a in enumerate(annotations, start=1)
        ],
    }
    index.createIndex()
    return index
