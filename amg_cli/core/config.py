"""The settings of mask generation: each stated once, with its default, range and help line.

The command's options, the checks and the documentation are derived from `GenerationConfig`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from amg_cli.core.errors import ConfigError, in_short


@dataclass(frozen=True)
class Range:
    """The values a setting may take, both ends included unless `open_high`. None: no bound."""

    low: float | None = None
    high: float | None = None
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is finite and inside."""
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if self.low is not None and value < self.low:
            return False
        if self.high is None:
            return True
        return value < self.high if self.open_high else value <= self.high

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "any finite value"
        if self.high is None:
            return f"{self.low:g} or more"
        if self.low is None:
            return f"{self.high:g} or less"
        return f"{self.low:g} to {'under ' if self.open_high else ''}{self.high:g}"


def whole_number(value: object) -> int | None:
    """`value` as an int where it is a whole number of Python's, numpy's or another kind; or None.

    A bool is none, and neither is a float, even of a whole value.
    """
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def real_number(value: object) -> float | None:
    """`value` as a float where it is a finite number of any such kind, a Decimal too; or None."""
    if not isinstance(value, (Real, Decimal)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # too large for one, or a signalling NaN
        return None
    return number if math.isfinite(number) else None


def _setting(default: Any, help_line: str, optional: bool = False, **bounds: Any) -> Any:
    about = {"help": help_line, "range": Range(**bounds), "optional": optional}
    return dataclasses.field(default=default, metadata=about)


@dataclass(frozen=True)
class GenerationConfig:
    """How masks are proposed and selected. Names, defaults and meaning are the reference's.

    Numbers may be numpy's, Decimals or Fractions; they are kept as Python's int and float.
    points_per_side may be None where `generate` is given point_grids, as in the reference.
    Raises ConfigError, naming the setting and its range, for a value out of range.
    Source: `SamAutomaticMaskGenerator` of segment-anything 1.0.
    """

    points_per_side: int | None = _setting(
        32, "Points along each side of the grid; the whole image gets their square.",
        optional=True, low=1, high=1024,
    )  # fmt: skip
    points_per_batch: int = _setting(
        64, "Prompts held in memory at a time. Changes memory, never the masks.", low=1,
    )  # fmt: skip
    pred_iou_thresh: float = _setting(
        0.88, "Keep masks whose predicted IoU is above this; 0 or less keeps all.",
    )  # fmt: skip
    stability_score_thresh: float = _setting(
        0.95, "Keep masks at least this stable when the cutoff moves; 0 or less keeps all.",
        high=1,
    )  # fmt: skip
    stability_score_offset: float = _setting(
        1.0, "How far the cutoff moves for the stability score, in logits.", low=0,
    )  # fmt: skip
    box_nms_thresh: float = _setting(
        0.7, "Box IoU above which the lower-scored of two masks is dropped as a duplicate.",
        low=0, high=1,
    )  # fmt: skip
    crop_n_layers: int = _setting(
        0, "Layers of crops to run besides the whole image; layer i has 2^i by 2^i crops.",
        low=0, high=6,
    )  # fmt: skip
    crop_nms_thresh: float = _setting(
        0.7, "Box IoU for duplicates between crops; the mask of the smaller crop stays.",
        low=0, high=1,
    )  # fmt: skip
    crop_overlap_ratio: float = _setting(
        512 / 1500, "Overlap of crops in layer 1, as a share of the image's short side.",
        low=0, high=1, open_high=True,
    )  # fmt: skip
    crop_n_points_downscale_factor: int = _setting(
        1, "Layer i's grid has points-per-side divided by this to the power i (at least 1).",
        low=1,
    )  # fmt: skip
    min_mask_region_area: int = _setting(
        0, "Fill holes and drop islands smaller than this, in pixels; 0 leaves masks alone.",
        low=0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            given = getattr(self, setting.name)
            if given is None and setting.metadata["optional"]:
                continue
            bounds: Range = setting.metadata["range"]
            whole = isinstance(setting.default, int)
            value = whole_number(given) if whole else real_number(given)
            if value is None or not bounds.holds(value):
                kind = "a whole number" if whole else "a number"
                raise ConfigError(setting.name, f"must be {kind} ({bounds}), not {in_short(given)}")
            object.__setattr__(self, setting.name, value)
