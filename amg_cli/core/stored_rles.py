"""RLEs as a file has them: deflated, many together, and inflated when one is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.rle import Rle

BLOCK = 64  # RLEs that are deflated together


@dataclass
class Blocks:
    """The counts of RLEs, in order, BLOCK of them together.

    deflated: each block
    ends:     in each block, of each RLE, where its text ends
    """

    deflated: Sequence[bytes]
    ends: Sequence[Sequence[int]]
    _texts: dict[int, str] = field(default_factory=dict)

    def counts(self, place: int) -> str:
        """Those of one RLE."""
        block, row = divmod(place, BLOCK)
        if block not in self._texts:
            self._texts[block] = zlib.decompress(self.deflated[block]).decode("ascii")
        ends = self.ends[block]
        return self._texts[block][ends[row - 1] if row else 0 : ends[row]]


class StoredRles(Sequence[Rle]):
    """Some of the RLEs of `Blocks`, all of one size, in any order."""

    def __init__(self, size_hw: tuple[int, int], blocks: Blocks, places: NDArray[np.int32]) -> None:
        """places: (N,), of each in the blocks"""
        self._size_hw, self._blocks, self._places = size_hw, blocks, places

    @staticmethod
    def of(
        size_hw: tuple[int, int],
        deflated: Sequence[bytes],
        lengths: NDArray[np.int32],
        places: NDArray[np.int32],
    ) -> StoredRles:
        """lengths: of each RLE's counts, in the order of the blocks"""
        firsts = range(0, len(lengths), BLOCK)
        ends = [lengths[first : first + BLOCK].cumsum().tolist() for first in firsts]
        return StoredRles(size_hw, Blocks(deflated, ends), places)

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
