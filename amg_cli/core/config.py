"""The settings of mask generation: each stated once, with its default, range and help line.

The command's options, the checks and the documentation are derived from `GenerationConfig`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
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


def area_px(area: float | str, size_hw: tuple[int, int]) -> float:
    """An area in pixels of an image; a share of it where it is text, such as "5%"."""
    if isinstance(area, str):
        return float(area.rstrip("%")) / 100 * size_hw[0] * size_hw[1]
    return float(area)


def _setting(
    default: Any,
    help_line: str,
    optional: bool = False,
    choices: tuple[str, ...] = (),
    is_area: bool = False,
    beyond: bool = False,
    of_proposing: bool = False,
    leaves_out: bool = False,
    **bounds: Any,
) -> Any:
    """beyond: the reference does not have it; of_proposing: `propose` alone goes by it

    leaves_out: of candidates some that pass, so that it is for runs that keep none
    """
    about = {
        "help": help_line,
        "range": Range(**bounds),
        "optional": optional,
        "choices": choices,
        "is_area": is_area,
        "beyond": beyond,
        "of_proposing": of_proposing,
        "leaves_out": leaves_out,
    }
    return dataclasses.field(default=default, metadata=about)


_beyond = partial(_setting, beyond=True)
_proposing = partial(_setting, of_proposing=True)


def _value(setting: dataclasses.Field[Any], given: object) -> Any:
    """A setting's value as it is kept. Raises ConfigError for one it cannot have."""
    about = setting.metadata
    bounds: Range = about["range"]
    value: Any
    if about["choices"]:
        value, kind = given if given in about["choices"] else None, " or ".join(about["choices"])
    elif isinstance(setting.default, bool):
        value, kind = given if isinstance(given, bool) else None, "True or False"
    elif about["is_area"]:
        value, kind = _area(given), "pixels, 0 or more, or a share such as 5%"
    else:
        whole = isinstance(setting.default, int)
        value = whole_number(given) if whole else real_number(given)
        value = None if value is None or not bounds.holds(value) else value
        kind = f"{'a whole number' if whole else 'a number'} ({bounds})"
    if value is None:
        raise ConfigError(setting.name, f"must be {kind}, not {in_short(given)}")
    return value


def _area(given: object) -> float | str | None:
    """Pixels, or a share of the image with a % after it; None for anything else."""
    if isinstance(given, str) and given.endswith("%"):
        try:
            share = float(given[:-1])
        except ValueError:
            return None
        return given if 0 <= share <= 100 else None
    try:
        pixels = float(given) if isinstance(given, str) else real_number(given)
    except ValueError:
        return None
    return pixels if pixels is not None and math.isfinite(pixels) and pixels >= 0 else None


