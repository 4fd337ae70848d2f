"""The exported model's scores, so that the default thresholds keep what they keep of the teacher's.

Masks stay as they are: their logits are only scaled, and predicted IoUs put on another line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli.batch.reading import read_image
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.generation.propose import propose
from amg_cli.generation.select import select
from amg_cli.models.sam import Sam

DEFAULTS = replace(GenerationConfig(), points_per_side=16)
ALL = replace(DEFAULTS, pred_iou_thresh=0.0, stability_score_thresh=0.0)
LOWEST, HIGHEST, HALVINGS = 0.5, 16.0, 7  # of the logits' scale, and steps of the search


@dataclass(frozen=True)
class Calibration:
    """Predicted IoUs become `slope` times themselves plus `added`; logits `scale` times."""

    slope: float
    added: float
    scale: float


@torch.no_grad()
def calibrate(
    student: Sam, teacher: Sam, photographs: Sequence[Path], passing: float
) -> Calibration:
    """Change the student's heads, by what both models answer on some photographs.

    Of all predicted IoUs the share `passing` passes the default threshold, and those have the same
    median as the teacher's that do; after the other thresholds as many masks are left.
    """
    images = [read_image(path) for path in photographs]
    taught = [propose(teacher, image, ALL) for image in images]
    found = [propose(student, image, ALL) for image in images]
    slope, added = _line(Candidates.concat(found), Candidates.concat(taught), passing)
    decoder: Any = student.mask_decoder
    last = decoder.iou_prediction_head.layers[-1]
    last.weight *= slope
    last.bias.mul_(slope).add_(added)
    scale = _scale(student, images, nb_masks=sum(len(select(c, DEFAULTS)) for c in taught))
    for mlp in decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight *= scale
        mlp.layers[-1].bias *= scale
    return Calibration(slope, added, scale)


def _line(found: Candidates, wanted: Candidates, passing: float) -> tuple[float, float]:
    """The slope and the constant that bring predicted IoUs to those that are wanted."""
    threshold = DEFAULTS.pred_iou_thresh
    median = float(wanted.pred_iou[wanted.pred_iou > threshold].median())
    ranks = torch.tensor([1 - passing, 1 - passing / 2])
    low, middle = torch.quantile(found.pred_iou, ranks).tolist()
    slope = (median - threshold) / (middle - low)
    return slope, threshold - slope * low


def _scale(student: Sam, images: Sequence[NDArray[np.uint8]], nb_masks: int) -> float:
    """The factor of the logits with which so many masks pass; more do with a larger one."""
    low, high = LOWEST, HIGHEST
    for _ in range(HALVINGS):
        scale = (low * high) ** 0.5
        # Logits of a larger scale are as those of this one with the offset made smaller.
        offset = DEFAULTS.stability_score_offset / scale
        config = replace(DEFAULTS, stability_score_offset=offset)
        found = [propose(student, image, config) for image in images]
        enough = sum(len(select(candidates, config)) for candidates in found) >= nb_masks
        low, high = (low, scale) if enough else (scale, high)
    return (low * high) ** 0.5
