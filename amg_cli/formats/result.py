"""What a run passes on to its formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.mask import Mask, numbered

if TYPE_CHECKING:  # it loads torch, which no other result needs
    from amg_cli.core.candidates import Candidates


@dataclass(frozen=True)
class Result:
    """What was found in one image; an image without masks is a result too.

    number:    the image's place in its run, from 1, which ids are made of
    name:      what its output is called, relative to the run's, without a suffix
    file_name: the image, as its path in the folder that was given, or as it was given itself
    image_hw:  its height and width in pixels
    masks:     in the order of the run
    source:    the image's file, its whole path; empty where that is not known
    categories: the names of all categories of the data set that it is from, in their order, so that
        they are numbered alike in each part of it; empty where there is no such list
    data_set_id: the image's own number or name in that data set; None where there is none
    image_rgb: (H, W, 3) uint8, its pixels, while they are at hand
    candidates: what its masks were selected from, likewise
    edges:     (H, W) float32 in [0, 1], how much of an edge each pixel is, likewise
    """

    number: int
    name: str
    file_name: str
    image_hw: tuple[int, int]
    masks: Sequence[Mask]
    source: str = field(default="", compare=False)
    categories: tuple[str, ...] = field(default=(), compare=False)
    data_set_id: int | str | None = None
    image_rgb: NDArray[np.uint8] | None = field(default=None, compare=False, repr=False)
    candidates: Candidates | None = field(default=None, compare=False, repr=False)
    edges: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @property
    def numbered(self) -> Iterator[tuple[int, Mask]]:
        """The masks, each with its number: its own, or, without one, its place."""
        return numbered(self.masks)
