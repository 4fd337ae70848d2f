"""What a model is prompted with, in pixels of an image: checked, and brought to the model's input.

Shape letters: N prompts, M1 points, M2 boxes, M3 masks and M4 tokens each; H' W' a mask at low
resolution; C channels of the model's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from amg_cli.core.errors import briefly
from amg_cli.core.frame import Frame
from amg_cli.models.prompt_encoder import FOREGROUND
from amg_cli.models.prompt_encoder import Prompts as InputPrompts


@dataclass(frozen=True, eq=False)
class Prompts:
    """N prompts on one image, in its pixels. What is not given is None; of nothing N is 1.

    points_xy:  (N, M1, 2) numbers: x, y
    labels:     (N, M1): 1 foreground, 0 background, -1 for a point that does not count; None for
                foreground alone
    boxes_xyxy: (N, 4) numbers, or (N, M2, 4) for several boxes of one prompt
    masks:      (N, M3, H', W') float logits, as `Prediction.low_res`, or (N, H', W') for one each
    tokens:     (N, M4, C) float, embeddings of your own in the model's C channels, such as a text's
                by a projection that you have trained; they are joined to the points' and boxes'

    Arrays or lists. Raises TypeError or ValueError, which name the argument and what is wanted, for
    another shape or type, for numbers that are not finite, and for parts of unequal N.
    Source: Kirillov et al. 2023, "Segment Anything", whose code has M2 and M3 of 0 or 1. Of several
    boxes the corners' tokens are joined, of several masks the embeddings added up.
    """

    points_xy: ArrayLike | None = None
    labels: ArrayLike | None = None
    boxes_xyxy: ArrayLike | None = None
    masks: ArrayLike | None = None
    tokens: ArrayLike | None = None

    def __post_init__(self) -> None:
        points = _numbers("points_xy", self.points_xy, "(N, M1, 2)", (3,), last=2)
        labels = _numbers("labels", self.labels, "(N, M1)", (2,))
        boxes = _numbers("boxes_xyxy", self.boxes_xyxy, "(N, 4) or (N, M2, 4)", (2, 3), last=4)
        masks = _numbers("masks", self.masks, "(N, M3, H', W') or (N, H', W') float", (3, 4))
        tokens = _numbers("tokens", self.tokens, "(N, M4, C) float", (3,))
        if labels is not None and points is None:
            raise ValueError("labels: are given without points_xy")
        if points is not None:
            labels = np.full(points.shape[:2], FOREGROUND) if labels is None else labels
            if labels.shape != points.shape[:2]:
                wanted = f"labels: {points.shape[:2]} is wanted, as there are so many points"
                raise ValueError(f"{wanted}; not {labels.shape}")
            _check_labels(labels)
        given = {"points_xy": points, "boxes_xyxy": boxes, "masks": masks, "tokens": tokens}
        counts = {name: len(value) for name, value in given.items() if value is not None}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{', '.join(counts)}: the same N is wanted, not {counts}")
        for name, value in {**given, "labels": labels}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return next((len(value) for value in self._arrays().values()), 1)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What is given, by name."""
        return {name: np.asarray(x) for name, x in vars(self).items() if x is not None}

    def __getitem__(self, part: slice) -> Prompts:
        """Some of them."""
        arrays = self._arrays()
        if not arrays:
            return self
        return Prompts(**{name: value[part] for name, value in arrays.items()})

    def in_input(
        self, frame: Frame, mask_hw: tuple[int, int], device: torch.device
    ) -> InputPrompts:
        """The same in pixels of the model's input, as tensors.

        mask_hw: H' and W' of the model. Raises ValueError for masks of another size.
        """
        given: dict[str, Tensor] = {}
        arrays = self._arrays()
        if "points_xy" in arrays:
            given["points_xy"] = frame.to_input_xy(arrays["points_xy"])
            given["labels"] = torch.from_numpy(arrays["labels"].astype(np.int64))
        if "boxes_xyxy" in arrays:
            boxes = arrays["boxes_xyxy"]
            corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
            given["boxes_xyxy"] = frame.to_input_xy(corners).flatten(-2)
        if "masks" in arrays:
            masks = arrays["masks"]
            if masks.shape[-2:] != mask_hw:
                wanted = f"masks: (N, M3, {mask_hw[0]}, {mask_hw[1]}) float is wanted"
                raise ValueError(f"{wanted}, not {masks.shape}")
            masks = masks[:, None] if masks.ndim == 3 else masks
            given["masks"] = torch.from_numpy(masks.astype(np.float32))
        if "tokens" in arrays:
            given["tokens"] = torch.from_numpy(arrays["tokens"].astype(np.float32))
        return InputPrompts(**{name: value.to(device) for name, value in given.items()})


def why_outside(prompts: Prompts, image_hw: tuple[int, int]) -> str:
    """Why a prompt has no meaning on an image of that size; empty where it has one."""
    height, width = image_hw
    size = f"an image of {width} x {height} pixels"
    if prompts.points_xy is not None:
        for x, y in np.asarray(prompts.points_xy).reshape(-1, 2):
            if not (0 <= x <= width and 0 <= y <= height):
                return f"the point {x:g},{y:g} is outside {size}"
    if prompts.boxes_xyxy is not None:
        for x0, y0, x1, y1 in np.asarray(prompts.boxes_xyxy).reshape(-1, 4):
            named = f"the box {x0:g},{y0:g},{x1:g},{y1:g}"
            if x0 >= x1 or y0 >= y1:
                return f"{named} has no area"
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                return f"{named} is outside {size}"
    return ""


def _numbers(
    name: str, value: Any, wanted: str, dimensions: tuple[int, ...], last: int | None = None
) -> NDArray[Any] | None:
    """An argument as an array of numbers; None where it is not given."""
    if value is None:
        return None
    wanted = f"{name}: {wanted} is wanted"
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise ValueError(f"{wanted}, not lists of unequal lengths") from error
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"{wanted} of numbers, not {briefly(value)} of {array.dtype}")
    if name == "masks" and array.dtype.kind != "f":
        raise TypeError(f"{wanted}: logits, not {array.dtype}; see `Prediction.low_res`")
    if name == "tokens" and array.dtype.kind != "f":
        raise TypeError(f"{wanted}: embeddings, not {array.dtype}")
    if array.size == 0 and array.ndim == 1 and last is not None:
        array = array.reshape(0, *[1] * (dimensions[0] - 2), last)  # of an empty list
    if array.ndim not in dimensions or last not in (None, array.shape[-1]):
        raise ValueError(f"{wanted}, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: finite numbers are wanted")
    return array


def _check_labels(labels: NDArray[Any]) -> None:
    strange = labels[~np.isin(labels, (-1, 0, 1))]
    if strange.size:
        meaning = "1 foreground, 0 background, -1 for a point that does not count"
        raise ValueError(f"labels: {meaning}; not {strange.flat[0]}")
