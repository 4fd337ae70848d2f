"""Candidates: prompt the model at every point of every crop. Costly, and knows the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import mask_boxes, touches_crop_edge
from amg_cli.core.config import GenerationConfig
from amg_cli.core.frame import Frame
from amg_cli.core.masks import Candidates
from amg_cli.generation.grid import Crop, checked_grids, crops
from amg_cli.generation.grid import point_grids as regular_grids
from amg_cli.generation.predict import encode_image
from amg_cli.generation.select import high_pred_iou, is_stable
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Embedding, Sam

# Prompts decoded in one call, always this many (the last are padded), so that a prompt's result
# depends neither on points_per_batch nor on its neighbours' number. On a CPU 4 stay in the cache.
GROUP_ON_CPU, GROUP_ON_GPU = 4, 64

# Full-resolution logits held at a time.
MAX_LOGITS_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Drawn:
    """Masks that pass the score, at low resolution. All on the model's device.

    low_res (K, h, w) logits; pred_iou (K,); prompt (K,): the index of each mask's point
    """

    low_res: Tensor
    pred_iou: Tensor
    prompt: Tensor


@torch.inference_mode()
def propose(
    model: Sam,
    image_rgb: NDArray[np.uint8],
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
) -> Candidates:
    """Every mask that passes the thresholds and ends at no inner edge of its crop.

    image_rgb (H, W, 3) uint8. Point grids as in `generate`.
    Source: the reference generator, steps 1 to 7.
    """
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
        shape = f"{image_rgb.shape} {image_rgb.dtype}"
        raise ValueError(f"image_rgb: (H, W, 3) uint8 is wanted, not {shape}")
    if image_rgb.size == 0:
        raise ValueError("image_rgb: the image has no pixels")
    grids = regular_grids(config) if point_grids is None else checked_grids(point_grids, config)
    height, width = image_rgb.shape[:2]
    return Candidates.concat(
        [
            part
            for crop in crops((height, width), config)
            for part in _propose_in_crop(model, image_rgb, crop, grids[crop.layer], config)
        ]
    )


def _propose_in_crop(
    model: Sam,
    image_rgb: NDArray[np.uint8],
    crop: Crop,
    unit_grid: NDArray[np.float64],
    config: GenerationConfig,
) -> Iterator[Candidates]:
    """The candidates of one crop, in parts bounded by points_per_batch and by memory."""
    height, width = crop.size_hw
    encoded = encode_image(model, crop.cut(image_rgb))
    frame = encoded.frame
    points_xy = unit_grid * np.array([width, height])
    at_a_time = _masks_at_a_time(frame, image_rgb)
    for drawn in _draw(model, encoded.embedding, frame.to_input_xy(points_xy), config):
        for start in range(0, len(drawn.prompt), at_a_time):
            part = slice(start, start + at_a_time)
            logits = frame.to_image_logits(drawn.low_res[part])
            points = torch.from_numpy(points_xy)[drawn.prompt[part].cpu()]
            scores = drawn.pred_iou[part]
            image_hw = (image_rgb.shape[0], image_rgb.shape[1])
            threshold = model.config.mask_threshold
            yield _measure(logits, scores, points, threshold, crop, image_hw, config)


def _masks_at_a_time(frame: Frame, image_rgb: NDArray[np.uint8]) -> int:
    """How many masks fit, as float32 logits of the input or the crop, and as bools of the image."""
    areas_px = math.prod(frame.input_hw), math.prod(frame.image_hw)
    return max(1, MAX_LOGITS_BYTES // max(4 * max(areas_px), image_rgb[..., 0].size))


def _draw(
    model: Sam, embedding: Embedding, points_xy: Tensor, config: GenerationConfig
) -> Iterator[Drawn]:
    """Decode each point, and draw its masks that pass the score. points_xy: (N, 2), model input.

    One `Drawn` for every points_per_batch points, rounded up to whole groups.
    """
    size = GROUP_ON_CPU if model.device.type == "cpu" else GROUP_ON_GPU
    groups_at_a_time = -(-config.points_per_batch // size)
    groups = torch.split(points_xy, size)
    for first in range(0, len(groups), groups_at_a_time):
        low_res, pred_iou, prompt = [], [], []
        for i, group in enumerate(groups[first : first + groups_at_a_time], start=first):
            padded = group[torch.arange(size).clamp(max=len(group) - 1)]
            points = padded[:, None].to(model.device)
            labels = torch.full((size, 1), FOREGROUND, device=model.device)
            decoded = model.decode(embedding, Prompts(points, labels))
            keep = high_pred_iou(decoded.scores, config)
            keep[len(group) :] = False
            low_res.append(decoded.logits(keep))
            pred_iou.append(decoded.scores[keep])
            prompt.append(i * size + keep.nonzero()[:, 0])
        yield Drawn(torch.cat(low_res), torch.cat(pred_iou), torch.cat(prompt))


def _measure(
    logits: Tensor,
    pred_iou: Tensor,
    points_xy: Tensor,
    mask_threshold: float,
    crop: Crop,
    image_hw: tuple[int, int],
    config: GenerationConfig,
) -> Candidates:
    """Binarise a crop's logits (K, h, w); drop what is unstable, empty or cut by the crop's edge.

    pred_iou (K,); points_xy (K, 2) in pixels of the crop.
    """
    stability = stability_score(logits, mask_threshold, config.stability_score_offset)
    masks = logits > mask_threshold
    x0, y0, x1, y1 = crop.box_xyxy
    offset = torch.tensor([x0, y0, x0, y0])
    crop_box = torch.tensor(crop.box_xyxy)
    image_box = torch.tensor([0, 0, image_hw[1], image_hw[0]])
    boxes = mask_boxes(masks).cpu() + offset
    keep = is_stable(stability, config) & masks.flatten(1).any(dim=1)
    keep = keep.cpu() & ~touches_crop_edge(boxes, crop_box, image_box)
    kept = masks[keep.to(masks.device)]
    whole = F.pad(kept, (x0, image_hw[1] - x1, y0, image_hw[0] - y1))
    return Candidates(
        rles=tuple(rle_codec.encode_all(whole.cpu().numpy())),
        boxes_xyxy=boxes[keep],
        pred_iou=pred_iou.cpu()[keep],
        stability_score=stability.cpu()[keep],
        points_xy=points_xy[keep] + offset[:2],
        crop_boxes_xyxy=crop_box.expand(int(keep.sum()), 4),
    )


def stability_score(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """IoU of each mask thresholded high and low, in [0, 1]. (K, h, w) -> (K,) float32.

    A mask empty at the low threshold scores 0. Source: the reference generator, step 5.
    """
    high = (logits > threshold + offset).flatten(1).sum(dim=1)
    low = (logits > threshold - offset).flatten(1).sum(dim=1)
    return high / low.clamp(min=1)
