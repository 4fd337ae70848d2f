"""Masks drawn in blocks against the whole image's logits, interpolated by torch."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from amg_cli.core import rle as rle_codec
from amg_cli.core.frame import Frame
from amg_cli.generation import drawing
from amg_cli.generation.drawing import DrawnMask, draw_masks

INPUT_HW, CELLS_HW = (64, 64), (16, 16)
SIDES = st.integers(1, 150)


def smooth_logits(seed, cells_hw=CELLS_HW, level=0.0):
    """Hills and valleys of some cells, up to 8 above or below `level`. (h, w) float32."""
    coarse = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse * 4, cells_hw, mode="bicubic")[0, 0].contiguous() + level


def draw_mask(frame, low_res, threshold, offset):
    """One mask, drawn between others, which must not matter."""
    others = torch.full_like(low_res, 3.0), -low_res
    together = torch.stack([others[0], low_res, others[1]])
    _, drawn, _ = draw_masks(frame, together, threshold, offset)
    (alone,) = draw_masks(frame, low_res[None], threshold, offset)
    assert (drawn.nb_high, drawn.nb_low) == (alone.nb_high, alone.nb_low)
    assert np.array_equal(whole(drawn), whole(alone))
    return drawn


def window(drawn):
    """All strips of a mask, side by side; without one (0, 0)."""
    return np.concatenate(list(drawn.strips()) or [np.zeros((0, 0), dtype=bool)], axis=1)


def whole(drawn):
    """A mask at the image's size."""
    mask = np.zeros(drawn.image_hw, dtype=bool)
    pixels, (top, left) = window(drawn), drawn.top_left
    mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert np.array_equal(drawn.array(), mask)
    return mask


def assert_drawn(frame, low_res, threshold=0.0, offset=1.0):
    """As interpolation has it, but for pixels whose logit is all but a threshold."""
    logits = frame.to_image_logits(low_res[None])[0].numpy()
    clear = np.abs(logits - threshold) > 1e-4
    drawn = draw_mask(frame, low_res, threshold, offset)
    found = whole(drawn)
    np.testing.assert_array_equal(found[clear], (logits > threshold)[clear])
    for count, at in ((drawn.nb_high, threshold + offset), (drawn.nb_low, threshold - offset)):
        unclear = np.count_nonzero(np.abs(logits - at) <= 1e-4)
        assert abs(count - np.count_nonzero(logits > at)) <= unclear
    return drawn


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(0, 99), st.sampled_from([-6.0, 0.0, 6.0]))
def test_masks_are_those_of_two_interpolations(height, width, seed, level):
    frame = Frame.fit((height, width), INPUT_HW)
    assert_drawn(frame, smooth_logits(seed, level=level))


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(0, 99), st.sampled_from([16, 48]))
def test_in_inputs_padded_to_whole_cells_too(height, width, seed, multiple):
    frame = Frame.fit((height, width), INPUT_HW, multiple)
    cells_hw = (frame.input_hw[0] // 4, frame.input_hw[1] // 4)
    assert_drawn(frame, smooth_logits(seed, cells_hw))


@pytest.mark.parametrize("cells_a_block", [0, 1, 3, 1000])
@pytest.mark.parametrize("at_a_time_px", [1, 2**20])
def test_the_size_of_a_block_does_not_matter(cells_a_block, at_a_time_px, monkeypatch):
    monkeypatch.setattr(drawing, "CELLS_A_BLOCK", cells_a_block)
    monkeypatch.setattr(drawing, "BLOCKS_AT_A_TIME_PX", at_a_time_px)
    drawing._axes.cache_clear()
    for image_hw in ((60, 90), (90, 60), (1, 130), (300, 200)):
        assert_drawn(Frame.fit(image_hw, INPUT_HW), smooth_logits(3))
    drawing._axes.cache_clear()


@pytest.mark.parametrize("image_hw", [(1, 65000), (65000, 1), (8, 125000), (1, 1)])
def test_thin_images_cost_no_more_than_their_pixels(image_hw):
    frame = Frame.fit(image_hw, (1024, 1024))
    low_res = smooth_logits(1, (256, 256))
    drawn = draw_mask(frame, low_res, 0.0, 1.0)
    assert len(drawn.at) * math.prod(drawn.block_hw) <= 2 * image_hw[0] * image_hw[1]
    logits = frame.to_image_logits(low_res[None])[0].numpy()
    clear = np.abs(logits) > 1e-4
    np.testing.assert_array_equal(whole(drawn)[clear], (logits > 0)[clear])


def test_only_the_outline_is_computed():
    frame = Frame.fit((640, 640), INPUT_HW)
    low_res = torch.full(CELLS_HW, -9.0)
    low_res[4:12, 4:12] = 9.0  # of 40 pixels a cell; blocks of 32
    drawing._axes.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "CELLS_A_BLOCK", 1)
        drawn = assert_drawn(frame, low_res)
    drawing._axes.cache_clear()
    assert drawn.inside.any()
    assert len(drawn.at) < drawn.inside.size / 2


