"""What generation passes on: `Candidates`, many masks as columns, and `Mask`, one result.

N counts candidates. All boxes are XYXY in pixels of the original image, right and bottom inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.rle import Rle


@dataclass(frozen=True)
class Candidates:
    """Masks that may become results. Tensors are on the CPU; nothing is changed in place.

    rles:            N masks
    boxes_xyxy:      (N, 4) int64, the box of each mask's pixels
    pred_iou:        (N,) float32, the model's own estimate of the mask's IoU; can exceed 1
    stability_score: (N,) float32 in [0, 1]
    points_xy:       (N, 2) float64, the prompt, in pixels of the original image
    crop_boxes_xyxy: (N, 4) int64, the crop the mask was found in; right and bottom *exclusive*
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: Tensor
    pred_iou: Tensor
    stability_score: Tensor
    points_xy: Tensor
    crop_boxes_xyxy: Tensor

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, keep: Tensor) -> Candidates:
        """Those that `keep` names: a (N,) bool, or indices in the order wanted."""
        index = keep.nonzero()[:, 0] if keep.dtype == torch.bool else keep
        return Candidates(
            tuple(self.rles[i] for i in index.tolist()),
            self.boxes_xyxy[index],
            self.pred_iou[index],
            self.stability_score[index],
            self.points_xy[index],
            self.crop_boxes_xyxy[index],
        )

    @classmethod
    def empty(cls) -> Candidates:
        """No candidates."""
        no_boxes = torch.zeros((0, 4), dtype=torch.int64, device="cpu")
        no_scores = torch.zeros(0, dtype=torch.float32, device="cpu")
        no_points = torch.zeros((0, 2), dtype=torch.float64, device="cpu")
        return cls((), no_boxes, no_scores, no_scores, no_points, no_boxes)

    @classmethod
    def concat(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of `parts`, in order."""
        parts = [cls.empty(), *parts]
        return cls(
            tuple(rle for part in parts for rle in part.rles),
            torch.cat([part.boxes_xyxy for part in parts]),
            torch.cat([part.pred_iou for part in parts]),
            torch.cat([part.stability_score for part in parts]),
            torch.cat([part.points_xy for part in parts]),
            torch.cat([part.crop_boxes_xyxy for part in parts]),
        )

    def masks(self) -> list[Mask]:
        """Each candidate as a `Mask`, in order."""
        columns = zip(
            self.rles,
            self.boxes_xyxy.tolist(),
            self.pred_iou.tolist(),
            self.stability_score.tolist(),
            self.points_xy.tolist(),
            self.crop_boxes_xyxy.tolist(),
            strict=True,
        )
        return [
            Mask(rle, tuple(box), pred_iou, stability, tuple(point), tuple(crop))
            for rle, box, pred_iou, stability, point, crop in columns
        ]


@dataclass(frozen=True)
class Mask:
    """One mask of an image, and how it was found. See `Candidates` for units."""

    rle: Rle
    box_xyxy: tuple[int, int, int, int]
    pred_iou: float
    stability_score: float
    point_xy: tuple[float, float]
    crop_box_xyxy: tuple[int, int, int, int]

    @property
    def area_px(self) -> int:
        """Number of pixels in the mask."""
        return rle_codec.area(self.rle)

    def array(self) -> NDArray[np.bool_]:
        """The mask as (H, W) bool, at the size of the original image."""
        return rle_codec.decode(self.rle)

    def to_reference_dict(
        self, output_mode: Literal["binary_mask", "uncompressed_rle", "coco_rle"] = "coco_rle"
    ) -> dict[str, Any]:
        """The record that `SamAutomaticMaskGenerator.generate` returns for a mask.

        `bbox` and `crop_box` are XYWH with the reference's width: x1 - x0, so `bbox` is one pixel
        less than COCO's, its right edge being inclusive.
        """
        return {
            "segmentation": self._segmentation(output_mode),
            "area": self.area_px,
            "bbox": _xywh(self.box_xyxy),
            "predicted_iou": self.pred_iou,
            "point_coords": [list(self.point_xy)],
            "stability_score": self.stability_score,
            "crop_box": _xywh(self.crop_box_xyxy),
        }

    def _segmentation(self, output_mode: str) -> Any:
        if output_mode == "coco_rle":
            return {"size": list(self.rle["size"]), "counts": self.rle["counts"]}
        if output_mode == "binary_mask":
            return self.array()
        if output_mode == "uncompressed_rle":
            return {"size": list(self.rle["size"]), "counts": rle_codec.counts(self.rle)}
        modes = "binary_mask, uncompressed_rle or coco_rle"
        raise ValueError(f"output_mode: {modes} are known, not {output_mode!r}")


def _xywh(box_xyxy: tuple[int, int, int, int]) -> list[int]:
    x0, y0, x1, y1 = box_xyxy
    return [x0, y0, x1 - x0, y1 - y0]
