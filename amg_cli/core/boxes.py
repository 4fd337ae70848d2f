"""Boxes: conversions, IoU and non-maximum suppression.

A box is XYXY in pixels, right and bottom inclusive, as the box of a mask's pixels. N and K count
boxes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Devices where all pairs of boxes cost less than a loop does, and up to how many boxes. On a CPU
# they cost more; elsewhere there is no float64.
ALL_PAIRS, MAX_ALL_PAIRS = ("cuda",), 8192

EDGE_MARGIN_PX = 20  # how near to an edge of its crop a mask is cut there


def mask_boxes(masks: Tensor) -> Tensor:
    """The box of each mask's pixels; 0,0,0,0 for an empty mask. (N, H, W) bool -> (N, 4) int64.

    Source: the reference generator, step 6.
    """
    left, right = _extent(masks.any(dim=1))
    top, bottom = _extent(masks.any(dim=2))
    return torch.stack([left, top, right, bottom], dim=1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last true position of each row; 0, 0 where none is. (N, L) -> (N,), (N,)."""
    # argmax takes the first of equals only for integers, and has no kernel for bool.
    flags = occupied.to(torch.uint8)
    first = flags.argmax(dim=1)
    last = occupied.shape[1] - 1 - flags.flip(1).argmax(dim=1)
    return first, torch.where(occupied.any(dim=1), last, 0)


def box_area(boxes_xyxy: Tensor) -> Tensor:
    """(N, 4) -> (N,) float64: (x1 - x0) * (y1 - y0), so 0 for a box one pixel wide or high."""
    boxes = boxes_xyxy.to(torch.float64)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """IoU of every box of `a` with every box of `b`. (N, 4), (K, 4) -> (N, K) float64.

    NaN where both areas are 0. float64 holds whole areas exactly, so equal ratios compare equal.
    """
    a, b = a_xyxy.to(torch.float64), b_xyxy.to(torch.float64)
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(dim=2)
    return inter / (box_area(a)[:, None] + box_area(b)[None, :] - inter)


def nms(boxes_xyxy: Tensor, scores: Tensor, iou_thresh: float) -> Tensor:
    """Greedy non-maximum suppression: indices of the boxes that stay, best score first.

    Of equal scores the earlier box goes first. A box goes when its IoU with one that stays is
    *greater* than `iou_thresh`; 0/0 is not, so that of boxes without area `select` has to compare
    the masks. It is rounded to float32 before, as the reference's is, which decides where it equals
    a threshold such as 0.6. (N, 4), (N,) -> (K,) int64, on the CPU.
    Source: torchvision's `nms`, as the reference generator uses it, steps 8 to 10.
    """
    order = torch.sort(scores.cpu(), descending=True, stable=True).indices
    boxes = boxes_xyxy[order.to(boxes_xyxy.device)]
    at_once = boxes.device.type in ALL_PAIRS and len(boxes) <= MAX_ALL_PAIRS
    alive = (_alive_at_once if at_once else _alive_one_by_one)(boxes, iou_thresh)
    return order[alive.cpu()]


def _alive_one_by_one(boxes: Tensor, iou_thresh: float) -> Tensor:
    """Which boxes stay, of those sorted best first. (N, 4) -> (N,) bool."""
    # By numpy, whose calls cost a fraction of torch's; only what is alive is looked at again.
    corners, areas = boxes.cpu().numpy().astype(np.float64), box_area(boxes).cpu().numpy()
    alive = np.zeros(len(corners), dtype=bool)
    left = np.arange(len(corners))
    with np.errstate(invalid="ignore"):
        while len(left):
            best, left = left[0], left[1:]
            alive[best] = True
            low = np.maximum(corners[best, :2], corners[left, :2])
            high = np.minimum(corners[best, 2:], corners[left, 2:])
            inter = (high - low).clip(min=0).prod(axis=1)
            iou = inter / (areas[best] + areas[left] - inter)
            left = left[~(iou.astype(np.float32).astype(np.float64) > iou_thresh)]
    return torch.from_numpy(alive)


def _alive_at_once(boxes: Tensor, iou_thresh: float) -> Tensor:
    """The same from all pairs: a box stays if none that stays is before it and over it.

    From "all stay", each round settles at least the first box that is not settled, and mostly many.
    """
    over = (box_iou(boxes, boxes).float().double() > iou_thresh).triu(diagonal=1)
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        found = ~(over & alive[:, None]).any(dim=0)
        if torch.equal(found, alive):
            return alive
        alive = found


def touches_crop_edge(
    boxes_xyxy: Tensor, crop_xyxy: Tensor, image_xyxy: Tensor, margin_px: int = EDGE_MARGIN_PX
) -> Tensor:
    """Whether a box ends at an edge of its crop that is no edge of the image. (N, 4) -> (N,) bool.

    Near is at most `margin_px` away. Boxes, crop and image, each XYXY, are in one frame.
    Source: the reference generator, step 7.
    """
    near_crop = (boxes_xyxy - crop_xyxy).abs() <= margin_px
    near_image = (boxes_xyxy - image_xyxy).abs() <= margin_px
    return (near_crop & ~near_image).any(dim=1)
