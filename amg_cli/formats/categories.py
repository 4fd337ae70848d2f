"""The categories of a run's masks, numbered as they come."""

from __future__ import annotations

from collections.abc import Iterable

from amg_cli.core.mask import Mask
from amg_cli.formats.format import FormatOptions


class Categories:
    """Numbers for names, from 0."""

    def __init__(self, options: FormatOptions) -> None:
        self._options = options
        self._numbers: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """By their numbers; without any mask, what masks would have been called."""
        return list(self._numbers) or [self._options.category]

    def add(self, names: Iterable[str]) -> None:
        """Names that are there whether or not a mask has them, in this order."""
        for name in names:
            self._numbers.setdefault(name, len(self._numbers))

    def number_of(self, mask: Mask) -> int:
        """The number of a mask's category, which is a new one if need be."""
        name = self._options.category_of(mask)
        return self._numbers.setdefault(name, len(self._numbers))
