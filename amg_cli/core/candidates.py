"""What generation passes on: `Candidates`, many masks as columns.

N counts candidates. All boxes are XYXY in pixels of the original image, right and bottom inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from amg_cli.core.mask import Mask
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
    nb_views:        how many views of the image they may come from
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: Tensor
    pred_iou: Tensor
    stability_score: Tensor
    points_xy: Tensor
    crop_boxes_xyxy: Tensor
    nb_views: int = 1

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
            self.nb_views,
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
            max(part.nb_views for part in parts),
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
