"""Boxes, by hand and against plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amg_cli.core.boxes import (
    box_area,
    box_iou,
    mask_boxes,
    nms,
    touches_crop_edge,
)

# Few places and few scores, so that degenerate, equal and nested boxes and equal scores are common.
SIDES = st.integers(0, 6)
BOXES = st.tuples(SIDES, SIDES, SIDES, SIDES).map(
    lambda s: [min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3])]
)
SCORED = st.lists(st.tuples(BOXES, st.sampled_from([0.25, 0.5, 0.75])), max_size=14)
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0])

IMAGE = torch.tensor([0, 0, 400, 300])
CROP = torch.tensor([100, 50, 300, 250])


def plain_area(box):
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


def plain_iou(a, b):
    """NaN for 0/0."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = plain_area(a) + plain_area(b) - width * height
    return width * height / union if union else math.nan


def plain_nms(boxes, scores, threshold):
    """Of the boxes not yet looked at, the best is kept unless one kept before overlaps it."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if not any(plain_iou(boxes[j], boxes[i]) > threshold for j in kept):
            kept.append(i)
    return kept


def plain_box(mask):
    pixels = [(x, y) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
    if not pixels:
        return [0, 0, 0, 0]
    xs, ys = zip(*pixels, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def tensor_of(boxes):
    return torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4)


def kept_by_nms(boxes, scores, threshold):
    """By the loop, and by all pairs at once, as on a GPU, which must agree."""
    given = tensor_of(boxes), torch.tensor(scores, dtype=torch.float32), threshold
    kept = nms(*given).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amg_cli.core.boxes.ALL_PAIRS", ("cpu",))
        assert nms(*given).tolist() == kept
    return kept


def one_mask(height, width, pixels):
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    for x, y in pixels:
        mask[0, y, x] = True
    return mask


def test_an_empty_mask_has_the_zero_box():
    assert mask_boxes(one_mask(4, 7, [])).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (6, 0), (0, 3), (6, 3), (2, 1)])
def test_a_single_pixel_is_a_box_of_one_point(x, y):
    assert mask_boxes(one_mask(4, 7, [(x, y)])).tolist() == [[x, y, x, y]]


def test_right_and_bottom_of_a_full_mask_are_the_last_pixel():
    assert mask_boxes(torch.ones(1, 4, 7, dtype=torch.bool)).tolist() == [[0, 0, 6, 3]]


def test_a_box_spans_all_parts_of_a_mask():
    assert mask_boxes(one_mask(9, 9, [(2, 7), (5, 1), (4, 4)])).tolist() == [[2, 1, 5, 7]]


def test_each_mask_has_its_own_box():
    masks = torch.cat([one_mask(4, 7, [(1, 2)]), one_mask(4, 7, []), one_mask(4, 7, [(6, 3)])])
    boxes = mask_boxes(masks)
    assert boxes.tolist() == [[1, 2, 1, 2], [0, 0, 0, 0], [6, 3, 6, 3]]
    assert boxes.dtype == torch.int64


def test_no_masks_have_no_boxes():
    boxes = mask_boxes(torch.zeros(0, 4, 7, dtype=torch.bool))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == torch.int64


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)))
def test_mask_boxes_are_those_of_a_plain_loop(masks):
    assert mask_boxes(torch.from_numpy(masks)).tolist() == [plain_box(mask) for mask in masks]


def test_area_is_width_times_height_and_zero_for_a_line():
    boxes = torch.tensor([[1, 2, 4, 9], [3, 0, 3, 8], [0, 3, 8, 3]])
    assert box_area(boxes).tolist() == [21, 0, 0]


def test_area_of_a_huge_image_is_exact():
    side = 100_001  # its square is held neither by int32 nor exactly by float32
    assert box_area(torch.tensor([[0, 0, side, side]], dtype=torch.int32)).item() == side**2


@given(st.lists(BOXES, max_size=6), st.lists(BOXES, max_size=6))
def test_iou_of_each_pair_is_that_of_a_plain_loop(a, b):
    found = box_iou(tensor_of(a), tensor_of(b)).numpy()
    wanted = np.array([plain_iou(one, other) for one in a for other in b], dtype=np.float64)
    np.testing.assert_array_equal(found, wanted.reshape(len(a), len(b)))


@given(SCORED, THRESHOLDS)
def test_nms_keeps_what_a_plain_loop_keeps_in_the_same_order(scored, threshold):
    boxes, scores = [box for box, _ in scored], [score for _, score in scored]
    assert kept_by_nms(boxes, scores, threshold) == plain_nms(boxes, scores, threshold)


@given(SCORED, THRESHOLDS)
def test_nms_of_what_it_kept_keeps_all(scored, threshold):
    boxes, scores = [box for box, _ in scored], [score for _, score in scored]
    kept = kept_by_nms(boxes, scores, threshold)
    again = kept_by_nms([boxes[i] for i in kept], [scores[i] for i in kept], threshold)
    assert again == list(range(len(kept)))


def test_the_best_score_comes_first():
    apart = [[0, 0, 2, 2], [10, 0, 12, 2], [20, 0, 22, 2]]
    assert kept_by_nms(apart, [0.5, 0.9, 0.7], 0.7) == [1, 2, 0]


def test_the_higher_score_of_two_equal_boxes_stays():
    assert kept_by_nms([[0, 0, 9, 9]] * 2, [0.5, 0.9], 0.7) == [1]


def test_equal_scores_keep_the_earlier_box():
    assert kept_by_nms([[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 8, 9]], [0.5] * 3, 0.7) == [0]


def test_equal_scores_keep_their_order_in_a_long_list():
    apart = [[20 * i, 0, 20 * i + 9, 9] for i in range(200)]
    assert kept_by_nms(apart, [0.5] * 200, 0.7) == list(range(200))


@pytest.mark.parametrize(("inside", "threshold"), [(5, 0.5), (7, 0.7)])
def test_an_iou_equal_to_the_threshold_is_kept(inside, threshold):
    boxes = [[0, 0, 10, 1], [0, 0, inside, 1]]
    assert kept_by_nms(boxes, [0.9, 0.8], threshold) == [0, 1]
    assert kept_by_nms(boxes, [0.9, 0.8], threshold - 1e-6) == [0]


def test_boxes_that_only_touch_do_not_suppress_at_threshold_zero():
    assert kept_by_nms([[0, 0, 4, 4], [4, 0, 8, 4]], [0.9, 0.8], 0.0) == [0, 1]
    assert kept_by_nms([[0, 0, 4, 4], [3, 0, 8, 4]], [0.9, 0.8], 0.0) == [0]


def test_equal_boxes_stay_at_threshold_one():
    assert kept_by_nms([[0, 0, 4, 4]] * 2, [0.8, 0.9], 1.0) == [1, 0]


def test_equal_boxes_without_area_do_not_suppress():
    assert kept_by_nms([[3, 0, 3, 8]] * 2, [0.9, 0.8], 0.0) == [0, 1]


def test_a_suppressed_box_suppresses_nothing():
    # Neighbours overlap by 3/5, the first and the last by 2/6.
    chain = [[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]]
    assert kept_by_nms(chain, [0.9, 0.8, 0.7], 0.5) == [0, 2]


def test_nms_of_nothing_is_nothing():
    kept = nms(torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0), 0.7)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def moved(side, position):
    """A box far from every edge of the crop, one of its sides moved."""
    box = [170, 120, 230, 180]
    box[side] = position
    return torch.tensor([box])


@pytest.mark.parametrize(
    ("side", "touching", "free"),
    [(0, 120, 121), (1, 70, 71), (2, 280, 279), (3, 230, 229)],
)
def test_a_box_at_most_20_px_from_an_inner_edge_touches_it(side, touching, free):
    assert touches_crop_edge(moved(side, touching), CROP, IMAGE).tolist() == [True]
    assert touches_crop_edge(moved(side, free), CROP, IMAGE).tolist() == [False]


def test_the_crops_that_are_the_image_have_no_inner_edge():
    assert not touches_crop_edge(torch.tensor([[0, 0, 399, 299]]), IMAGE, IMAGE).any()


@pytest.mark.parametrize(
    ("side", "crop", "at_image_edge", "past_it"),
    [
        (0, [10, 50, 300, 250], 20, 21),
        (1, [100, 10, 300, 250], 20, 21),
        (2, [100, 50, 390, 250], 380, 379),
        (3, [100, 50, 300, 290], 280, 279),
    ],
)
def test_a_box_at_most_20_px_from_the_image_edge_may_touch_the_crop(
    side, crop, at_image_edge, past_it
):
    crop = torch.tensor(crop)
    assert not touches_crop_edge(moved(side, at_image_edge), crop, IMAGE).any()
    assert touches_crop_edge(moved(side, past_it), crop, IMAGE).all()


def test_each_side_is_compared_with_its_own_edge():
    # Its left is where the crop's right edge is, and its bottom where the crop's top is.
    box = torch.tensor([[295, 55, 350, 60]])
    crop = torch.tensor([100, 80, 300, 250])
    assert not touches_crop_edge(box, crop, IMAGE).any()


def test_each_box_is_judged_by_itself():
    boxes = torch.tensor([[170, 120, 230, 180], [110, 120, 230, 180], [170, 120, 230, 245]])
    assert touches_crop_edge(boxes, CROP, IMAGE).tolist() == [False, True, True]


def test_another_margin_moves_the_limit():
    assert touches_crop_edge(moved(0, 103), CROP, IMAGE, margin_px=3).tolist() == [True]
    assert touches_crop_edge(moved(0, 104), CROP, IMAGE, margin_px=3).tolist() == [False]


def test_at_a_threshold_that_float32_rounds_down_an_equal_iou_suppresses_as_in_torchvision():
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 6, 1]])  # IoU 0.6, which float32 holds as more
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.6).tolist() == [0]
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 7, 1]])  # IoU 0.7, which float32 holds as less
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.7).tolist() == [0, 1]
