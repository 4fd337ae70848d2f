"""What a run passes on to its formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amg_cli.core.mask import Mask


@dataclass(frozen=True)
class Result:
    """What was found in one image; an image without masks is a result too.

    number:    the image's place in its run, from 1, which ids are made of
    name:      what its output is called, relative to the run's, without a suffix
    file_name: the image, as its path in the folder that was given, or as it was given itself
    image_hw:  its height and width in pixels
    masks:     in the order of the run
    """

    number: int
    name: str
    file_name: str
    image_hw: tuple[int, int]
    masks: Sequence[Mask]
