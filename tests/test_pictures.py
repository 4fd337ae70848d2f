"""Masks in colours: over the photograph, small, and as notebooks show them."""

import dataclasses
import pickle
import time

import cv2
import numpy as np
import pytest

import amg_cli
from amg_cli import GenerationConfig, Mask, Masks, Prediction, draw
from amg_cli.core import rle
from amg_cli.core.colours import colour_of
from amg_cli.core.drawing import draw_small, draw_within, small_window
from amg_cli.core.notebook import GROUND, MASK_PX, MASKS_PX
from amg_cli.viewer.pictures import thumbnail
from tests.colour_encoder import ColourHistogram

SIZE_HW = (60, 80)


def mask_of(pixels, **more):
    found = rle.encode(pixels)
    return Mask(found, rle.box(found), 0.9, 0.95, **more)


def box_mask(x0, y0, x1, y1, size_hw=SIZE_HW, **more):
    """One that is a whole box, right and bottom inclusive."""
    pixels = np.zeros(size_hw, dtype=bool)
    pixels[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask_of(pixels, **more)


def blobs(count, size_hw, seed=0, most=0.3):
    """Ellipses of many sizes, with holes."""
    rng = np.random.default_rng(seed)
    masks = Masks()
    height, width = size_hw
    for _ in range(count):
        radius = 2 + int(most * min(size_hw) * rng.random() ** 2)
        centre = int(rng.integers(width)), int(rng.integers(height))
        pixels = np.zeros(size_hw, np.uint8)
        cv2.ellipse(pixels, centre, (radius, 2 + radius // 2), rng.random() * 180, 0, 360, 1, -1)
        cv2.circle(pixels, centre, radius // 5, 0, -1)
        if pixels.any():
            masks.append(mask_of(pixels.astype(bool)))
    return masks


def decoded(png):
    """RGB."""
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def as_first_drawn(image_rgb, masks):
    """The picture, as the format `overlay` had it before other things drew too."""
    drawn = image_rgb.copy()
    line_px = 1 + max(drawn.shape[:2]) // 600
    kernel = np.ones((2 * line_px + 1, 2 * line_px + 1), dtype=np.uint8)
    numbered = [(i if mask.id is None else mask.id, mask) for i, mask in enumerate(masks)]
    for number, mask in sorted(numbered, key=lambda item: -item[1].area_px):
        inside = mask.array().astype(np.uint8)
        core = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        colour = np.array(colour_of(number), dtype=np.uint8)
        paint = np.broadcast_to(colour, drawn.shape)
        mixed = cv2.addWeighted(drawn, 0.55, paint, 0.45, 0)
        drawn[core > 0] = mixed[core > 0]
        drawn[(inside > 0) & (core == 0)] = colour
    return drawn


# The photograph with its masks


@pytest.mark.parametrize("size_hw", [(60, 80), (700, 500)])
def test_a_drawing_is_what_the_overlay_always_was(size_hw):
    image = np.random.default_rng(1).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    masks = blobs(12, size_hw)
    masks[3] = dataclasses.replace(masks[3], id=40)
    before = image.copy()
    found = draw(image, masks)
    np.testing.assert_array_equal(found, as_first_drawn(image, masks), strict=True)
    assert np.array_equal(image, before)
    assert found.flags["C_CONTIGUOUS"]


def test_colours_go_by_id_or_else_by_place():
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    drawn = draw(image, [box_mask(0, 0, 9, 9, id=7), box_mask(20, 20, 29, 29)])
    assert tuple(drawn[0, 0]) == colour_of(7)
    assert tuple(drawn[20, 20]) == colour_of(1)
    assert not drawn[40:].any()


def test_an_image_may_be_grey_or_a_view():
    grey = np.full(SIZE_HW, 90, np.uint8)
    drawn = draw(grey, [box_mask(0, 0, 9, 9)])
    assert drawn.shape == (*SIZE_HW, 3)
    assert (drawn[30:] == 90).all()
    bgr = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    assert np.array_equal(draw(bgr[..., ::-1], []), bgr[..., ::-1])


WRONG = [
    (np.zeros(SIZE_HW, float), [], ValueError, "image_rgb: .* uint8 is wanted, not"),
    (np.zeros((3, 60, 80), np.uint8), [], ValueError, "image_rgb: .*channels last"),
    ("a.jpg", [], TypeError, "image_rgb: .*read the file"),
    (np.zeros((90, 70, 3), np.uint8), [box_mask(0, 0, 9, 9)], ValueError,
     "masks: of the image's 70 x 90 pixels are wanted; number 0 is of 80 x 60"),
    (np.zeros((60, 80, 3), np.uint8), box_mask(0, 0, 9, 9), TypeError, r"masks: .*\[mask\] makes"),
    (np.zeros((60, 80, 3), np.uint8), [box_mask(0, 0, 9, 9), np.zeros(SIZE_HW, bool)], TypeError,
     "masks: Mask is wanted; number 1 is ndarray"),
    (np.zeros((60, 80, 3), np.uint8), None, TypeError, "masks: a list of Mask is wanted, not None"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "masks", "error", "words"), WRONG)
def test_what_is_no_image_or_no_masks_is_refused_by_its_name(image, masks, error, words):
    with pytest.raises(error, match=words):
        draw(image, masks)
    with pytest.raises(error, match=words):
        thumbnail(image, masks, 20)


# Small pictures


def test_a_mask_is_scaled_as_its_pixels_are():
    size_hw = (601, 799)
    for mask in blobs(30, size_hw, most=0.8):
        for small_hw in ((60, 80), (150, 200), (301, 400), size_hw):
            (x, y), inside = small_window(mask, small_hw)
            whole = np.zeros(small_hw, bool)
            whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
            exact = cv2.resize(
                mask.array().astype(np.float32), small_hw[::-1], interpolation=cv2.INTER_AREA
            )
            # Four samples a pixel can be wrong by a quarter, along its straight edges.
            wrong = (whole != (exact >= 0.5)) & (np.abs(exact - 0.5) > 0.26)
            assert wrong.sum() <= 2 + 0.01 * whole.sum()
    assert np.array_equal(whole, mask.array())  # at its own size, the last one


@pytest.mark.parametrize("place", [(0, 0), (399, 299), (123, 45), (124, 46), (127, 49)])
def test_a_speck_does_not_vanish(place):
    x, y = place
    (left, top), inside = small_window(box_mask(x, y, x, y, (300, 400)), (30, 40))
    assert (left, top) == (x // 10, y // 10)
    assert inside.tolist() == [[True]]


def test_specks_far_apart_are_not_all_between_them():
    pixels = np.zeros((300, 400), bool)
    pixels[1, 1] = pixels[298, 398] = True
    _, inside = small_window(mask_of(pixels), (30, 40))
    assert inside.sum() == 2


def test_an_empty_mask_draws_nothing():
    empty = mask_of(np.zeros((300, 400), bool))
    picture = np.full((30, 40, 3), 9, np.uint8)
    assert np.array_equal(draw_small(picture, [empty]), picture)


def test_a_thumbnail_has_the_masks_in_their_colours_with_thin_outlines():
    image = np.full((1200, 1600, 3), 100, np.uint8)
    big = box_mask(400, 400, 1199, 799, (1200, 1600), id=5)
    small = thumbnail(image, [big], 400)
    assert small.shape == (300, 400, 3)
    is_outline = (small == colour_of(5)).all(axis=2)
    assert is_outline[100:200, 100:300].sum() == is_outline.sum() == 2 * 200 + 2 * 98
    assert (small[101:199, 101:299] == small[150, 200]).all()
    assert tuple(small[150, 200]) == tuple(draw(image, [big])[600, 800])
    assert (small[:100] == 100).all()
    # In a large picture outlines are as `draw` has them, and three pixels wide.
    larger = draw_within(image, [big], 1400)
    assert larger.shape == (1050, 1400, 3)
    assert tuple(larger[352, 700]) == colour_of(5)
    assert tuple(thumbnail(image, [big], 1400)[352, 700]) != colour_of(5)


def test_a_thumbnail_is_never_larger_than_the_image():
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    masks = blobs(5, SIZE_HW)
    assert np.array_equal(thumbnail(image, masks, 500), draw(image, masks))
    assert thumbnail(image[:1], [], 20).shape == (1, 20, 3)
    with pytest.raises(ValueError, match="side_px: 1 or more is wanted, not 0"):
        thumbnail(image, masks, 0)


def test_small_pictures_of_a_large_image_take_little():
    size_hw = (3000, 4000)
    few = blobs(25, size_hw)
    masks = Masks(few * 12)
    image = np.zeros((*size_hw, 3), np.uint8)
    start = time.process_time()
    thumbnail(image, masks, 400)
    assert time.process_time() - start < 2  # some 0.15 s; each mask whole takes 5 s and more


# Lists of masks


def test_masks_are_a_list_whose_parts_are_masks_too():
    masks = blobs(4, SIZE_HW)
    assert masks == list(masks)
    assert type(masks[1:3]) is Masks
    assert masks[1:3] == list(masks)[1:3]
    assert masks[-1] is list(masks)[-1]
    again = pickle.loads(pickle.dumps(masks))
    assert type(again) is Masks
    assert again == masks
    with pytest.raises(IndexError):
        masks[4]


def test_what_finds_masks_gives_them(tiny_model, noise):
    thresholds = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "nms": "off"}
    config = GenerationConfig(points_per_side=2, **thresholds)
    found = amg_cli.generate(noise, tiny_model, config)
    assert len(found) > 2
    tidied = dataclasses.replace(config, max_masks=2)
    candidates = amg_cli.propose(tiny_model, noise, config)
    naming = amg_cli.NamingConfig(classes=("red", "green"))
    named = amg_cli.name_masks(noise, found, ColourHistogram(), naming)
    selected = amg_cli.select(candidates, tidied)
    assert len(selected) == 2
    for masks in (found, selected, candidates.masks(), named):
        assert type(masks) is Masks


# Notebooks


def test_a_notebook_shows_a_mask_white_in_its_window():
    shown = decoded(box_mask(10, 10, 69, 39)._repr_png_())
    white = (shown == 255).all(axis=2)
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert (len(rows), len(columns)) == (30, 60)
    assert white.sum() == 30 * 60
    assert rows[0] == columns[0] == shown.shape[0] - rows[-1] - 1 > 5
    assert (shown[~white] == 0).all()


@pytest.mark.parametrize("size_hw", [(3, 4), (1, 1), (500, 1), (9, 4000), (2500, 3700), (456, 457)])
def test_what_a_notebook_shows_has_a_size_to_look_at(size_hw):
    whole = box_mask(0, 0, size_hw[1] - 1, size_hw[0] - 1, size_hw)
    one = decoded(whole._repr_png_())
    assert 80 < max(one.shape) <= MASK_PX
    assert (one == 255).any()
    every = decoded(Masks([whole])._repr_png_())
    assert max(every.shape[:2]) == min(MASKS_PX, max(size_hw))
    assert (every != GROUND).any()


def test_a_notebook_shows_all_masks_in_their_colours():
    masks = Masks([box_mask(0, 0, 39, 39, id=4), box_mask(5, 5, 20, 20), box_mask(50, 0, 79, 59)])
    shown = decoded(masks._repr_png_())
    assert shown.shape == (*SIZE_HW, 3)
    for number, (y, x) in ((4, (0, 0)), (1, (5, 5)), (2, (30, 50))):
        assert tuple(shown[y, x]) == colour_of(number)
    assert (shown[45:, :45] == GROUND).all()


def test_nothing_and_masks_of_several_images_are_written_as_a_list():
    assert Masks()._repr_png_() is None
    assert Masks([box_mask(0, 0, 9, 9), box_mask(0, 0, 9, 9, (30, 40))])._repr_png_() is None


def prediction(masks):
    return Prediction(masks, np.zeros(masks.shape[:2], np.float32), np.zeros((1,), np.float32))


@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_a_notebook_shows_the_masks_of_prompts_in_frames(dtype):
    masks = np.zeros((2, 3, 60, 80), dtype)
    masks[:] = 0 if dtype is np.bool_ else -1.5
    masks[1, 2, 10:30, 20:60] = 1
    shown = decoded(prediction(masks)._repr_png_())
    white = (shown == 255).all(axis=2)
    assert white.sum() == 20 * 40
    height, width = shown.shape[:2]
    assert white[height // 2 :, 2 * width // 3 :].sum() == 20 * 40
    one = decoded(prediction(masks[:, :1])._repr_png_())  # in a row, as each has one mask
    assert one.shape[0] < 0.6 * height


def test_a_prediction_of_nothing_is_not_shown_and_one_of_much_not_all():
    assert prediction(np.zeros((0, 3, 60, 80), bool))._repr_png_() is None
    assert prediction(np.zeros((2, 0, 60, 80), bool))._repr_png_() is None
    shown = decoded(prediction(np.zeros((40, 3, 900, 1200), bool))._repr_png_())
    assert max(shown.shape) < 700
