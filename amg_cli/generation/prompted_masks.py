"""Prompts by hand to `Mask`s: drawn along their outlines, scored as the generator scores them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.config import GenerationConfig
from amg_cli.core.host import in_own_precision
from amg_cli.core.mask import Mask
from amg_cli.generation.drawing import draw_masks
from amg_cli.generation.predict import Encoded
from amg_cli.generation.prompts import Prompts
from amg_cli.models.kinds import Decoded
from amg_cli.models.sam import Sam

OFFSET = GenerationConfig().stability_score_offset


@in_own_precision
@torch.inference_mode()
def prompted_masks(
    model: Sam,
    encoded: Encoded,
    prompts: Prompts,
    multimask: bool = True,
    refine: bool = False,
) -> list[list[Mask]]:
    """The masks of each of N prompts, in the model's order, but those without a pixel.

    `point_xy` of a mask is its prompt's first point, or its first box's centre; None where it has
    neither. Arguments and errors as of `predict`; and
    refine: prompt once more, by the answer's best mask as well, in logits
    """
    frame = encoded.frame
    height, width = frame.image_hw
    given = prompts.in_input(frame, encoded.mask_hw, model.device)
    decoded = model.decode(encoded.embedding, given, multimask)
    if refine:
        given = replace(given, masks=model.as_prompts(_best(decoded))[:, None])
        decoded = model.decode(encoded.embedding, given, multimask)
    scores = decoded.scores.cpu()
    drawn = draw_masks(frame, decoded.logits().cpu(), model.config.mask_threshold, OFFSET)
    found: list[list[Mask]] = []
    for point, of_prompt in zip(_points(prompts), scores.tolist(), strict=True):
        masks = []
        for score in of_prompt:
            mask = next(drawn)
            changes = rle_codec.changes(mask.strips(), mask.top_left, frame.image_hw)
            box_xyxy = rle_codec.box_of_changes(changes, frame.image_hw)
            if box_xyxy is not None:
                masks.append(
                    Mask(
                        rle=rle_codec.from_changes(changes, frame.image_hw),
                        box_xyxy=box_xyxy,
                        pred_iou=score,
                        stability_score=mask.stability_score,
                        point_xy=point,
                        crop_box_xyxy=(0, 0, width, height),
                    )
                )
        found.append(masks)
    return found


def _best(decoded: Decoded) -> Tensor:
    """Of each prompt's masks the one of the highest score, in logits: (N, H', W')."""
    count, nb_masks = decoded.scores.shape
    ranks = torch.arange(nb_masks, dtype=torch.int64, device=decoded.scores.device)
    if not count:
        return decoded.logits()
    return decoded.logits(decoded.scores.argmax(dim=1, keepdim=True) == ranks)


def _points(prompts: Prompts) -> list[tuple[float, float] | None]:
    """Of each prompt, what it points at."""
    points: NDArray[Any] | None = None
    if prompts.points_xy is not None and np.shape(prompts.points_xy)[1]:
        points = np.asarray(prompts.points_xy)[:, 0]
    elif prompts.boxes_xyxy is not None:
        boxes = np.asarray(prompts.boxes_xyxy)
        boxes = boxes if boxes.ndim == 2 else boxes[:, :1].reshape(len(boxes), -1)
        points = boxes.reshape(len(boxes), -1, 2).mean(axis=1) if boxes.size else None
    if points is None:
        return [None] * len(prompts)
    return [(float(x), float(y)) for x, y in points]