@pytest.mark.parametrize(("threshold", "offset"), [(2.0, 1.0), (-3.0, 0.5), (0.0, 0.0), (0.0, 4.0)])
def test_thresholds_and_offsets(threshold, offset):
    assert_drawn(Frame.fit((77, 101), INPUT_HW), smooth_logits(5), threshold, offset)


@pytest.mark.parametrize("image_hw", [(60, 90), (90, 60), (64, 64), (200, 31)])
def test_one_hot_cell_is_drawn_in_a_small_window(image_hw):
    frame = Frame.fit(image_hw, INPUT_HW)
    last_y, last_x = (side // 4 - 1 for side in frame.resized_hw)
    for y, x in ((0, 0), (min(3, last_y), min(4, last_x)), (last_y, last_x)):
        low_res = torch.full(CELLS_HW, -9.0)
        low_res[y, x] = 9.0
        drawn = assert_drawn(frame, low_res)
        assert window(drawn).any()
        block_px = max(drawn.block_hw)
        cell_px = max(image_hw) / max(CELLS_HW)
        assert max(window(drawn).shape) <= 3.6 * cell_px + 2 * block_px


def test_cells_in_the_padding_draw_nothing_but_at_the_edge():
    frame = Frame.fit((32, 64), INPUT_HW)  # the lower half of the input is padding
    low_res = torch.full(CELLS_HW, -9.0)
    low_res[10:] = 9.0
    assert window(draw_mask(frame, low_res, 0.0, 1.0)).size == 0
    low_res[8:] = 30.0  # of the first row of padding, half a cell away
    drawn = assert_drawn(frame, low_res)
    assert window(drawn).any()
    assert drawn.top_left[0] + len(window(drawn)) == 32


def test_nothing_hot_is_an_empty_window():
    drawn = draw_mask(Frame.fit((60, 90), INPUT_HW), torch.full(CELLS_HW, -9.0), 0.0, 1.0)
    assert not list(drawn.strips())
    assert (drawn.nb_high, drawn.nb_low, drawn.stability_score) == (0, 0, 0.0)


def test_everything_hot_is_the_whole_image():
    drawn = draw_mask(Frame.fit((60, 90), INPUT_HW), torch.full(CELLS_HW, 9.0), 0.0, 1.0)
    assert window(drawn).all()
    assert window(drawn).shape == (60, 90)
    assert drawn.nb_high == drawn.nb_low == 60 * 90


def test_pixels_equal_to_a_threshold_are_outside():
    frame = Frame.fit((64, 64), INPUT_HW)
    drawn = draw_mask(frame, torch.full(CELLS_HW, 1.0), 0.0, 1.0)
    assert (drawn.nb_high, drawn.nb_low) == (0, 64 * 64)
    drawn = draw_mask(frame, torch.zeros(CELLS_HW), 0.0, 1.0)
    assert not window(drawn).any()
    assert drawn.stability_score == 0


@pytest.mark.parametrize("strip_px", [1, 3000, 2**20])
@pytest.mark.parametrize("low_res", [smooth_logits(3), torch.full(CELLS_HW, 9.0)])
def test_strips_are_as_wide_as_they_may_be_and_make_the_same_mask(strip_px, low_res, monkeypatch):
    monkeypatch.setattr(drawing, "CELLS_A_BLOCK", 1)
    drawing._axes.cache_clear()
    (drawn,) = draw_masks(Frame.fit((300, 200), INPUT_HW), low_res[None], 0.0, 1.0)
    wanted = window(drawn)
    monkeypatch.setattr(drawing, "STRIP_PX", strip_px)
    np.testing.assert_array_equal(window(drawn), wanted)
    block_px = drawn.block_hw[1] * wanted.shape[0]
    sizes = [strip.size for strip in drawn.strips()]
    assert max(sizes) <= max(strip_px, block_px)
    assert all(size + block_px > strip_px for size in sizes[:-1])
    drawing._axes.cache_clear()


@pytest.mark.parametrize("level", [0.0, 6.0])
def test_a_mask_of_a_large_image_takes_a_small_part_of_its_pixels_in_memory(level):
    frame = Frame.fit((4000, 6000), (1024, 1024))
    low_res = smooth_logits(2, (256, 256), level)[None]
    nb_drawn = sum(1 for _ in draw_masks(frame, low_res, 0.0, 1.0))  # which makes the axes
    tracemalloc.start()
    try:
        (drawn,) = draw_masks(frame, low_res, 0.0, 1.0)
        places = rle_codec.changes(drawn.strips(), drawn.top_left, frame.image_hw)
        rle = rle_codec.from_changes(places, frame.image_hw)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert nb_drawn == 1
    assert rle_codec.area(rle) > 4000 * 6000 / 5
    assert peak_bytes < 4000 * 6000 / 2


def test_stability_is_high_over_low_in_single_precision():
    def score(nb_high, nb_low):
        nothing = np.zeros((0, 2), dtype=np.int64), np.zeros((0, 1), dtype=np.uint8)
        inside = np.ones((1, 1), dtype=bool)
        return DrawnMask(nb_high, nb_low, inside, *nothing, (1, 1), (1, 1)).stability_score

    assert score(19, 20) == float(np.float32(0.95))
    assert score(2**24, 2**24 + 2) < 1
