"""Run-length encoding: properties, and pycocotools' own encoder of plainly counted runs."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from amg_cli.core import rle as rle_codec
from amg_cli.generation.on_device import encode_on_device

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
STACKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))


def plain_counts(mask):
    """Lengths of the runs down the columns, the first of zeros."""
    runs, now = [0], False
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if mask[y, x] != now:
                runs.append(0)
                now = not now
            runs[-1] += 1
    return runs


def ring():
    """Runs of several hundred pixels, whose counts take more than one character."""
    mask = np.zeros((90, 70), dtype=bool)
    mask[10:80, 5:60] = True
    mask[30:50, 20:40] = False
    return mask


SPECIAL = {
    "all zero": np.zeros((5, 7), dtype=bool),
    "all one": np.ones((5, 7), dtype=bool),
    "one row": np.array([[0, 1, 1, 0, 1]], dtype=bool),
    "one row that starts with one": np.array([[1, 1, 0]], dtype=bool),
    "one column": np.array([[0], [1], [1], [0]], dtype=bool),
    "one column that starts with one": np.array([[1], [0]], dtype=bool),
    "one pixel set": np.ones((1, 1), dtype=bool),
    "one pixel unset": np.zeros((1, 1), dtype=bool),
    "first pixel only": np.eye(1, 6, dtype=bool).reshape(2, 3),
    "last pixel only": np.eye(1, 6, 5, dtype=bool).reshape(2, 3),
    "long runs": ring(),
}
special = pytest.mark.parametrize("mask", SPECIAL.values(), ids=SPECIAL.keys())


def assert_same_mask(found, wanted):
    assert found.dtype == bool
    np.testing.assert_array_equal(found, wanted, strict=True)


def check_codec(mask):
    rle = rle_codec.encode(mask)
    runs = plain_counts(mask)
    height, width = mask.shape
    published = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    assert rle == {"size": [height, width], "counts": published["counts"].decode("ascii")}
    assert_same_mask(rle_codec.decode(rle), mask)
    assert rle_codec.counts(rle) == runs
    assert rle_codec.area(rle) == sum(runs[1::2]) == np.count_nonzero(mask)


@given(MASKS)
def test_any_mask_is_encoded_as_coco_does_and_comes_back(mask):
    check_codec(mask)


@given(STACKS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_windows_on_a_device_are_encoded_as_one_by_one(stack, above, left, below, right):
    size_hw = (above + stack.shape[1] + below, left + stack.shape[2] + right)
    found = encode_on_device(torch.from_numpy(stack), (above, left), size_hw)
    pad = ((above, below), (left, right))
    assert found == [rle_codec.encode(np.pad(mask, pad)) for mask in stack]
    assert encode_on_device(torch.from_numpy(stack[:0]), (above, left), size_hw) == []


@special
def test_a_special_mask_is_encoded_as_coco_does_and_comes_back(mask):
    check_codec(mask)


def test_runs_go_down_the_columns_and_start_with_zeros():
    mask = np.array([[1, 0, 0], [0, 0, 1]], dtype=bool)
    assert rle_codec.counts(rle_codec.encode(mask)) == [0, 1, 4, 1]
    assert rle_codec.counts(rle_codec.encode(~mask)) == [1, 4, 1]


def test_the_size_is_height_then_width():
    assert rle_codec.encode(np.zeros((2, 9), dtype=bool))["size"] == [2, 9]


def test_an_rle_and_its_counts_can_be_written_as_json():
    rle = rle_codec.encode(ring())
    assert json.loads(json.dumps(rle)) == rle
    assert json.loads(json.dumps(rle_codec.counts(rle))) == plain_counts(ring())
    assert type(rle_codec.area(rle)) is int


def test_a_decoded_mask_is_a_c_ordered_array_of_its_own():
    mask = rle_codec.decode(rle_codec.encode(ring()))
    assert mask.flags["C_CONTIGUOUS"]
    assert mask.flags["WRITEABLE"]


def test_encoding_does_not_care_how_an_array_lies_in_memory():
    mask = ring()
    rle = rle_codec.encode(mask)
    assert rle_codec.encode(np.asfortranarray(mask)) == rle
    assert rle_codec.encode(np.repeat(mask, 2, axis=1)[:, ::2]) == rle
    assert rle_codec.encode(mask[::-1][::-1]) == rle


@given(STACKS)
def test_a_stack_is_encoded_mask_by_mask_in_order(masks):
    assert rle_codec.encode_all(masks) == [rle_codec.encode(mask) for mask in masks]


def test_a_stack_keeps_its_order():
    masks = np.zeros((4, 3, 5), dtype=bool)
    for i in range(4):
        masks[i, 0, : i + 1] = True
    assert [rle_codec.area(rle) for rle in rle_codec.encode_all(masks)] == [1, 2, 3, 4]


def test_no_masks_are_encoded_as_nothing():
    assert rle_codec.encode_all(np.zeros((0, 3, 5), dtype=bool)) == []


@given(STACKS)
def test_merging_is_a_union(masks):
    merged = rle_codec.merge(rle_codec.encode_all(masks))
    assert merged == rle_codec.encode(masks.any(axis=0))


def test_merging_leaves_its_parts_alone():
    rles = [rle_codec.encode(ring()), rle_codec.encode(~ring())]
    before = [dict(rle) for rle in rles]
    rle_codec.merge(rles)
    assert rles == before


def check_changes(places, mask):
    """The places give the mask's RLE, and the box of its pixels."""
    assert rle_codec.from_changes(places, mask.shape) == rle_codec.encode(mask)
    ys, xs = mask.nonzero()
    wanted = (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else None
    assert rle_codec.box_of_changes(places, mask.shape) == wanted


@given(st.data())
def test_strips_are_encoded_as_the_whole_mask_is(data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
    bottom, right = data.draw(st.integers(top, height)), data.draw(st.integers(left, width))
    shape = (bottom - top, right - left)
    window = data.draw(st.one_of(hnp.arrays(bool, shape), st.just(np.ones(shape, dtype=bool))))
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = window
    cuts = sorted(data.draw(st.lists(st.integers(0, right - left), max_size=4)))
    strips = iter(np.split(window, cuts, axis=1))
    check_changes(rle_codec.changes(strips, (top, left), mask.shape), mask)


def test_a_large_mask_is_encoded_in_strips_as_in_one_piece():
    mask = np.random.default_rng(4).random((300, 500)) < 0.5
    strips = np.split(mask, [7, 300], axis=1)
    check_changes(rle_codec.changes(strips, (0, 0), mask.shape), mask)


def test_no_strip_is_an_empty_mask():
    check_changes(rle_codec.changes([], (2, 1), (5, 4)), np.zeros((5, 4), dtype=bool))


@given(MASKS, st.data())
def test_some_rows_and_columns_are_those_of_the_mask(mask, data):
    height, width = mask.shape
    rows, columns = (
        np.array(sorted(data.draw(st.sets(st.integers(0, side - 1)))), dtype=np.int64)
        for side in (height, width)
    )
    found = rle_codec.sampled(rle_codec.encode(mask), rows, columns)
    assert_same_mask(found, mask[np.ix_(rows, columns)])


def test_rows_of_runs_that_do_not_fill_the_mask_are_refused():
    short = rle_codec.encode(ring()) | {"size": [91, 70]}
    with pytest.raises(ValueError, match="reshape"):
        rle_codec.sampled(short, np.arange(91), np.arange(70))
