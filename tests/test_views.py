"""Crops and grids: by hand, and against the published formula written out as loops."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amg_cli.core.config import GenerationConfig
from amg_cli.generation.views import Crop, checked_grids, crops, regular_grids


def layers(count, **settings):
    return GenerationConfig(crop_n_layers=count, **settings)


def boxes_of(image_hw, config):
    return [(crop.layer, crop.box_xyxy) for crop in crops(image_hw, config)]


def plain_crops(image_hw, nb_layers, ratio):
    """What the reference lists, less the boxes that hold no pixel."""
    height, width = image_hw
    listed = [(0, (0, 0, width, height))]
    for layer in range(1, nb_layers + 1):
        count = 2**layer
        overlap = int(ratio * min(height, width) * (2 / count))
        crop_width = math.ceil((overlap * (count - 1) + width) / count)
        crop_height = math.ceil((overlap * (count - 1) + height) / count)
        for i in range(count):
            for j in range(count):
                left, top = (crop_width - overlap) * i, (crop_height - overlap) * j
                right, bottom = min(left + crop_width, width), min(top + crop_height, height)
                if left < right and top < bottom:
                    listed.append((layer, (left, top, right, bottom)))
    return listed


def test_one_point_is_in_the_middle():
    (grid,) = regular_grids(GenerationConfig(points_per_side=1))
    assert grid.tolist() == [[0.5, 0.5]]


def test_two_by_two_points_go_row_by_row():
    (grid,) = regular_grids(GenerationConfig(points_per_side=2))
    assert grid.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert grid.dtype == np.float64


def test_four_by_four_points_are_the_centres_of_cells():
    (grid,) = regular_grids(GenerationConfig(points_per_side=4))
    along = [0.125, 0.375, 0.625, 0.875]
    assert grid.tolist() == [[x, y] for y in along for x in along]


@given(st.integers(1, 40))
def test_any_grid_is_evenly_spaced_inside_the_square(per_side):
    (grid,) = regular_grids(GenerationConfig(points_per_side=per_side))
    wanted = [[(i + 0.5) / per_side, (j + 0.5) / per_side] for j, i in np.ndindex((per_side,) * 2)]
    np.testing.assert_allclose(grid, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("per_side", "factor", "sides"),
    [(32, 1, [32, 32, 32]), (32, 2, [32, 16, 8]), (10, 3, [10, 3, 1]), (7, 2, [7, 3, 1])],
)
def test_each_layer_divides_the_points_by_the_factor_and_rounds_down(per_side, factor, sides):
    config = layers(2, points_per_side=per_side, crop_n_points_downscale_factor=factor)
    assert [len(grid) for grid in regular_grids(config)] == [side**2 for side in sides]


def test_a_layer_never_has_no_points():
    config = layers(3, points_per_side=2, crop_n_points_downscale_factor=5)
    assert [len(grid) for grid in regular_grids(config)] == [4, 1, 1, 1]
    assert regular_grids(config)[3].tolist() == [[0.5, 0.5]]


def test_without_layers_the_only_crop_is_the_image():
    assert boxes_of((60, 100), layers(0)) == [(0, (0, 0, 100, 60))]


def test_one_layer_worked_out_by_hand():
    # Overlap int(60 * 512 / 1500) = 20; parts of 60 x 40 pixels; x outer, y inner.
    assert boxes_of((60, 100), layers(1)) == [
        (0, (0, 0, 100, 60)),
        (1, (0, 0, 60, 40)),
        (1, (0, 20, 60, 60)),
        (1, (40, 0, 100, 40)),
        (1, (40, 20, 100, 60)),
    ]


def test_two_layers_worked_out_by_hand():
    # Overlap 10; parts of 33 x 23 pixels; the last are clipped at the image's edge.
    columns = [(0, 33), (23, 56), (46, 79), (69, 100)]
    rows = [(0, 23), (13, 36), (26, 49), (39, 60)]
    found = boxes_of((60, 100), layers(2))
    assert found[:5] == boxes_of((60, 100), layers(1))
    assert found[5:] == [(2, (x0, y0, x1, y1)) for x0, x1 in columns for y0, y1 in rows]


def test_without_overlap_the_crops_tile_the_image():
    found = boxes_of((4, 6), layers(1, crop_overlap_ratio=0))[1:]
    assert [box for _, box in found] == [(0, 0, 3, 2), (0, 2, 3, 4), (3, 0, 6, 2), (3, 2, 6, 4)]


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.integers(0, 3),
    st.sampled_from([0, 0.1, 512 / 1500, 0.5, 0.9, 0.999]),
)
def test_crops_are_those_of_the_published_formula_that_hold_pixels(image_hw, nb_layers, ratio):
    found = boxes_of(image_hw, layers(nb_layers, crop_overlap_ratio=ratio))
    assert found == plain_crops(image_hw, nb_layers, ratio)


@pytest.mark.parametrize("image_hw", [(1, 1), (2, 3), (1, 5000), (5000, 1), (7, 7)])
@pytest.mark.parametrize("ratio", [0, 512 / 1500, 0.9])
def test_crops_of_tiny_images_hold_pixels_inside_the_image_and_cover_it(image_hw, ratio):
    found = crops(image_hw, layers(3, crop_overlap_ratio=ratio))
    for layer in range(4):
        covered = np.zeros(image_hw, dtype=bool)
        for crop in found:
            x0, y0, x1, y1 = crop.box_xyxy
            assert 0 <= x0 < x1 <= image_hw[1]
            assert 0 <= y0 < y1 <= image_hw[0]
            if crop.layer == layer:
                covered[y0:y1, x0:x1] = True
        assert covered.all()


def test_a_crops_size_is_height_then_width():
    assert Crop(1, (10, 20, 13, 27)).size_hw == (7, 3)


def test_cutting_takes_the_pixels_of_the_box():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    found = Crop(1, (2, 1, 5, 3)).cut(image)
    assert found.shape == (2, 3, 3)
    wanted = [[image[y, x].tolist() for x in (2, 3, 4)] for y in (1, 2)]
    assert found.tolist() == wanted


def test_a_crop_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Crop(1, (2, 1, 5, 3)).layer = 2


def test_the_whole_image_is_cut_to_itself():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    (whole,) = crops((6, 8), layers(0))
    assert np.array_equal(whole.cut(image), image)


def test_own_grids_become_double_precision_and_keep_their_order():
    grids = [[[0, 1]], np.array([[0.25, 0.5], [0.75, 0.5]], dtype=np.float32)]
    found = checked_grids(grids, layers(1))
    assert [grid.tolist() for grid in found] == [[[0, 1]], [[0.25, 0.5], [0.75, 0.5]]]
    assert {grid.dtype for grid in found} == {np.dtype(np.float64)}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_grids_is_refused(count):
    with pytest.raises(ValueError, match=rf"^point_grids: {count} for 2 layers$"):
        checked_grids([np.array([[0.5, 0.5]])] * count, layers(1))


@pytest.mark.parametrize("shape", [(2,), (0, 2), (4, 3), (4, 1), (2, 2, 2), (0,)])
def test_a_grid_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"^point_grids: each is \(N, 2\), not \("):
        checked_grids([np.full(shape, 0.5)], layers(0))


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_point_outside_the_unit_square_is_refused(value, axis):
    grid = np.full((3, 2), 0.5)
    grid[1, axis] = value
    with pytest.raises(ValueError, match=r"^point_grids: x and y are from 0 to 1$"):
        checked_grids([grid], layers(0))


def test_the_grid_of_a_later_layer_is_checked_too():
    with pytest.raises(ValueError, match="point_grids: x and y"):
        checked_grids([np.array([[0.5, 0.5]]), np.array([[0.5, 1.5]])], layers(1))
