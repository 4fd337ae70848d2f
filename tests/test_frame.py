"""The frame: sizes by the published formula, and resampling against plain double-precision loops.

Small inputs stand for the model's 1024 x 1024: every size is a parameter.
"""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amg_cli.core.frame import Frame

SIDES = st.integers(1, 6000)
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
SMALL = [(7, 5), (16, 16), (50, 30), (13, 40), (3, 61), (1, 9), (9, 1), (1, 1)]


def plain_resized(length, scale):
    return max(1, math.floor(length * scale + 0.5))


def plain_resample(line, length):
    """Linear, pixel centres at half: out-of-range places take the nearest value. 1-D to 1-D."""
    out = []
    for i in range(length):
        place = max((i + 0.5) * len(line) / length - 0.5, 0.0)
        left = math.floor(place)
        right = min(left + 1, len(line) - 1)
        out.append(line[left] * (1 - (place - left)) + line[right] * (place - left))
    return out


def plain_bilinear(image, size_hw):
    rows = np.array([plain_resample(row, size_hw[1]) for row in image])
    return np.array([plain_resample(column, size_hw[0]) for column in rows.T]).T


def random_logits(count, height, width):
    return torch.from_numpy(
        np.random.default_rng(1).standard_normal((count, height, width), dtype=np.float32)
    )


def random_image(height, width):
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(SIDES, SIDES)
def test_the_longest_side_becomes_the_inputs(height, width):
    frame = Frame.fit((height, width), (1024, 1024))
    scale = 1024 * 1.0 / max(height, width)
    assert frame.resized_hw == (plain_resized(height, scale), plain_resized(width, scale))
    assert max(frame.resized_hw) == 1024
    assert frame.image_hw == (height, width)
    assert frame.input_hw == (1024, 1024)


@given(SIDES, SIDES, st.integers(1, 300), st.integers(1, 300))
def test_an_input_of_two_sizes_holds_the_largest_image_that_fits(height, width, high, wide):
    frame = Frame.fit((height, width), (high, wide))
    if high * width <= wide * height:  # its height is the tighter bound
        expected = (high, plain_resized(width, high / height))
    else:
        expected = (plain_resized(height, wide / width), wide)
    assert frame.resized_hw == expected
    assert frame.resized_hw[0] <= high
    assert frame.resized_hw[1] <= wide
    assert frame.input_hw == (high, wide)


@pytest.mark.parametrize(
    ("image_hw", "resized_hw"),
    [
        ((480, 640), (768, 1024)),
        ((640, 480), (1024, 768)),
        ((333, 1000), (341, 1024)),  # 340.99 is rounded, not cut
        ((667, 2000), (342, 1024)),  # 341.504
        ((2000, 667), (1024, 342)),
        ((1, 2048), (1, 1024)),  # exactly half a pixel goes up
        ((10, 10), (1024, 1024)),
    ],
)
def test_sizes_worked_out_by_hand(image_hw, resized_hw):
    assert Frame.fit(image_hw, (1024, 1024)).resized_hw == resized_hw


@pytest.mark.parametrize("length", [2049, 5000, 100_000])
def test_a_line_too_thin_for_the_input_is_one_pixel_thick(length):
    assert Frame.fit((1, length), (1024, 1024)).resized_hw == (1, 1024)
    assert Frame.fit((length, 1), (1024, 1024)).resized_hw == (1024, 1)


@given(SIDES, SIDES, st.integers(1, 64))
def test_padding_to_a_multiple_adds_less_than_one(height, width, multiple):
    frame = Frame.fit((height, width), (1024, 1024), multiple)
    assert frame.resized_hw == Frame.fit((height, width), (1024, 1024)).resized_hw
    for padded, resized in zip(frame.input_hw, frame.resized_hw, strict=True):
        assert padded % multiple == 0
        assert 0 <= padded - resized < multiple


def test_padding_to_a_multiple_is_per_side():
    assert Frame.fit((300, 1000), (1024, 1024), 16).input_hw == (320, 1024)
    assert Frame.fit((1000, 300), (1024, 1024), 16).input_hw == (1024, 320)


def test_points_scale_by_the_resized_size_over_the_images():
    frame = Frame.fit((333, 1000), (1024, 1024))
    points = np.array([[0.0, 0.0], [1000.0, 333.0], [500.0, 166.5]])
    assert frame.to_input_xy(points).tolist() == [[0, 0], [1024, 341], [512, 170.5]]


def test_points_are_scaled_in_double_precision_and_then_rounded():
    frame = Frame.fit((333, 777), (1024, 1024))
    points = np.random.default_rng(3).uniform(0, 333, (500, 2))
    exact = np.stack([points[:, 0] * (1024 / 777), points[:, 1] * (439 / 333)], axis=1)
    found = frame.to_input_xy(points)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), exact.astype(np.float32))


def test_points_of_any_shape_keep_it():
    assert Frame.fit((6, 9), (12, 12)).to_input_xy(np.zeros((4, 1, 2))).shape == (4, 1, 2)


def test_an_image_of_the_inputs_size_is_not_resampled():
    image = random_image(12, 9)
    resized = Frame.fit((12, 9), (12, 12)).resize(image)
    assert resized.dtype == torch.uint8
    np.testing.assert_array_equal(resized.permute(1, 2, 0).numpy(), image)


