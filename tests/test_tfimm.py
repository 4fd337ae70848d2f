"""The classes for those who come from `tfimm`: the resizer, and the predictor by its shapes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import amg_cli
from amg_cli import Prompts, encode_image, predict
from amg_cli.core.frame import Frame
from amg_cli.segment_anything.transform import ResizeLongestSide
from amg_cli.tfimm import ImageResizer

SIZES = [((60, 90), (96, 96)), ((90, 60), (96, 96)), ((200, 100), (96, 128)), ((7, 300), (64, 64))]


def picture(size, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == np.uint8:
        return rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    if dtype is bool:
        return rng.random((*size, channels)) > 0.5
    return rng.normal(0, 3, (*size, channels)).astype(dtype)


# The resizer


@pytest.mark.parametrize(("src", "dst"), SIZES)
def test_images_are_scaled_as_pillow_does_it_and_as_segment_anything(src, dst):
    image, resizer = picture(src), ImageResizer(src, dst)
    height, width = resizer.rescaled_size
    assert resizer.rescaled_size == tuple(max(1, int(s * resizer.scale + 0.5)) for s in src)
    assert height == dst[0] or width == dst[1]
    pillow = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resizer.scale_image(image), np.asarray(pillow))
    if dst[0] == dst[1]:
        transform = ResizeLongestSide(dst[0])
        np.testing.assert_array_equal(transform.apply_image(image), np.asarray(pillow))
        points = np.array([[3.0, 5], [50, 6]])
        wanted = transform.apply_coords(points, src)
        np.testing.assert_allclose(resizer.scale_points(points), wanted, rtol=1e-6)
        in_torch = transform.apply_coords_torch(torch.from_numpy(points), src)
        np.testing.assert_allclose(in_torch.numpy(), wanted, rtol=1e-6)
        floats = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        smooth = transform.apply_image_torch(floats)[0].permute(1, 2, 0).numpy()
        assert np.abs(smooth - np.asarray(pillow)).max() < 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, bool])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_order_and_number_of_dimensions_is_scaled_the_same(dtype, channels):
    image, resizer = picture((60, 90), channels, dtype), ImageResizer((60, 90), (96, 96))
    wanted = resizer.scale_image(image)
    assert (wanted.shape, wanted.dtype) == ((64, 96, channels), np.dtype(dtype))
    batch = np.stack([image, image[::-1]])
    np.testing.assert_array_equal(resizer.scale_image(batch)[0], wanted)
    first = resizer.scale_image(image.transpose(2, 0, 1), channels_last=False)
    np.testing.assert_array_equal(first, wanted.transpose(2, 0, 1))
    both = resizer.scale_image(batch.transpose(0, 3, 1, 2), channels_last=False)
    np.testing.assert_array_equal(both[0], first)


def test_padding_is_zero_right_and_below():
    image, resizer = picture((60, 90)), ImageResizer((60, 90), (96, 128))
    scaled = resizer.scale_image(image)
    padded = resizer.pad_image(scaled)
    assert padded.shape == (96, 128, 3)
    np.testing.assert_array_equal(padded[: scaled.shape[0], : scaled.shape[1]], scaled)
    assert not padded[scaled.shape[0] :].any()
    assert not padded[:, scaled.shape[1] :].any()
    first = resizer.pad_image(scaled.transpose(2, 0, 1), channels_last=False)
    np.testing.assert_array_equal(first, padded.transpose(2, 0, 1))


def test_pad_only_scales_nothing():
    image, resizer = picture((60, 90)), ImageResizer((60, 90), (96, 96), pad_only=True)
    assert (resizer.scale, resizer.rescaled_size) == (1.0, (60, 90))
    np.testing.assert_array_equal(resizer.scale_image(image), image)
    np.testing.assert_array_equal(resizer.pad_image(image)[:60, :90], image)
    np.testing.assert_array_equal(resizer.scale_points([[5, 7]]), [[5, 7]])
    with pytest.raises(ValueError, match=r"^src_size: \(60, 97\) does not fit \(96, 96\)"):
        ImageResizer((60, 97), (96, 96), pad_only=True)


def test_there_and_back_again():
    y, x = np.mgrid[:60, :90]
    smooth = np.stack([np.sin(x / 20), np.cos(y / 15)], axis=-1).astype(np.float32)
    resizer = ImageResizer((60, 90), (96, 96))
    back = resizer.unscale_image(resizer.scale_image(smooth))
    assert np.abs(back - smooth).max() < 0.01
    logits = resizer.pad_image(resizer.scale_image(smooth)).transpose(2, 0, 1)
    back = resizer.postprocess_mask(logits)
    assert np.abs(back.transpose(1, 2, 0) - smooth).max() < 0.01
    mask = resizer.postprocess_mask(logits[None], threshold=0.5)
    assert (mask.shape, mask.dtype) == ((1, 2, 60, 90), bool)
    np.testing.assert_array_equal(mask[0], back > 0.5)
    frame = Frame.fit((60, 90), (96, 96))
    published = frame.to_image_logits(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(back, published, atol=1e-5)


@given(st.tuples(*[st.integers(1, 400)] * 2), st.tuples(*[st.integers(1, 400)] * 2))
def test_the_scaled_size_fits_and_touches(src, dst):
    height, width = ImageResizer(src, dst).rescaled_size
    assert 1 <= height <= dst[0]
    assert 1 <= width <= dst[1]
    assert height == dst[0] or width == dst[1]


def test_boxes_are_scaled_by_their_corners():
    resizer = ImageResizer((60, 90), (96, 96))
    boxes = np.array([[[1, 2, 30, 40]], [[5, 6, 7, 8]]])
    wanted = resizer.scale_points(boxes.reshape(2, 1, 2, 2)).reshape(2, 1, 4)
    np.testing.assert_array_equal(resizer.scale_boxes(boxes), wanted)
    np.testing.assert_allclose(wanted[0, 0], np.array([1, 2, 30, 40]) * 96 / 90, rtol=1e-6)


@pytest.mark.parametrize(
    ("use", "kind", "words"),
    [
        (lambda r: ImageResizer((0, 3), (4, 4)), ValueError, r"src_size: \(height, width\) from 1"),
        (lambda r: ImageResizer((3, 3), (4,)), ValueError, r"dst_size: \(height, width\) from 1"),
        (lambda r: r.scale_image(picture((61, 90))), ValueError, r"image: \(…, 60, 90, C\) is wan"),
        (lambda r: r.scale_image(picture((60, 90))[0]), ValueError, "image: "),
        (lambda r: r.scale_image(picture((60, 90)).astype(int)), TypeError, "image: uint8, float"),
        (lambda r: r.postprocess_mask(np.ones((1, 96, 96), bool)), TypeError, "mask: float logits"),
        (lambda r: r.scale_points([1, 2, 3]), ValueError, r"points: \(…, 2\) is wanted"),
        (lambda r: r.scale_boxes([1, 2, 3]), ValueError, r"boxes: \(…, 4\) is wanted"),
    ],
)
def test_what_cannot_be_resized_is_refused_by_name(use, kind, words):
    with pytest.raises(kind, match=f"^{words}"):
        use(ImageResizer((60, 90), (96, 96)))


# The predictor


@pytest.fixture
def predictor(tiny_model, noise):
    made = amg_cli.SAMPredictor(tiny_model)
    made.set_image(noise)
    return made


def test_prompts_may_be_batched_or_not(predictor, tiny_model, noise):
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 60, (2, 3, 2))
    labels = np.array([[1, 0, 1], [0, 1, 1]])
    boxes = np.sort(rng.uniform(0, 60, (2, 2, 2, 2)), axis=2).reshape(2, 2, 4)
    masks = rng.normal(0, 4, (2, 1, *predictor.mask_size)).astype(np.float32)
    wanted = predict(
        tiny_model, encode_image(tiny_model, noise), Prompts(points, labels, boxes, masks)
    )
    found = predictor(points, labels, boxes, masks)
    for a, b in zip(found, vars(wanted).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = predictor(points[1], labels[1], boxes[1], masks[1])
    assert [x.shape for x in alone] == [(3, 60, 90), (3,), (3, 24, 24)]
    np.testing.assert_allclose(alone[1], found[1][1], atol=1e-5)
    single = predictor(boxes=boxes[0, :1], multimask_output=False, return_logits=True)
    assert (single[0].shape, single[0].dtype) == ((1, 60, 90), np.float32)
    assert predictor()[0].shape == (3, 60, 90)


def test_one_encoded_image_is_held_and_forgotten(predictor):
    assert (predictor.input_size, predictor.mask_size) == ((96, 96), (24, 24))
    predictor.clear_image()
    with pytest.raises(RuntimeError, match=r"^no image is set; call set_image\(image\) first$"):
        predictor(boxes=np.array([[1, 2, 3, 4]]))


def test_a_preprocessing_of_ones_own_takes_the_place_of_the_models(predictor, tiny_model, noise):
    config = tiny_model.config
    shapes = []

    def same(image):
        shapes.append(image.shape)
        return (image - np.array(config.mean)) / np.array(config.std)

    own = amg_cli.SAMPredictor(tiny_model, preprocessing=same)
    own.set_image(noise)
    assert shapes == [(64, 96, 3)]
    box = np.array([[10, 10, 40, 50]])
    np.testing.assert_allclose(own(boxes=box)[2], predictor(boxes=box)[2], atol=1e-3)


def test_masks_of_the_images_size_become_prompts(predictor):
    y, x = np.mgrid[:60, :90]
    logits = (15.0 - np.hypot(x - 40, y - 25)).astype(np.float32)
    ready = predictor.preprocess_masks(logits[None])
    assert (ready.shape, ready.dtype) == ((1, 24, 24), np.float32)
    assert predictor.preprocess_masks(logits[None, None]).shape == (1, 1, 24, 24)
    row, column = np.unravel_index(ready[0].argmax(), (24, 24))
    assert abs((column + 0.5) * 90 / 24 - 40) < 4
    assert abs((row + 0.5) * 60 / 16 - 25) < 4
    assert ready[0, 17:].max() == pytest.approx(logits.min(), abs=1)
    assert predictor(masks=ready)[0].shape == (3, 60, 90)
    with pytest.raises(TypeError, match=r"^mask: float logits are wanted, not bool$"):
        predictor.preprocess_masks(logits[None] > 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"points": np.zeros((1, 2))}, "points and labels: one is given without the other"),
        ({"boxes": np.zeros(4)}, r"boxes: 2 dimensions are wanted, or with N before, not \(4,\)"),
        (
            {"boxes": np.zeros((1, 4)), "masks": np.zeros((2, 1, 24, 24), np.float32)},
            "boxes, masks: some are batched and others are not",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(predictor, given, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        predictor(**given)
