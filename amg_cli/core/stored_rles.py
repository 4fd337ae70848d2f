"""RLEs as a file has them: deflated, many together, and inflated when one is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.rle import Rle

BLOCK = 16  # RLEs that are deflated together


@dataclass
class Blocks:
    """N RLEs of one size, in order, BLOCK of them together.

    deflated: the counts of all blocks, one after another
    bounds:   where each block begins in that, and where the last ends
    ends:     (N,), where each RLE's counts end in the text of all
    """

    size_hw: tuple[int, int]
    deflated: NDArray[np.uint8]
    bounds: Sequence[int]
    ends: NDArray[np.int64]
    _inflated: dict[int, list[Rle]] = field(default_factory=dict)

    def rle(self, place: int) -> Rle:
        """One of them. Asked for again, as in suppression, it is the same."""
        block, row = divmod(place, BLOCK)
        rles = self._inflated.get(block)
        if rles is None:
            rles = self._inflated[block] = self._block(block)
        return rles[row]

    def _block(self, block: int) -> list[Rle]:
        first = block * BLOCK
        start = int(self.ends[first - 1]) if first else 0
        deflated = self.deflated[self.bounds[block] : self.bounds[block + 1]]
        text = zlib.decompress(deflated.data).decode("ascii")
        edges = [0, *(self.ends[first : first + BLOCK] - start).tolist()]
        size = list(self.size_hw)
        return [{"size": size, "counts": text[begin:end]} for begin, end in pairwise(edges)]


class StoredRles(Sequence[Rle]):
    """Some of the RLEs of `Blocks`, in any order."""

    def __init__(self, blocks: Blocks, places: NDArray[np.int32]) -> None:
        """places: (N,), of each in the blocks"""
        self._blocks, self._places = blocks, places

    def take(self, indices: Sequence[int]) -> StoredRles:
        """Those at `indices`, in that order; nothing is inflated yet."""
        return StoredRles(self._blocks, self._places[list(indices)])

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Rle: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rle]: ...

    def __getitem__(self, index: int | slice) -> Rle | Sequence[Rle]:
        if isinstance(index, slice):
            return StoredRles(self._blocks, self._places[index])
        return self._blocks.rle(int(self._places[index]))
