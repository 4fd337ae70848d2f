"""From counts of edges to the boundary benchmark's figures: ODS, OIS, AP and R50.

K counts `THRESHOLDS`. The arithmetic is that of Dollár's toolbox for structured edges, also where
another would do as well, because published figures are its: where nothing is found, precision is 0;
AP divides the sum of 101 precisions by 100, and is 0 of one recall alone; of thresholds of one
recall, the lowest counts for AP and R50.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amg_cli.evaluate.contours import THRESHOLDS, EdgeCounts

NB_STEPS = 100  # from one threshold to the next, both with them, where the best F is looked for
TINY = np.finfo(np.float64).eps  # instead of a 0 to divide by

Shares = NDArray[np.float64]  # in [0, 1]


class Best(NamedTuple):
    """Where F is best."""

    f: float
    threshold: float
    precision: float
    recall: float


def edge_scores(images: Sequence[EdgeCounts]) -> dict[str, float]:
    """The figures of one image or more.

    ODS: the best F of one threshold for all images, and where that is
    OIS: F if each image has the threshold, of `THRESHOLDS`, at which its own F is best
    AP, R50: as the functions of these names, of all images together
    """
    precision, recall = precision_recall(_sum(images))
    ods = best(precision, recall)
    own = [counts.at(int(f_measure(*precision_recall(counts)).argmax())) for counts in images]
    return {
        "ODS": ods.f,
        "ODS threshold": ods.threshold,
        "ODS precision": ods.precision,
        "ODS recall": ods.recall,
        "OIS": float(f_measure(*precision_recall(_sum(own)))[0]),
        "AP": average_precision(precision, recall),
        "R50": recall_at_half(precision, recall),
    }


def image_scores(counts: EdgeCounts) -> dict[str, float]:
    """The best of one image by itself."""
    own = best(*precision_recall(counts))
    return {
        "F": own.f,
        "threshold": own.threshold,
        "precision": own.precision,
        "recall": own.recall,
    }


def precision_recall(counts: EdgeCounts) -> tuple[Shares, Shares]:
    """-> (K,), (K,)"""
    return (
        counts.found_matched / np.maximum(counts.found, TINY),
        counts.true_matched / np.maximum(counts.true, TINY),
    )


def f_measure(precision: Shares, recall: Shares) -> Shares:
    """Their harmonic mean, of each with each."""
    return 2 * precision * recall / np.maximum(precision + recall, TINY)


def best(precision: Shares, recall: Shares) -> Best:
    """Where F is best, between thresholds too, for which both are drawn as straight lines. (K,)"""
    share = np.linspace(0, 1, NB_STEPS)
    thresholds, precision, recall = (
        (values[:-1, None] + np.diff(values)[:, None] * share).ravel()
        for values in (np.array(THRESHOLDS), precision, recall)
    )
    f = f_measure(precision, recall)
    i = f.argmax()
    return Best(float(f[i]), float(thresholds[i]), float(precision[i]), float(recall[i]))


def average_precision(precision: Shares, recall: Shares) -> float:
    """The area under the line through the points, (K,), at recalls 0, .01, … 1.

    Below the lowest recall and above the highest there is none.
    """
    recall, at = np.unique(recall, return_index=True)
    if len(recall) == 1:
        return 0.0
    at_recalls = np.interp(np.arange(101) / 100, recall, precision[at], left=0, right=0)
    return float(at_recalls.sum() / 100)


def recall_at_half(precision: Shares, recall: Shares) -> float:
    """Recall where precision is .5, on the line through the points by precision. (K,)

    Where all precisions are more, that of the lowest; where all are less, nan.
    """
    recall, at = np.unique(recall, return_index=True)
    by_falling_recall = slice(None, None, -1)  # of equal precisions, the highest recall counts
    precision, recall = precision[at][by_falling_recall], recall[by_falling_recall]
    precision, at = np.unique(precision, return_index=True)
    if precision[-1] < 0.5:
        return float("nan")
    return float(np.interp(max(0.5, precision[0]), precision, recall[at]))


def _sum(images: Sequence[EdgeCounts]) -> EdgeCounts:
    return sum(images[1:], start=images[0])
