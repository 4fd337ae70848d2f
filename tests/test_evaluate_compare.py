"""Two runs side by side, on masks drawn by hand and against plain loops."""

import dataclasses

import numpy as np
import pytest

from amg_cli.core import rle as rle_codec
from amg_cli.evaluate.compare import MATCH_AT, Comparison, compare, match
from tests.eval_data import block, made

SIZE_HW = (20, 50)  # 1,000 pixels


def run(*lefts):
    """A run of one mask for each number: a column ten pixels wide from there on."""
    return [made(block(SIZE_HW, 0, left, 20, left + 10)) for left in lefts]


def first(number):
    """The first so many pixels of an image, row by row."""
    return (np.arange(1000) < number).reshape(SIZE_HW)


def pairs_of(rows, columns):
    return match([mask.rle for mask in rows], [mask.rle for mask in columns])


def plainly_matched(rows, columns):
    """Pairs by a plain loop: again and again the best that is left, of ties the first."""
    iou = {
        (i, j): (a & b).sum() / (a | b).sum()
        for i, a in enumerate(rows)
        for j, b in enumerate(columns)
    }
    pairs = []
    while iou:
        best = max(iou, key=lambda pair: (iou[pair], -pair[0], -pair[1]))
        if iou[best] < 0.75:
            break
        pairs.append((*best, iou[best]))
        iou = {(i, j): v for (i, j), v in iou.items() if i != best[0] and j != best[1]}
    return pairs


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_that_of_a_plain_loop(seed):
    random = np.random.default_rng(seed)
    # Few rows of few pixels: many overlaps, and many equal ones.
    rows, columns = (
        [block((8, 9), 0, 0, 8, random.integers(4, 9)) for _ in range(random.integers(1, 9))]
        + [first(int(random.integers(500, 900)))[:8, :9]]
        for _ in "ab"
    )
    found = match([rle_codec.encode(m) for m in rows], [rle_codec.encode(m) for m in columns])
    expected = plainly_matched(rows, columns)
    assert len(expected) > 1
    assert [pair[:2] for pair in found] == [pair[:2] for pair in expected]
    assert [pair[2] for pair in found] == pytest.approx([pair[2] for pair in expected])


def test_a_better_overlap_takes_a_mask_from_a_worse_one():
    # 95 of 100 pixels, then all of them: the exact partner wins although it comes later.
    ours, theirs = [made(first(95)), made(first(100))], [made(first(100))]
    assert pairs_of(ours, theirs) == [(1, 0, 1.0)]


def test_of_equal_overlaps_the_earlier_row_and_then_the_earlier_column_is_taken():
    same = run(0, 0, 0)
    assert pairs_of(same[:2], same) == [(0, 0, 1.0), (1, 1, 1.0)]
    assert pairs_of(same, same[:1]) == [(0, 0, 1.0)]


def test_overlaps_are_counted_at_each_iou_and_none_below_the_least():
    theirs = [made(first(1000))]
    expected = {980: 4, 979: 3, 950: 3, 949: 2, 900: 2, 899: 1, 750: 1, 749: 0}
    for pixels, thresholds in expected.items():
        found = compare([made(first(pixels))], theirs)
        assert found.matched == (0,) * (4 - thresholds) + (1,) * thresholds, pixels


def test_identical_runs_match_in_full_and_in_order():
    ours = run(0, 10, 20)
    found = compare(ours, run(0, 10, 20))
    assert found == Comparison((3, 3), (3,) * 4, identical=3)
    assert [found.share(at) for at in MATCH_AT] == [1] * 4


def test_masks_that_differ_by_a_pixel_match_but_are_not_identical():
    found = compare([made(first(999))], [made(first(1000))])
    assert (found.matched, found.identical) == ((1,) * 4, 0)


def test_score_differences_are_the_largest_within_a_pair():
    ours = [made(first(100), 0.9, 0.95), made(first(500), 0.5, 0.97)]
    theirs = [made(first(100), 0.8, 0.95), made(first(500), 0.75, 0.90)]
    found = compare(ours, theirs)
    assert found.pred_iou_diff == pytest.approx(0.25)
    assert found.stability_diff == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("theirs", "out_of_order"),
    [((0, 10, 20, 30), 0), ((30, 0, 10, 20), 1), ((30, 20, 10, 0), 3), ((10, 0, 30, 20), 2)],
)
def test_order_is_told_by_partners_that_come_before_the_previous_one(theirs, out_of_order):
    assert compare(run(0, 10, 20, 30), run(*theirs)).out_of_order == out_of_order


def test_a_less_exact_pair_that_comes_first_is_not_out_of_order():
    theirs = [made(first(500)), *run(0)]
    assert compare([made(first(499)), *run(0)], theirs).out_of_order == 0
    assert compare([*run(0), made(first(499))], theirs).out_of_order == 1


def test_masks_of_another_size_do_not_match():
    other = [made(block((50, 20), 0, 0, 50, 20))]
    assert compare(run(0), other) == Comparison((1, 1))
    assert compare(run(0), other).share(0.75) == 0


def test_empty_runs_match_and_an_empty_one_matches_nothing():
    assert compare([], []) == Comparison()
    assert compare([], []).share(0.9) == 1
    assert compare([], run(0, 10)) == Comparison((0, 2))
    assert compare(run(0, 10), []) == Comparison((2, 0))
    assert compare([], run(0)).share(0.9) == 0


def test_the_share_is_of_the_larger_run():
    assert compare(run(0), run(0, 10, 20, 30)).share(0.9) == 0.25
    assert compare(run(0, 10, 20, 30), run(0)).share(0.9) == 0.25


def test_comparisons_add_up():
    a = Comparison((1, 2), (0, 1, 1, 1), 1, 0.5, 0.1, 1)
    b = Comparison((4, 3), (2, 2, 2, 3), 2, 0.25, 0.2, 3)
    assert a + b == b + a == Comparison((5, 5), (2, 3, 3, 4), 3, 0.5, 0.2, 4)
    assert a + Comparison() == a


def test_figures_have_names():
    found = dataclasses.replace(compare(run(0, 10), run(10)), pred_iou_diff=0.5)
    assert found.scores() == {
        "masks": 2,
        "masks of the other": 1,
        **{f"matched at IoU {at}": 0.5 for at in (0.98, 0.95, 0.9, 0.75)},
        "identical": 1,
        "pred_iou_diff": 0.5,
        "stability_diff": 0.0,
        "out_of_order": 0,
    }
