"""`Masks`: the masks of an image, as a list that a notebook shows."""

from __future__ import annotations

from typing import SupportsIndex, overload

from amg_cli.core.mask import Mask


class Masks(list[Mask]):
    """A list of masks like any other, but that a notebook shows it as a picture.

    A part of it, `masks[:5]`, is one too; of what is made otherwise, `Masks(…)` makes one.
    """

    @overload
    def __getitem__(self, place: SupportsIndex) -> Mask: ...

    @overload
    def __getitem__(self, place: slice) -> Masks: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Mask | Masks:
        """The mask of a place; of several places, those."""
        if isinstance(place, slice):
            return Masks(super().__getitem__(place))
        return super().__getitem__(place)

    def _repr_png_(self) -> bytes | None:
        """All masks in their colours, at most 640 pixels wide or high.

        None where there are none, or they are of several sizes: the notebook then writes the list.
        """
        from amg_cli.core.notebook import png_of_masks

        return png_of_masks(self)
