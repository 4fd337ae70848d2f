"""Candidates of masks that tests draw."""

import numpy as np
import torch

from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import mask_boxes
from amg_cli.core.candidates import Candidates


def candidates_of(masks, pred_iou, stability=None, crop_boxes=None, **more):
    """Of masks (H, W) bool, numbered by the x of their points."""
    count, (height, width) = len(masks), masks[0].shape
    numbers = torch.arange(count, dtype=torch.float64)
    return Candidates(
        rles=tuple(rle_codec.encode(mask) for mask in masks),
        boxes_xyxy=mask_boxes(torch.from_numpy(np.stack(masks))),
        areas_px=torch.tensor([int(mask.sum()) for mask in masks]),
        pred_iou=torch.as_tensor(pred_iou, dtype=torch.float32),
        stability_score=torch.tensor(stability or [0.99] * count),
        points_xy=torch.stack([numbers, torch.full_like(numbers, 0.5)], dim=1),
        crop_boxes_xyxy=torch.tensor(crop_boxes or [(0, 0, width, height)] * count),
        image_hw=(height, width),
        **more,
    )
