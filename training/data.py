"""Prepared data, as training reads it: views by their place, and prompts on one."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from training.prepare import ARRAYS

View = dict[str, NDArray[Any]]  # by the names of `ARRAYS`; of a whole part, or one row of each
Kind = Literal["points", "boxes"]
KINDS: tuple[Kind, Kind] = ("points", "boxes")
Place = tuple[Path, int]  # a view's part, and its row there


def all_views(parts: list[Path]) -> list[Place]:
    """Every prepared view."""
    return [(part, row) for part in parts for row in range(len(_arrays(part)["used"]))]


def read_view(place: Place) -> View:
    """One view, mapped from disk."""
    part, row = place
    return {name: array[row] for name, array in _arrays(part).items()}


def features_of_view(view: View, device: torch.device) -> Tensor:
    """What the frozen part of the encoder made of it: its own cells. -> (1, C, h, w) float32."""
    height, width = (math.ceil(logits / 4) for logits in view["used"].tolist())
    features = view["features"][:, :height, :width].astype(np.float32)
    return torch.from_numpy(features)[None].to(device)


def prompts_of(view: View, kind: Kind, numbers: NDArray[np.int64], device: torch.device) -> Prompts:
    """A view's points or boxes of those numbers, each a prompt of its own."""
    places = torch.from_numpy(view[kind][numbers]).to(device)
    if kind == "boxes":
        return Prompts(boxes_xyxy=places)
    return Prompts(places[:, None], torch.full((len(places), 1), FOREGROUND, device=device))


@lru_cache(maxsize=64)  # each holds files open, of which a process may have few
def _arrays(part: Path) -> View:
    """A part's arrays, mapped from disk."""
    return {name: np.load(part / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
