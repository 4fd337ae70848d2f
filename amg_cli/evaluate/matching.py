"""Pixels of two sets paired one to one: as many as can be, and of all such ways the nearest.

That is what the boundary benchmark asks of its own solver. scipy's sparse one is exact here, and
fast because only pixels close to each other may be paired.

Source: Martin, Fowlkes and Malik, "Learning to Detect Natural Image Boundaries Using Local
Brightness, Color, and Texture Cues", PAMI 2004, appendix B.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

UNPAIRED_PX = 1e6  # what a pixel without a partner costs: more than all distances together
PAIRS_A_PROBLEM = 1000  # a solver's call takes its time, and so does each pixel of a large problem


@dataclass(frozen=True)
class Pairs:
    """Which pixels of one set may be paired with which of another. P pairs.

    one, other:       (P,) each, a pixel's number in its set, by rows; `one` ascends
    distance_px:      (P,)
    nb_one, nb_other: pixels in the sets, with those that have no partner
    """

    one: Indices
    other: Indices
    distance_px: NDArray[np.float64]
    nb_one: int
    nb_other: int

    def swapped(self) -> Pairs:
        """The same with the sets exchanged."""
        order = np.argsort(self.other, kind="stable")
        values = (self.other[order], self.one[order], self.distance_px[order])
        return Pairs(*values, self.nb_other, self.nb_one)


@dataclass(frozen=True)
class Numbered:
    """A set of pixels as a map of their numbers, for `Surroundings` to look them up.

    numbers: flat, with a margin around the image; -1 where there is none
    count:   of the pixels
    """

    numbers: NDArray[np.int32]
    count: int

    @staticmethod
    def of(pixels: Mask, max_distance_px: float) -> Numbered:
        """The pixels of a mask, (H, W)."""
        count = int(np.count_nonzero(pixels))
        numbers = np.full(pixels.shape, -1, dtype=np.int32)
        numbers[pixels] = np.arange(count, dtype=np.int32)
        return Numbered(np.pad(numbers, int(max_distance_px), constant_values=-1).ravel(), count)


@dataclass(frozen=True)
class Surroundings:
    """The places close enough to each pixel of a set. N pixels, K places around each.

    places:      (N, K) in a map of `Numbered` for the same distance
    distance_px: (K,)
    """

    places: NDArray[np.int32]
    distance_px: NDArray[np.float64]

    @staticmethod
    def of(pixels: Mask, max_distance_px: float) -> Surroundings:
        """Those of each pixel of a mask, (H, W), at most so far away."""
        margin = int(max_distance_px)
        width = pixels.shape[1] + 2 * margin
        down, right = np.mgrid[-margin : margin + 1, -margin : margin + 1].reshape(2, -1)
        squared = down**2 + right**2
        near = squared <= max_distance_px**2
        rows, columns = np.nonzero(pixels)
        own = (rows + margin) * width + columns + margin
        places = own[:, None] + (down * width + right)[near]
        return Surroundings(places.astype(np.int32), np.sqrt(squared[near]))

    def pairs(self, others: Numbered) -> Pairs:
        """Which of the others are close to which of these."""
        numbers = others.numbers.take(self.places)
        one, place = np.nonzero(numbers >= 0)
        other = numbers[one, place].astype(np.intp)
        return Pairs(one, other, self.distance_px[place], len(self.places), others.count)


def match(pairs: Pairs) -> tuple[Indices, Indices]:
    """The pixels that are paired, `one` and `other`, in no order. -> (M,), (M,)

    M is as large as it can be, and the sum of their distances as small as it then can be.
    """
    nb_rows, nb_columns = (
        np.count_nonzero(np.bincount(numbers)) for numbers in (pairs.one, pairs.other)
    )
    if nb_rows > nb_columns:  # a row that remains without a partner takes longest
        other, one = match(pairs.swapped())
        return one, other
    none = np.zeros(0, dtype=np.intp)
    solved = [(none, none), *(problem.solve() for problem in _problems(pairs))]
    one, other = (np.concatenate(found) for found in zip(*solved, strict=True))
    return one, other


@dataclass(frozen=True)
class _Problem:
    """Some pairs that share no pixel with the others. R rows, C columns, P pairs by rows.

    rows, columns: (R,), (C,), numbers of the pixels in their sets
    row_starts:    (R,), the first pair of each row
    column_of:     (P,), in `columns`
    distance_px:   (P,)
    """

    rows: Indices
    columns: Indices
    row_starts: Indices
    column_of: Indices
    distance_px: NDArray[np.float64]

    def solve(self) -> tuple[Indices, Indices]:
        """The pixels that are paired. -> (M,), (M,)"""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        # The solver pairs every row. One that has no partner takes a column of its own, which no
        # other may have. It also makes the solver's look for any answer at all a short one, which
        # else takes for ever with some maps: scipy's issue 26147.
        nb_rows = len(self.rows)
        own = self.row_starts + np.arange(nb_rows)
        is_pair = np.ones(len(self.column_of) + nb_rows, dtype=bool)
        is_pair[own] = False
        columns = np.empty(len(is_pair), dtype=np.int32)
        columns[own], columns[is_pair] = np.arange(nb_rows), self.column_of + nb_rows
        costs = np.full(len(is_pair), UNPAIRED_PX)
        costs[is_pair] = self.distance_px + 1  # the solver takes 0 for no pair
        shape = (nb_rows, nb_rows + len(self.columns))
        graph = csr_matrix((costs, columns, np.append(own, len(is_pair))), shape=shape)
        row, column = min_weight_full_bipartite_matching(graph)
        has_partner = column >= nb_rows
        return self.rows[row[has_partner]], self.columns[column[has_partner] - nb_rows]


def _problems(pairs: Pairs) -> Iterator[_Problem]:
    """The pairs by parts of the graph that have no pixel in common, several small ones together."""
    part = _parts(pairs)[pairs.one]
    order = np.argsort(part, kind="stable")
    part, one, other = part[order], pairs.one[order], pairs.other[order]
    distance_px = pairs.distance_px[order]
    row_starts = np.flatnonzero(np.diff(one, prepend=-1))
    used, first_pair = np.unique(other, return_index=True)
    columns = used[np.argsort(first_pair)]  # by their parts, as the pairs are
    place = np.empty(pairs.nb_other, dtype=np.intp)
    place[columns] = np.arange(len(columns))
    part_starts = np.flatnonzero(np.diff(part, prepend=-1))
    begins = part_starts[np.flatnonzero(np.diff(part_starts // PAIRS_A_PROBLEM, prepend=-1))]
    column_begins = place[other[begins]]
    row_begins = np.searchsorted(row_starts, begins)
    bounds = (
        itertools.pairwise([*begins, len(one)]),
        itertools.pairwise([*row_begins, len(row_starts)]),
        itertools.pairwise([*column_begins, len(columns)]),
    )
    for (begin, end), (row, end_row), (column, end_column) in zip(*bounds, strict=True):
        starts = row_starts[row:end_row]
        yield _Problem(
            rows=one[starts],
            columns=columns[column:end_column],
            row_starts=starts - begin,
            column_of=place[other[begin:end]] - column,
            distance_px=distance_px[begin:end],
        )


def _parts(pairs: Pairs) -> NDArray[np.int32]:
    """Which part of the graph each pixel of `one` is in; there is no way to another part."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    nb_pixels = pairs.nb_one + pairs.nb_other
    ends = (pairs.one, pairs.nb_one + pairs.other)
    graph = csr_matrix((np.ones(len(pairs.one), dtype=np.int8), ends), shape=(nb_pixels, nb_pixels))
    part: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return part[: pairs.nb_one]
