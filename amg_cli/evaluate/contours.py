"""An edge map against annotators' boundaries: what the boundary benchmark counts of one image.

H, W are the image's height and width in pixels, K counts `THRESHOLDS`.

Sources: Martin, Fowlkes and Malik, PAMI 2004; Arbeláez, Maire, Fowlkes and Malik, "Contour
Detection and Hierarchical Image Segmentation", PAMI 2011. Where they leave it open, as Dollár's
toolbox for structured edges does it, whose figures are the benchmark's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amg_cli.evaluate.matching import Mask, Numbered, Surroundings, match
from amg_cli.evaluate.thinning import thin

THRESHOLDS = tuple(k / 100 for k in range(1, 100))
MAX_DISTANCE = 0.0075  # between pixels that may be matched, in diagonals of the image

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class EdgeCounts:
    """Pixels, (K,) each: of the edges, and of the boundaries of all annotators together.

    found_matched: edges that are matched to at least one annotator
    true_matched:  boundaries that are matched, each annotator's by themselves
    """

    found: Counts
    found_matched: Counts
    true: Counts
    true_matched: Counts

    def __add__(self, other: EdgeCounts) -> EdgeCounts:
        return EdgeCounts(
            self.found + other.found,
            self.found_matched + other.found_matched,
            self.true + other.true,
            self.true_matched + other.true_matched,
        )

    def at(self, threshold: int) -> EdgeCounts:
        """Those at one of the thresholds, by its place. (1,) each"""
        only = slice(threshold, threshold + 1)
        return EdgeCounts(
            self.found[only],
            self.found_matched[only],
            self.true[only],
            self.true_matched[only],
        )

    @staticmethod
    def of_nothing_found(boundaries: Sequence[Mask]) -> EdgeCounts:
        """Those of an image without an edge."""
        none = np.zeros(len(THRESHOLDS), dtype=np.int64)
        return EdgeCounts(none, none, none + sum(map(np.count_nonzero, boundaries)), none)


def count_edges(strength: NDArray[np.floating], boundaries: Sequence[Mask]) -> EdgeCounts:
    """Match a map's edges at each threshold to each annotator's boundaries. (H, W), each (H, W).

    At a threshold, the edges are the pixels that reach it, thinned. A pixel is matched to at most
    one pixel of each annotator's, so that as many are as can be, and those the nearest.

    strength: in [0, 1]
    Raises ValueError where the sizes differ.
    """
    if any(boundary.shape != strength.shape for boundary in boundaries):
        raise ValueError(f"boundaries of another size than the map's {strength.shape}")
    max_distance_px = MAX_DISTANCE * math.hypot(*strength.shape)
    annotators = [Surroundings.of(boundary, max_distance_px) for boundary in boundaries]
    before = np.zeros(strength.shape, dtype=bool)
    counts = (0, 0, 0)
    of_thresholds = []
    for threshold in THRESHOLDS:
        reached = strength >= threshold
        if not np.array_equal(reached, before):
            counts = _count(Numbered.of(thin(reached), max_distance_px), annotators)
        before = reached
        of_thresholds.append(counts)
    found, found_matched, true_matched = np.array(of_thresholds, dtype=np.int64).T
    nothing = EdgeCounts.of_nothing_found(boundaries)
    return EdgeCounts(found, found_matched, nothing.true, true_matched)


def _count(edges: Numbered, annotators: Sequence[Surroundings]) -> tuple[int, int, int]:
    """At one threshold, as in `EdgeCounts`: found, found_matched, true_matched."""
    is_matched = np.zeros(edges.count, dtype=bool)
    true_matched = 0
    for annotator in annotators:
        true, found = match(annotator.pairs(edges))
        is_matched[found] = True
        true_matched += len(true)
    return edges.count, int(np.count_nonzero(is_matched)), true_matched
