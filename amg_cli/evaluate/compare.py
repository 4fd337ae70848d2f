"""Two runs side by side: which masks of one are in the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.evaluate.segments import iou_matrix

MATCH_AT = (0.98, 0.95, 0.9, 0.75)


@dataclass(frozen=True)
class Comparison:
    """Masks matched one to one, for one image or the sum of several.

    counts:         masks of the one run, and of the other
    matched:        pairs at each IoU of `MATCH_AT`
    identical:      pairs of the same RLE
    pred_iou_diff, stability_diff: the largest absolute difference within a pair
    out_of_order:   pairs whose partner comes before the previous pair's
    """

    counts: tuple[int, int] = (0, 0)
    matched: tuple[int, ...] = (0,) * len(MATCH_AT)
    identical: int = 0
    pred_iou_diff: float = 0.0
    stability_diff: float = 0.0
    out_of_order: int = 0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            (self.counts[0] + other.counts[0], self.counts[1] + other.counts[1]),
            tuple(a + b for a, b in zip(self.matched, other.matched, strict=True)),
            self.identical + other.identical,
            max(self.pred_iou_diff, other.pred_iou_diff),
            max(self.stability_diff, other.stability_diff),
            self.out_of_order + other.out_of_order,
        )

    def share(self, at: float) -> float:
        """Pairs at an IoU of `MATCH_AT`, of the masks of the larger run. 1 where both are empty."""
        most = max(self.counts)
        return self.matched[MATCH_AT.index(at)] / most if most else 1.0

    def scores(self) -> dict[str, float]:
        """The figures by name, the shares included."""
        figures = asdict(self)
        ours, theirs = figures.pop("counts")
        figures.pop("matched")
        shares = {f"matched at IoU {at}": self.share(at) for at in MATCH_AT}
        return {"masks": ours, "masks of the other": theirs} | shares | figures


def compare(masks: Sequence[Mask], others: Sequence[Mask]) -> Comparison:
    """Match the masks of one image in two runs one to one, the best overlaps first."""
    counts = (len(masks), len(others))
    if masks and others and masks[0].rle["size"] != others[0].rle["size"]:
        return Comparison(counts)
    pairs = match([mask.rle for mask in masks], [mask.rle for mask in others])
    both = [(masks[i], others[j]) for i, j, _ in pairs]
    order = [j for _, j, _ in sorted(pairs)]
    return Comparison(
        counts=counts,
        matched=tuple(sum(iou >= at for _, _, iou in pairs) for at in MATCH_AT),
        identical=sum(a.rle == b.rle for a, b in both),
        pred_iou_diff=max((abs(a.pred_iou - b.pred_iou) for a, b in both), default=0.0),
        stability_diff=max(
            (abs(a.stability_score - b.stability_score) for a, b in both), default=0.0
        ),
        out_of_order=sum(after < before for before, after in itertools.pairwise(order)),
    )


def match(rows: Sequence[Rle], columns: Sequence[Rle]) -> list[tuple[int, int, float]]:
    """One-to-one pairs with an IoU of at least the least of `MATCH_AT`: (row, column, IoU).

    Greedy: the best overlap first; of equal ones the earlier row, then the earlier column.
    """
    iou = iou_matrix(rows, columns)
    overlapping = [(int(i), int(j)) for i, j in np.argwhere(iou >= min(MATCH_AT))]
    free_rows, free_columns = set(range(len(rows))), set(range(len(columns)))
    pairs = []
    for i, j in sorted(overlapping, key=lambda pair: (-iou[pair], pair)):
        if i in free_rows and j in free_columns:
            free_rows.remove(i)
            free_columns.remove(j)
            pairs.append((i, j, float(iou[i, j])))
    return pairs
