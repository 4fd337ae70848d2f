"""Sets of settings for an end, by name; `GenerationConfig` has the settings.

Chosen by measurement on photographs of COCO with `vit_t` and `nano`: see the README, "Presets".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """settings: those that are not the defaults; what_for: a few words"""

    what_for: str
    settings: Mapping[str, Any]


PRESETS = {
    "annotate": Preset(
        "whole objects, few wrong",
        {
            "pred_iou_thresh": 0.9,
            "stability_score_thresh": 0.88,
            "nms": "mask",
            "box_nms_thresh": 0.8,
            "crop_nms_thresh": 0.8,
            "min_area": "0.2%",
            "containment_thresh": 0.8,
        },
    ),
    "parts": Preset(
        "also the parts of things, as many as are found",
        {
            "pred_iou_thresh": 0.86,
            "stability_score_thresh": 0.8,
            "nms": "mask",
            "box_nms_thresh": 0.8,
            "crop_nms_thresh": 0.8,
        },
    ),
}


# Of edges: 16 by 16 points, three masks each and none filtered, box NMS at .7.
# Source: Kirillov et al. 2023, "Segment Anything", appendix D.2.
EDGE_RECIPE: Mapping[str, Any] = {
    "points_per_side": 16,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
}
