"""Best IoU, coverage and duplicates on masks drawn by hand."""

import math

import numpy as np
import pytest

from amg_cli.core import rle as rle_codec
from amg_cli.evaluate.quality import PartitionQuality, SegmentQuality
from amg_cli.evaluate.segments import (
    ImageSegments,
    SegmentsTally,
    iou_matrix,
    mean,
    measure_segments,
)
from tests.eval_data import block, drawing, made, segment, true_image

SIZE_HW = (10, 10)
TOP_HALF = block(SIZE_HW, 0, 0, 5, 10)


def rows(number):
    """The first so many rows of an image: 10 pixels each."""
    return block(SIZE_HW, 0, 0, number, 10)


def measured(segments, masks):
    return measure_segments(true_image(*segments, size_hw=SIZE_HW), masks)


def test_an_iou_matrix_has_a_row_for_each_mask_and_a_column_for_each_segment():
    rles = [rle_codec.encode(rows(n)) for n in (1, 2, 4)]
    np.testing.assert_allclose(iou_matrix(rles, rles[1:]), [[0.5, 0.25], [1, 0.5], [0.5, 1]])
    assert iou_matrix([], rles).shape == (0, 3)
    assert iou_matrix(rles, []).shape == (3, 0)


def test_the_best_iou_of_each_segment_is_with_any_mask_however_ranked():
    found = measured(
        [segment(rows(4)), segment(block(SIZE_HW, 8, 0, 10, 10)), segment(rows(1))],
        [made(rows(5)), made(rows(2)), made(rows(8))],
    )
    assert found.best_iou == pytest.approx((0.8, 0, 0.5))
    assert found.nb_masks == 3


def test_a_crowd_has_no_best_iou():
    found = measured([segment(rows(4), is_crowd=True), segment(rows(2))], [made(rows(4))])
    assert found.best_iou == (0.5,)


def test_coverage_counts_a_pixel_once_however_many_masks_hold_it():
    left = block(SIZE_HW, 0, 0, 10, 3)
    assert measured([], [made(TOP_HALF), made(TOP_HALF), made(left)]).coverage == 0.65


def test_duplicates_are_masks_like_one_ranked_before_them():
    # IoU with ten rows: nine rows 0.9, which is not over it; 95 pixels 0.95.
    nearly = rows(10) & ~block(SIZE_HW, 9, 0, 10, 5)
    assert measured([], [made(rows(10)), made(rows(9))]).duplicates == 0
    assert measured([], [made(rows(10)), made(nearly)]).duplicates == 1
    assert (
        measured([], [made(rows(10)), made(nearly), made(rows(10)), made(rows(2))]).duplicates == 2
    )
    assert measured([], [made(rows(3))]).duplicates == 0


def test_an_image_without_masks_or_without_segments():
    assert measured([segment(rows(4))], []) == ImageSegments((0.0,), 0, 0.0, 0)
    assert measured([], [made(rows(4))]) == ImageSegments((), 1, 0.4, 0)
    assert measured([], []) == ImageSegments((), 0, 0.0, 0)


def test_totals_are_over_segments_or_over_images_or_over_masks():
    tally = SegmentsTally()
    tally.add(ImageSegments((0.9, 0.5, 0.1), nb_masks=4, coverage=0.5, duplicates=1))
    tally.add(ImageSegments((0.75,), nb_masks=1, coverage=0.1, duplicates=0))
    tally.add(ImageSegments((), nb_masks=0, coverage=0.0, duplicates=0))
    assert tally.scores() == pytest.approx(
        {
            "mean best IoU": 2.25 / 4,
            "recall at 0.5": 0.75,
            "recall at 0.75": 0.5,
            "recall at 0.9": 0.25,
            "masks an image": 5 / 3,
            "coverage": 0.2,
            "duplicates": 0.2,
        }
    )


def test_totals_of_nothing_are_unknown():
    assert all(math.isnan(value) for value in SegmentsTally().scores().values())
    assert math.isnan(mean([]))
    assert mean([1, 2]) == 1.5


# All scores together


def test_things_and_stuff_are_apart_where_the_truth_tells_them_apart():
    quality = SegmentQuality()
    thing, stuff = segment(rows(2), is_thing=True), segment(rows(8), is_thing=False)
    quality.add(true_image(thing, stuff, size_hw=SIZE_HW), [made(rows(2))])
    quality.add(true_image(segment(rows(5)), size_hw=SIZE_HW), [made(rows(5))])
    scores = quality.scores()
    assert list(scores) == ["all", "things", "stuff", "segments"]
    assert [scores[group]["AR@10"] for group in ("all", "things", "stuff")] == [2 / 3, 1, 0]


def test_without_kinds_there_are_no_things_and_no_stuff():
    quality = SegmentQuality()
    quality.add(true_image(segment(rows(5)), size_hw=SIZE_HW), [made(rows(5))])
    assert list(quality.scores()) == ["all", "segments"]


def test_prompted_segments_of_all_images_make_one_group_a_prompt():
    quality = SegmentQuality()
    quality.add_prompted({"point": [], "box": []})
    quality.add_prompted({"point": []})
    scores = quality.scores()
    assert list(scores) == ["all", "segments", "one point", "one box"]
    assert scores["one point"]["segments"] == 0


def test_masks_against_annotators_are_means_over_images():
    # A half against halves is perfect. Against one whole: covering 0.5, 1 bit, and of the 28 pairs
    # of 8 pixels the 12 inside a half agree.
    half = drawing("##..", "##..")
    quality = PartitionQuality()
    quality.add([half.astype(int)], [made(half)])
    quality.add([np.zeros((2, 4), int), half.astype(int)], [made(half), made(half)])
    scores = quality.scores()
    assert scores["covering"] == pytest.approx({"best": 1, "mean": (1 + 0.75) / 2})
    assert scores["rand index"] == pytest.approx({"best": 1, "mean": (1 + (1 + 12 / 28) / 2) / 2})
    assert scores["variation of information"] == pytest.approx({"best": 0, "mean": 0.25})
    assert scores["masks"] == {"masks an image": 1.5}
    assert math.isnan(PartitionQuality().scores()["masks"]["masks an image"])
