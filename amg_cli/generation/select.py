"""What to keep: thresholds, duplicates, small regions. Cheap, and knows no model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import box_area, mask_boxes, nms
from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError
from amg_cli.core.masks import Masks
from amg_cli.core.region import Region
from amg_cli.core.timings import count, timed
from amg_cli.generation.overlaps import mask_nms
from amg_cli.generation.regions import remove_small_regions
from amg_cli.generation.tidy import tidied


def select(candidates: Candidates, config: GenerationConfig, roi: Any = None) -> Masks:
    """The results among `candidates`, in the order of the last suppression: best first.

    roi: as of `generate`; only masks whose point lies in it stay
    Equal scores keep the order of the candidates: crops as listed, points row by row, then the
    model's masks of a point. The settings of the grid, the crops and the offset are those of the
    candidates, whatever `config` has. Raises ConfigError for a threshold under theirs.
    Source: the reference generator, steps 5 and 8 to 11.
    """
    if candidates.proposed_with is not None:
        check_floors(candidates.proposed_with, config)
    with timed("filters"):
        passing = high_pred_iou(candidates.pred_iou, config)
        passing &= is_stable(candidates.stability_score, config)
        if roi is not None:
            held = Region.of(roi).holds(candidates.points_xy.numpy(), candidates.image_hw)
            passing &= torch.from_numpy(held)
        candidates = candidates[passing]
        if not config.of_the_reference:
            candidates = candidates[_allowed(candidates, config)]
    with timed("nms"):
        candidates = candidates[without_duplicates(candidates, config)]
        if config.min_mask_region_area > 0:
            candidates = _without_small_regions(candidates, config)
        masks = candidates.masks()
        if not config.of_the_reference:
            masks = Masks(tidied(masks, config, candidates.image_hw))
    count("after NMS", len(masks))
    return masks


def check_floors(floors: GenerationConfig, config: GenerationConfig) -> None:
    """Raises ConfigError for a threshold under that of `floors`, as masks between are missing."""
    for name in ("pred_iou_thresh", "stability_score_thresh"):
        floor, wanted = getattr(floors, name), getattr(config, name)
        if max(wanted, 0) < floor:
            cause = f"{wanted:g} is under {floor:g}, which the candidates were kept over"
            raise ConfigError(name, cause, "make them again with a lower one")


def high_pred_iou(pred_iou: Tensor, config: GenerationConfig) -> Tensor:
    """Which predicted IoUs pass; all do where the threshold is 0 or less. Any shape -> bool."""
    if config.pred_iou_thresh <= 0:
        return torch.ones_like(pred_iou, dtype=torch.bool)
    return pred_iou > config.pred_iou_thresh


def is_stable(stability_score: Tensor, config: GenerationConfig) -> Tensor:
    """Which stability scores pass; all do where the threshold is 0 or less. Any shape -> bool."""
    if config.stability_score_thresh <= 0:
        return torch.ones_like(stability_score, dtype=torch.bool)
    return stability_score >= config.stability_score_thresh


def staying_within(boxes_xyxy: Tensor, pred_iou: Tensor, config: GenerationConfig) -> Tensor:
    """The first suppression, within one crop: indices of the boxes that stay, best first.

    boxes_xyxy (N, 4), pred_iou (N,) -> (K,), on the CPU. All stay where masks decide, or nothing.
    Source: the reference generator, step 8.
    """
    thresh = config.box_nms_thresh if config.nms == "box" else 1.0
    return nms(boxes_xyxy, pred_iou, thresh)


def allowed(
    areas: Tensor, boxes_xyxy: Tensor, size_hw: tuple[int, int], config: GenerationConfig
) -> Tensor:
    """Which masks of an image have a size and a place that are wanted. -> (N,) bool

    areas (N,), in pixels; boxes_xyxy (N, 4), of the image
    """
    low, high = config.area_bounds(size_hw)
    fits = (areas >= low) & (areas <= high)
    if config.drop_border:
        left, top, right, bottom = boxes_xyxy.unbind(dim=1)
        height, width = size_hw
        fits &= (left > 0) & (top > 0) & (right < width - 1) & (bottom < height - 1)
    return fits


def _allowed(candidates: Candidates, config: GenerationConfig) -> Tensor:
    return allowed(candidates.areas_px, candidates.boxes_xyxy, candidates.image_hw, config)


def without_duplicates(candidates: Candidates, config: GenerationConfig) -> Tensor:
    """Suppression within each crop by predicted IoU, then between views: the smaller crop wins.

    -> (K,), the indices of those that stay, best first
    """
    kept = [torch.empty(0, dtype=torch.int64, device="cpu")]
    for members in _by_crop(candidates.crop_boxes_xyxy):
        in_crop = candidates[members]
        stay = _survivors(in_crop, in_crop.pred_iou, config.box_nms_thresh, config.nms)
        kept.append(members[stay])
    indices = torch.cat(kept)
    if candidates.nb_views == 1:
        return indices
    candidates = candidates[indices]
    smallness = 1 / box_area(candidates.crop_boxes_xyxy)
    return indices[_survivors(candidates, smallness, config.crop_nms_thresh, config.nms)]


def _survivors(
    candidates: Candidates, scores: Tensor, iou_thresh: float, by: str = "box"
) -> Tensor:
    """Indices of those that stay in suppression by `scores`, (N,), best first. -> (K,)

    by: as of the setting `nms`

    A box one pixel wide or high has no area, and an IoU of 0/0 suppresses nothing in the reference,
    nor in `nms`: an image as thin got hundreds of copies of one mask. Here such boxes have an IoU
    of 1 where their masks are equal, and the first of those stays.
    Source: the reference generator, steps 8 to 10, but for that.
    """
    if by == "mask":
        return mask_nms(candidates, scores, iou_thresh)
    kept = nms(candidates.boxes_xyxy, scores, iou_thresh if by == "box" else 1.0)
    if by == "off":
        return kept
    is_flat = box_area(candidates.boxes_xyxy[kept]) == 0
    if iou_thresh >= 1 or not is_flat.any():
        return kept
    is_first, before = torch.ones_like(is_flat), set()
    for i in is_flat.nonzero()[:, 0].tolist():
        counts = candidates.rles[int(kept[i])]["counts"]
        is_first[i] = counts not in before
        before.add(counts)
    return kept[is_first]


def _by_crop(crop_boxes_xyxy: Tensor) -> list[Tensor]:
    """Indices of the candidates of each crop, crops in order of appearance."""
    if (crop_boxes_xyxy == crop_boxes_xyxy[:1]).all():  # mostly, and sorting takes its time
        return [torch.arange(len(crop_boxes_xyxy), dtype=torch.int64, device="cpu")]
    _, first, crop = np.unique(
        crop_boxes_xyxy.numpy(), axis=0, return_index=True, return_inverse=True
    )
    return [torch.from_numpy(np.flatnonzero(crop.ravel() == i)) for i in np.argsort(first)]


def _without_small_regions(candidates: Candidates, config: GenerationConfig) -> Candidates:
    """Mend each mask, then suppress again; unchanged masks win over changed ones.

    Predicted IoU and stability stay those of the mask as the model drew it.
    """
    rles, unchanged = list(candidates.rles), []
    boxes, areas = candidates.boxes_xyxy.clone(), candidates.areas_px.clone()
    for i, rle in enumerate(candidates.rles):
        mask, changed = remove_small_regions(rle_codec.decode(rle), config.min_mask_region_area)
        unchanged.append(float(not changed))
        if changed:
            rles[i] = rle_codec.encode(mask)
            areas[i] = int(mask.sum())
            boxes[i] = mask_boxes(torch.from_numpy(mask)[None])[0]
    mended = replace(candidates, rles=tuple(rles), boxes_xyxy=boxes, areas_px=areas)
    threshold = max(config.box_nms_thresh, config.crop_nms_thresh)
    scores = torch.tensor(unchanged, dtype=torch.float32, device="cpu")
    return mended[_survivors(mended, scores, threshold, config.nms)]