def test_the_images_memory_order_does_not_matter():
    image = random_image(20, 30)
    frame = Frame.fit((20, 30), (16, 16))
    mirrored_twice = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    assert torch.equal(frame.resize(mirrored_twice), frame.resize(image))


def test_the_input_is_the_resized_image_with_each_channel_normalised():
    image, frame = random_image(20, 30), Frame.fit((20, 30), (24, 24))
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    found = frame.model_input(image, mean, std)
    resized = frame.resize(image).numpy()
    assert found.shape == (1, 3, 24, 24)
    assert found.dtype == torch.float32
    for channel in range(3):
        wanted = (resized[channel].astype(np.float64) - mean[channel]) / std[channel]
        np.testing.assert_allclose(found[0, channel, :16], wanted, rtol=1e-6)


@pytest.mark.parametrize(("image_hw", "kept_hw"), [((6, 9), (8, 12)), ((9, 6), (12, 8))])
def test_the_input_is_padded_with_zeros_below_and_to_the_right(image_hw, kept_hw):
    image = np.full((*image_hw, 3), 200, dtype=np.uint8)
    found = Frame.fit(image_hw, (12, 12)).model_input(image, (100.0,) * 3, (2.0,) * 3)
    wanted = torch.zeros(1, 3, 12, 12)
    wanted[..., : kept_hw[0], : kept_hw[1]] = 50
    assert torch.equal(found, wanted)


def test_padding_to_a_multiple_gives_an_input_of_that_size():
    frame = Frame.fit((6, 9), (24, 24), 10)
    found = frame.model_input(random_image(6, 9), NO_MEAN, NO_STD)
    assert found.shape == (1, 3, 20, 30)
    assert not found[..., 16:, :].any()
    assert not found[..., :, 24:].any()


@pytest.mark.parametrize("pad_multiple", [0, 6])
@pytest.mark.parametrize("image_hw", SMALL)
def test_logits_go_to_the_image_in_two_bilinear_steps(image_hw, pad_multiple):
    frame = Frame.fit(image_hw, (16, 16), pad_multiple)
    low_res = random_logits(2, 4, 5)
    found = frame.to_image_logits(low_res)
    assert found.shape == (2, *image_hw)
    height, width = frame.resized_hw
    for logits, mask in zip(low_res.double().numpy(), found.numpy(), strict=True):
        padded = plain_bilinear(logits, frame.input_hw)
        wanted = plain_bilinear(padded[:height, :width], image_hw)
        np.testing.assert_allclose(mask, wanted, rtol=0, atol=1e-5)


def test_shrinking_to_a_small_image_does_not_antialias():
    # 9 x 9 cells are the input's pixels; each of 3 x 3 image pixels is centred on one of them.
    frame = Frame.fit((3, 3), (9, 9))
    low_res = random_logits(1, 9, 9)
    assert torch.allclose(frame.to_image_logits(low_res)[0], low_res[0, 1::3, 1::3], atol=1e-6)


@pytest.mark.parametrize("image_hw", SMALL)
def test_constant_logits_stay_constant(image_hw):
    frame = Frame.fit(image_hw, (16, 16))
    found = frame.to_image_logits(torch.full((1, 4, 4), -2.5))
    assert torch.allclose(found, torch.full((1, *image_hw), -2.5))


def test_only_the_cells_next_to_the_image_reach_into_it():
    frame = Frame.fit((30, 60), (16, 16))  # the upper half of the input, 2 of 4 rows of cells
    low_res = random_logits(1, 4, 4)
    before = frame.to_image_logits(low_res)
    far, next_to_it = low_res.clone(), low_res.clone()
    far[:, 3:] = 1e6
    next_to_it[:, 2] = 1e6
    assert torch.equal(frame.to_image_logits(far), before)
    changed = frame.to_image_logits(next_to_it) != before
    # The row of cells below is felt from input row 6 on, so past row 5: (y + 0.5) * 8 / 30 > 5.5.
    assert changed[:, 21:].all()
    assert not changed[:, :21].any()


# With one thread torch has other rounding for three masks at once than for any other number.
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("image_hw", "input_side", "cells"),
    [((60, 90), 96, 24), ((90, 60), 96, 24), ((33, 17), 32, 8), ((300, 401), 256, 64)],
)
def test_masks_in_parts_are_bit_for_bit_the_masks_at_once(image_hw, input_side, cells):
    frame = Frame.fit(image_hw, (input_side, input_side))
    low_res = random_logits(5, cells, cells)
    at_once = frame.to_image_logits(low_res)
    one_by_one = torch.cat([frame.to_image_logits(low_res[i : i + 1]) for i in range(5)])
    in_two = torch.cat([frame.to_image_logits(part) for part in (low_res[:2], low_res[2:])])
    assert torch.equal(one_by_one, at_once)
    assert torch.equal(in_two, at_once)


def test_an_image_that_cannot_be_written_to_is_taken_without_a_warning():
    image = np.zeros((4, 6, 3), np.uint8)
    image.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Frame.fit((4, 6), (8, 8)).resize(image[:, ::-1]).shape == (3, 5, 8)
