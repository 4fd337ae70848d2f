"""What generation passes on: `Candidates`, many masks as columns.

N counts candidates. All boxes are XYXY in pixels of the original image, right and bottom inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amg_cli.core.config import GenerationConfig
from amg_cli.core.mask import Mask
from amg_cli.core.masks import Masks
from amg_cli.core.rle import Rle
from amg_cli.core.stored_rles import StoredRles

# Those of the fields below that have a row a candidate, but for the masks.
COLUMNS = ("boxes_xyxy", "areas_px", "pred_iou", "stability_score", "points_xy", "crop_boxes_xyxy")


@dataclass(frozen=True)
class Candidates:
    """Masks that may become results. Tensors are on the CPU; nothing is changed in place.

    rles:            N masks
    boxes_xyxy:      (N, 4) int64, the box of each mask's pixels
    areas_px:        (N,) int64, the number of each mask's pixels
    pred_iou:        (N,) float32, the model's own estimate of the mask's IoU; can exceed 1
    stability_score: (N,) float32 in [0, 1]
    points_xy:       (N, 2) float64, the prompt, in pixels of the original image
    crop_boxes_xyxy: (N, 4) int64, the crop the mask was found in; right and bottom *exclusive*
    nb_views:        how many views of the image they may come from
    image_hw:        the image's height and width in pixels
    proposed_with:   the settings that they were found with, if that is known; thresholds under
                     theirs would miss masks
    """

    rles: Sequence[Rle]
    boxes_xyxy: Tensor
    areas_px: Tensor
    pred_iou: Tensor
    stability_score: Tensor
    points_xy: Tensor
    crop_boxes_xyxy: Tensor
    nb_views: int = 1
    image_hw: tuple[int, int] = (0, 0)
    proposed_with: GenerationConfig | None = None

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, keep: Tensor) -> Candidates:
        """Those that `keep` names: a (N,) bool, or indices in the order wanted."""
        index = keep.nonzero()[:, 0] if keep.dtype == torch.bool else keep
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in COLUMNS}
        return replace(self, rles=_taken(self.rles, index.tolist()), **columns)

    @classmethod
    def empty(cls) -> Candidates:
        """No candidates."""
        no_boxes = torch.zeros((0, 4), dtype=torch.int64, device="cpu")
        no_scores = torch.zeros(0, dtype=torch.float32, device="cpu")
        no_points = torch.zeros((0, 2), dtype=torch.float64, device="cpu")
        no_areas = torch.zeros(0, dtype=torch.int64, device="cpu")
        return cls((), no_boxes, no_areas, no_scores, no_scores, no_points, no_boxes)

    @classmethod
    def concat(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of `parts`, in order. What is of all candidates is as in the first."""
        whole = parts[0] if parts else cls.empty()
        if len(parts) < 2:
            return whole
        columns: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in COLUMNS
        }
        return replace(whole, rles=tuple(rle for part in parts for rle in part.rles), **columns)

    def save(self, path: Path) -> None:
        """Keep them in a file, numpy's .npz, for `load`. Raises OSError."""
        from amg_cli.core.candidates_file import save

        save(self, path)

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Those that `save` has kept. Raises InputError where there are none, or damaged ones."""
        from amg_cli.core.candidates_file import load

        return load(path)

    def masks(self) -> Masks:
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
        return Masks(
            Mask(rle, tuple(box), pred_iou, stability, tuple(point), tuple(crop))
            for rle, box, pred_iou, stability, point, crop in columns
        )


def _taken(rles: Sequence[Rle], indices: Sequence[int]) -> Sequence[Rle]:
    return rles.take(indices) if isinstance(rles, StoredRles) else tuple(rles[i] for i in indices)
