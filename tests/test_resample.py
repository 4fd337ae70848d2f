"""The resize against Pillow itself: equal to the bit, whatever the sizes.

Pillow is asked for one axis at a time, the width first: since version 13 it chooses the order.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from amg_cli.core.resample import resize_bilinear

SIDES = st.integers(1, 300)


def pillow_resize(image, size_hw):
    height, width = size_hw
    picture = Image.fromarray(image)
    for size in [(width, image.shape[0]), (width, height)]:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def noise(height, width, levels=256):
    """Levels spread over 0 to 255; with two of them the rounding of halves shows most."""
    values = np.random.default_rng(2).integers(0, levels, (height, width, 3))
    return (values * (255 // (levels - 1))).astype(np.uint8)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([2, 4, 256]))
def test_equal_to_pillow(height, width, new_height, new_width, levels):
    image, size_hw = noise(height, width, levels), (new_height, new_width)
    np.testing.assert_array_equal(resize_bilinear(image, size_hw), pillow_resize(image, size_hw))


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_whole_factors_round_their_many_halves_as_pillow_does(factor):
    image, size_hw = noise(40 * factor, 30 * factor, 2), (40, 30)
    np.testing.assert_array_equal(resize_bilinear(image, size_hw), pillow_resize(image, size_hw))


@pytest.mark.parametrize("image_hw", [(1200, 1800), (513, 771), (1, 5000), (5000, 1)])
def test_equal_to_pillow_at_the_models_size(image_hw):
    image, scale = noise(*image_hw), 1024 / max(image_hw)
    size_hw = tuple(max(1, int(side * scale + 0.5)) for side in image_hw)
    np.testing.assert_array_equal(resize_bilinear(image, size_hw), pillow_resize(image, size_hw))


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_a_flat_image_stays_flat(value):
    image = np.full((37, 91, 3), value, dtype=np.uint8)
    assert (resize_bilinear(image, (64, 11)) == value).all()


def test_the_same_size_is_the_same_image():
    image = noise(12, 9)
    resized = resize_bilinear(image, (12, 9))
    np.testing.assert_array_equal(resized, image)
    assert not np.shares_memory(resized, image)
