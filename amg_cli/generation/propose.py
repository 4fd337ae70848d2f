"""Candidates: prompt the model at every point of every crop. Costly, and knows the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import touches_crop_edge
from amg_cli.core.config import GenerationConfig
from amg_cli.core.frame import Frame
from amg_cli.core.masks import Candidates
from amg_cli.core.timings import count, timed
from amg_cli.core.upsample import draw_mask
from amg_cli.generation.grid import Crop, checked_grids, crops
from amg_cli.generation.grid import point_grids as regular_grids
from amg_cli.generation.predict import encode_image
from amg_cli.generation.select import high_pred_iou, is_stable
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Embedding, Sam

# Prompts decoded in one call, always this many (the last are padded), so that a prompt's result
# depends neither on points_per_batch nor on its neighbours' number. On a CPU 4 stay in the cache.
GROUP_ON_CPU, GROUP_ON_GPU = 4, 64


@dataclass(frozen=True)
class Drawn:
    """Masks that pass the score, at low resolution, on the CPU.

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
    threshold, image_hw = model.config.mask_threshold, (image_rgb.shape[0], image_rgb.shape[1])
    for drawn in _draw(model, encoded.embedding, frame.to_input_xy(points_xy), config):
        yield _measure(drawn, frame, points_xy, threshold, crop, image_hw, config)


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
            with timed("prompts"):
                decoded = model.decode(embedding, Prompts(points, labels))
            keep = high_pred_iou(decoded.scores, config)
            keep[len(group) :] = False
            with timed("logits"):
                low_res.append(decoded.logits(keep))
            count("prompts", len(group))
            count("candidates", len(group) * keep.shape[1])
            pred_iou.append(decoded.scores[keep])
            prompt.append(i * size + keep.nonzero()[:, 0])
        yield Drawn(torch.cat(low_res).cpu(), torch.cat(pred_iou).cpu(), torch.cat(prompt).cpu())


def _measure(
    drawn: Drawn,
    frame: Frame,
    points_xy: NDArray[np.float64],
    mask_threshold: float,
    crop: Crop,
    image_hw: tuple[int, int],
    config: GenerationConfig,
) -> Candidates:
    """Masks at the image's size, but those that are unstable, empty or cut by the crop's edge.

    points_xy (N, 2), all prompts, in pixels of the crop. One mask is held at a time.
    """
    x0, y0, _, _ = crop.box_xyxy
    rles, boxes, stability, kept = [], [], [], []
    for i, logits in enumerate(drawn.low_res):
        with timed("upsample"):
            drawn_mask = draw_mask(frame, logits, mask_threshold, config.stability_score_offset)
            score = torch.tensor(drawn_mask.stability_score)
            if not is_stable(score, config):
                continue
            window = drawn_mask.window()
        if window.pixels.any():
            place = (y0 + window.top, x0 + window.left)
            with timed("rle"):
                rles.append(rle_codec.encode_window(window.pixels, place, image_hw))
            boxes.append(window.box_xyxy)
            stability.append(score)
            kept.append(i)
    count("after IoU", len(drawn.low_res))
    count("after stability", len(rles))
    offset = torch.tensor([x0, y0, x0, y0])
    crop_box = torch.tensor(crop.box_xyxy)
    points = torch.from_numpy(points_xy[drawn.prompt[kept].numpy()])
    candidates = Candidates(
        rles=tuple(rles),
        boxes_xyxy=torch.tensor(boxes, dtype=torch.int64).view(-1, 4) + offset,
        pred_iou=drawn.pred_iou[kept],
        stability_score=torch.tensor(stability),
        points_xy=points + offset[:2],
        crop_boxes_xyxy=crop_box.expand(len(rles), 4),
    )
    image_box = torch.tensor([0, 0, image_hw[1], image_hw[0]])
    return candidates[~touches_crop_edge(candidates.boxes_xyxy, crop_box, image_box)]