@dataclass(frozen=True)
class GenerationConfig:
    """How masks are proposed and selected. Names, defaults and meaning are the reference's.

    Numbers may be numpy's, Decimals or Fractions; they are kept as Python's int and float.
    points_per_side may be None where `generate` is given point_grids, as in the reference.
    Raises ConfigError, naming the setting and its range, for a value out of range.
    Source: `SamAutomaticMaskGenerator` of segment-anything 1.0.
    """

    points_per_side: int | None = _proposing(
        32, "Points along each side of the grid; the whole image gets their square.",
        optional=True, low=1, high=1024,
    )  # fmt: skip
    points_per_batch: int = _proposing(
        64, "Prompts held in memory at a time. Changes memory, never the masks.", low=1,
    )  # fmt: skip
    pred_iou_thresh: float = _setting(
        0.88, "Keep masks whose predicted IoU is above this; 0 or less keeps all.",
    )  # fmt: skip
    stability_score_thresh: float = _setting(
        0.95, "Keep masks at least this stable when the cutoff moves; 0 or less keeps all.",
        high=1,
    )  # fmt: skip
    stability_score_offset: float = _proposing(
        1.0, "How far the cutoff moves for the stability score, in logits.", low=0,
    )  # fmt: skip
    box_nms_thresh: float = _setting(
        0.7, "Box IoU above which the lower-scored of two masks is dropped as a duplicate.",
        low=0, high=1,
    )  # fmt: skip
    crop_n_layers: int = _proposing(
        0, "Layers of crops to run besides the whole image; layer i has 2^i by 2^i crops.",
        low=0, high=6,
    )  # fmt: skip
    crop_nms_thresh: float = _setting(
        0.7, "Box IoU for duplicates between crops; the mask of the smaller crop stays.",
        low=0, high=1,
    )  # fmt: skip
    crop_overlap_ratio: float = _proposing(
        512 / 1500, "Overlap of crops in layer 1, as a share of the image's short side.",
        low=0, high=1, open_high=True,
    )  # fmt: skip
    crop_n_points_downscale_factor: int = _proposing(
        1, "Layer i's grid has points-per-side divided by this to the power i (at least 1).",
        low=1,
    )  # fmt: skip
    min_mask_region_area: int = _setting(
        0, "Fill holes and drop islands smaller than this, in pixels; 0 leaves masks alone.",
        low=0,
    )  # fmt: skip
    # What the reference does not have: SAM 2's generator has it, by this name.
    use_m2m: bool = _proposing(
        False, "Give every mask back to the model, beside its point, and take the mask that comes "
        "of it, as SAM 2's generator can. Takes two or three times as long.",
    )  # fmt: skip
    # What neither has.
    coarse_nms_thresh: float = _proposing(
        1.0, "Draw masks at one pixel in sixteen first, and in full only the best of those whose "
        "IoU is over this there, such as 0.9: quicker, but a mask in a hundred or so is missing. "
        "On a CPU; 1 draws all.", leaves_out=True, low=0, high=1,
    )  # fmt: skip
    nms: str = _beyond(
        "box", "What duplicates are found by at the two thresholds: boxes, as in the reference, or "
        "masks, so that a stray pixel saves none; off keeps all.", choices=("box", "mask", "off"),
    )  # fmt: skip
    min_area: float | str = _beyond(
        0.0, "Drop masks smaller than this: pixels, or a share of the image such as 0.1%.",
        is_area=True,
    )  # fmt: skip
    max_area: float | str = _beyond(
        "100%", "Drop masks larger than this, before they hide others as duplicates.",
        is_area=True,
    )  # fmt: skip
    drop_border: bool = _beyond(False, "Drop masks that touch the edge of the image.")
    largest_component: bool = _beyond(False, "Of each mask keep only its largest part.")
    smooth: int = _beyond(
        0, "Round off outlines: points and gaps narrower than twice this, in pixels, go.",
        low=0, high=256,
    )  # fmt: skip
    containment_thresh: float = _beyond(
        1.0, "Drop a mask of which more than this share lies in a better one; 1 keeps all.",
        low=0, high=1,
    )  # fmt: skip
    max_masks: int = _beyond(0, "Keep so many masks at most, the best; 0 keeps all.", low=0)
    disjoint: str = _beyond(
        "off", "Give each pixel to one mask only: that of the best score, the smallest or the "
        "largest over it.", choices=("off", "score", "smallest", "largest"),
    )  # fmt: skip
    fill: bool = _beyond(
        False,
        "With --disjoint: what is of no mask becomes one, or where it is small a part of "
        "the nearest, so that every pixel is of one.",
    )
    parents: bool = _beyond(
        False, "Say of each mask which is the smallest that contains it, as its parent."
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            given = getattr(self, setting.name)
            if given is None and setting.metadata["optional"]:
                continue
            object.__setattr__(self, setting.name, _value(setting, given))
        if self.fill and self.disjoint == "off":
            raise ConfigError("fill", "goes with `disjoint`, which says whose a pixel is")

    @property
    def of_the_reference(self) -> bool:
        """Whether what the reference does not have is left as it is by default."""
        beyond = (each for each in dataclasses.fields(self) if each.metadata["beyond"])
        return all(getattr(self, each.name) == each.default for each in beyond)

    def for_all_candidates(self, floors: tuple[float, float] | None = None) -> GenerationConfig:
        """The settings by which `propose` keeps all masks over thresholds, for any choice later.

        floors: predicted IoU and stability score, instead of the thresholds where those are higher
        """
        iou, stability = floors or (self.pred_iou_thresh, self.stability_score_thresh)
        return GenerationConfig(
            pred_iou_thresh=min(iou, self.pred_iou_thresh),
            stability_score_thresh=min(stability, self.stability_score_thresh),
            nms="off",
            **{name: getattr(self, name) for name in settings_of_all_candidates()},
        )

    def area_bounds(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """min_area and max_area in pixels of an image."""
        return area_px(self.min_area, size_hw), area_px(self.max_area, size_hw)


def settings_of_edges() -> list[str]:
    """The names of those that edges go by: of proposing, thresholds and duplicates."""
    thresholds = ["pred_iou_thresh", "stability_score_thresh"]
    nms = ["nms", "box_nms_thresh", "crop_nms_thresh"]
    return [*settings_of_all_candidates(), *thresholds, *nms]


def settings_of_proposing() -> list[str]:
    """The names of those that `propose` alone goes by, so that candidates have them for good."""
    settings = dataclasses.fields(GenerationConfig)
    return [setting.name for setting in settings if setting.metadata["of_proposing"]]


def settings_of_all_candidates() -> list[str]:
    """Those of proposing but what leaves some candidates out."""
    settings = dataclasses.fields(GenerationConfig)
    of_both = [s for s in settings if s.metadata["of_proposing"] and not s.metadata["leaves_out"]]
    return [setting.name for setting in of_both]


def settings_of_selecting() -> list[str]:
    """The names of all others, which `select` goes by, so that each can be chosen later."""
    settings = dataclasses.fields(GenerationConfig)
    return [setting.name for setting in settings if not setting.metadata["of_proposing"]]
