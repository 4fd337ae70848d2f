"""Masks that overlap: duplicates, masks inside others, and whose a pixel is. On RLE throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import Candidates
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle

# The share of a mask that lies in another one which contains it: outlines differ by a pixel or two.
CONTAINED = 0.95
# Of an image, what is large enough to be a mask of its own where none was found.
REST_SHARE = 0.01


def mask_nms(candidates: Candidates, scores: Tensor, iou_thresh: float) -> Tensor:
    """As `boxes.nms`, by the IoU of the masks: indices of those that stay, best first.

    N candidates, scores (N,) -> (K,) int64. Boxes and areas bound the IoU, so that few pairs of
    masks are compared.
    """
    order = torch.sort(scores, descending=True, stable=True).indices.numpy()
    rles, places = candidates.rles, order.tolist()
    boxes = candidates.boxes_xyxy.numpy()[order].astype(np.float64)
    areas = candidates.areas_px.numpy()[order].astype(np.float64)
    alive = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        later = i + 1 + np.flatnonzero(alive[i + 1 :])
        near = later[_most_iou(boxes[i], areas[i], boxes[later], areas[later]) > iou_thresh]
        if len(near):
            others = [rles[places[j]] for j in near.tolist()]
            found = rle_codec.shares(others, [rles[places[i]]])[:, 0]
            alive[near[found > iou_thresh]] = False
    return torch.from_numpy(order[alive])


def _most_iou(
    box: NDArray[np.float64],
    area: float,
    boxes: NDArray[np.float64],
    areas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What the IoU of a mask with others may be at most, by what of their boxes is in common."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (high - low + 1).clip(min=0).prod(axis=1)
    common = np.minimum(common, np.minimum(area, areas))
    bound: NDArray[np.float64] = common / (area + areas - common)
    return bound


def _inside_each_other(masks: Sequence[Mask]) -> NDArray[np.float64]:
    """The share of each mask, a row, that lies in each of the others. (N, N)"""
    rles = [mask.rle for mask in masks]
    return rle_codec.shares(rles, rles, of_parts=True)


def without_contained(masks: Sequence[Mask], thresh: float) -> list[Mask]:
    """Without those of which more than a share lies in an earlier one that stays."""
    inside = _inside_each_other(masks)
    kept: list[int] = []
    for i in range(len(masks)):
        if not (inside[i, kept] > thresh).any():
            kept.append(i)
    return [masks[i] for i in kept]


def with_parents(masks: Sequence[Mask]) -> list[Mask]:
    """Each with its place as id, and as parent that of the smallest that contains it.

    Of two that contain each other the larger is the parent, and of equal ones the earlier.
    """
    inside = _inside_each_other(masks)
    ranks = [(-mask.area_px, i) for i, mask in enumerate(masks)]
    found = []
    for i, mask in enumerate(masks):
        around = [j for j in np.flatnonzero(inside[i] >= CONTAINED) if ranks[j] < ranks[i]]
        parent = max(around, key=lambda j: ranks[j], default=None)
        found.append(replace(mask, id=i, parent=None if parent is None else int(parent)))
    return found


def disjoint(masks: Sequence[Mask], first: str) -> list[Mask]:
    """Each pixel in one mask only, in the same order; those that have none left go.

    first: whose it is: of the mask that is "smallest" or "largest", or of the best "score", the
        earliest. Of equal ones the earlier.
    """
    sign = {"score": 0, "smallest": 1, "largest": -1}[first]
    turns = sorted(range(len(masks)), key=lambda i: (sign * masks[i].area_px, i))
    left: dict[int, Mask] = {}
    taken: Rle | None = None
    for i in turns:
        rle = masks[i].rle if taken is None else rle_codec.minus(masks[i].rle, taken)
        taken = rle if taken is None else rle_codec.merge([taken, rle])
        if rle_codec.area(rle):
            left[i] = replace(masks[i], rle=rle, box_xyxy=rle_codec.box(rle))
    return [left[i] for i in sorted(left)]


def filled(masks: Sequence[Mask], image_hw: tuple[int, int]) -> list[Mask]:
    """Disjoint masks, and after them such of what none holds, so that every pixel is of one.

    What hangs together without a mask is mostly a thing that was not found, such as a background:
    it becomes a mask of its own, whose scores are 0, where it is not small. Smaller gaps go to the
    nearest mask, of those as near as each other to one of them.
    """
    owners = rle_codec.smallest_over([mask.rle for mask in masks], image_hw)
    free = owners < 0
    _, parts, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # of what has a mask
    large = np.flatnonzero(areas >= max(1.0, REST_SHARE * free.size))
    number = np.full(len(areas), -1, dtype=np.int32)
    number[large] = len(masks) + np.arange(len(large))
    owners[free] = number[parts[free]]
    found = [*masks, *(_rest(parts == part) for part in large)]
    owners = _nearest(owners)
    rles = [rle_codec.encode(owners == i) for i in range(len(found))]
    return [
        replace(mask, rle=rle, box_xyxy=rle_codec.box(rle))
        for mask, rle in zip(found, rles, strict=True)
    ]


def _rest(pixels: NDArray[np.bool_]) -> Mask:
    """A part of an image that no mask holds, with the point that is furthest from its edge."""
    height, width = pixels.shape
    inside = cv2.distanceTransform(np.pad(pixels, 1).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(inside[1:-1, 1:-1].argmax(), pixels.shape)
    rle = rle_codec.encode(pixels)
    point, crop = (float(x), float(y)), (0, 0, width, height)
    return Mask(rle, rle_codec.box(rle), 0.0, 0.0, point, crop)


def _nearest(owners: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each pixel of none, which is -1, given to the nearest owner. (H, W) -> (H, W)"""
    free = owners < 0
    _, nearest = cv2.distanceTransformWithLabels(
        free.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.empty(nearest.max() + 1, dtype=np.int32)
    of_label[nearest[~free]] = owners[~free]
    return of_label[nearest]
