"""RLEs as a file has them: deflated, many together, and inflated when one is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.rle import Rle

BLOCK = 16  # RLEs that are deflated together


@dataclass
class Blocks:
    """The counts of N RLEs, in order, BLOCK of them together.

    deflated: all blocks, one after another
    bounds:   where each block begins in that, and where the last ends
    ends:     (N,), where each RLE's counts end in the text of all
    """

    deflated: bytes
    bounds: Sequence[int]
    ends: NDArray[np.int64]
    _texts: dict[int, tuple[str, list[int]]] = field(default_factory=dict)

    def counts(self, place: int) -> str:
        """Those of one RLE."""
        block, row = divmod(place, BLOCK)
        text, edges = self._texts.get(block) or self._inflated(block)
        return text[edges[row] : edges[row + 1]]

    def _inflated(self, block: int) -> tuple[str, list[int]]:
        """A block's text, and where in it each RLE begins, and the last ends."""
        first = block * BLOCK
        start = int(self.ends[first - 1]) if first else 0
        deflated = self.deflated[self.bounds[block] : self.bounds[block + 1]]
        edges = [0, *(self.ends[first : first + BLOCK] - start).tolist()]
        self._texts[block] = zlib.decompress(deflated).decode("ascii"), edges
        return self._texts[block]


class StoredRles(Sequence[Rle]):
    """Some of the RLEs of `Blocks`, all of one size, in any order."""

    def __init__(self, size_hw: tuple[int, int], blocks: Blocks, places: NDArray[np.int32]) -> None:
        """places: (N,), of each in the blocks"""
        self._size_hw, self._blocks, self._places = size_hw, blocks, places

    def take(self, indices: Sequence[int]) -> StoredRles:
        """Those at `indices`, in that order; nothing is inflated yet."""
        return StoredRles(self._size_hw, self._blocks, self._places[list(indices)])

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Rle: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rle]: ...

    def __getitem__(self, index: int | slice) -> Rle | Sequence[Rle]:
        if isinstance(index, slice):
            return StoredRles(self._size_hw, self._blocks, self._places[index])
        counts = self._blocks.counts(int(self._places[index]))
        return {"size": list(self._size_hw), "counts": counts}
