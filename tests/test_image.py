"""What is taken for an image, and what is refused in which words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from amg_cli.core.config import GenerationConfig
from amg_cli.core.image import as_rgb
from amg_cli.generation.everything import generate
from amg_cli.generation.predict import encode_image

KEEP_ALL = GenerationConfig(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
GREY = np.arange(54, dtype=np.uint8).reshape(6, 9)
COLOURS = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def test_three_channels_are_themselves():
    found = as_rgb(COLOURS)
    np.testing.assert_array_equal(found, COLOURS)
    assert np.shares_memory(found, COLOURS)


@pytest.mark.parametrize("grey", [GREY, GREY[..., None]], ids=["(H, W)", "(H, W, 1)"])
def test_grey_is_repeated_in_each_channel_without_a_copy(grey):
    found = as_rgb(grey)
    np.testing.assert_array_equal(found, np.stack([GREY] * 3, axis=2))
    assert found.dtype == np.uint8
    assert np.shares_memory(found, GREY)


@pytest.mark.parametrize("image_hw", [(3, 3), (1, 3), (3, 1), (1, 1), (4, 3)])
def test_an_image_as_small_as_a_pixel_has_is_no_array_of_channels(image_hw):
    assert as_rgb(np.zeros(image_hw, np.uint8)).shape == (*image_hw, 3)
    assert as_rgb(np.zeros((*image_hw, 3), np.uint8)).shape == (*image_hw, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pillows_images_are_taken_in_red_green_and_blue(mode):
    image = Image.fromarray(COLOURS).convert(mode)
    np.testing.assert_array_equal(as_rgb(image), np.array(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pillows_images_of_more_than_8_bits_are_refused(mode):
    with pytest.raises(ValueError, match=f"mode {mode}, which has more than 8 bits; scale"):
        as_rgb(Image.new(mode, (9, 6)))


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((6, 9, 4), np.uint8), "image[..., :3] drops its alpha"),
        (np.zeros((3, 6, 9), np.uint8), "channels last: image.transpose(1, 2, 0)"),
        (np.zeros((1, 6, 9), np.uint8), "channels last: image.transpose(1, 2, 0)"),
        (np.zeros((1, 6, 9, 3), np.uint8), "one image at a time: image[0]"),
        (np.zeros((6, 9, 2), np.uint8), "grey as (H, W), or three channels last"),
        (np.zeros(9, np.uint8), "grey as (H, W), or three channels last"),
        (np.zeros((6, 9), bool), "image.astype(numpy.uint8) * 255 makes it so"),
        (np.zeros((6, 9, 3), np.uint16), "(image / 257).round().astype(numpy.uint8) makes it so"),
        (np.zeros((6, 9, 3), ">u2"), "(image / 257).round().astype(numpy.uint8) makes it so"),
        (np.zeros((6, 9, 3)), "(image * 255).round().astype(numpy.uint8) makes it so"),
        (np.zeros((6, 9, 3), np.float16), "(image * 255).round().astype(numpy.uint8) makes it so"),
        (np.zeros((6, 9, 3), np.int64), "; image.astype(numpy.uint8) makes it so"),
        (np.zeros((3, 6, 9), np.float32), "transpose(1, 2, 0); (image * 255).round()"),
    ],
    ids=lambda given: f"{given.shape} {given.dtype}" if isinstance(given, np.ndarray) else "",
)
def test_an_array_of_another_shape_or_type_is_refused_with_what_makes_an_image_of_it(array, remedy):
    with pytest.raises(ValueError, match=r"^image_rgb: \(H, W, 3\) uint8 is wanted, not ") as error:
        as_rgb(array)
    assert f"not {array.shape} {array.dtype}; " in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "not None; cv2.imread gives None for a file it cannot read"),
        ("a.jpg", "not str 'a.jpg'; read the file: cv2.cvtColor(cv2.imread(path), "),
        (Path("a.jpg"), "'a.jpg'; read the file: cv2.cvtColor(cv2.imread(path), "),
        (torch.zeros(3, 6, 9), "not Tensor (3, 6, 9) torch.float32; image.cpu().numpy() makes"),
        (COLOURS.tolist(), "not list; numpy.asarray(image) makes an array of what holds one"),
        (5, "not int 5; numpy.asarray(image)"),
        (np.ndarray, "not class ndarray; numpy.asarray(image)"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_array_is_refused_with_what_makes_one_of_it(given, words):
    with pytest.raises(TypeError, match=r"^image_rgb: \(H, W, 3\) uint8 is wanted, not ") as error:
        as_rgb(given)
    assert words in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("image_hw", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(image_hw):
    for shape in (image_hw, (*image_hw, 3)):
        with pytest.raises(ValueError, match=r"^image_rgb: the image has no pixels$"):
            as_rgb(np.zeros(shape, np.uint8))


# In use


def read_only(image):
    image = image.copy()
    image.flags.writeable = False
    return image


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "same",
    [
        np.asfortranarray,
        read_only,
        lambda image: np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1],
        lambda image: np.ascontiguousarray(image[..., ::-1])[..., ::-1],
        lambda image: image.view(np.recarray),
        Image.fromarray,
    ],
    ids=["Fortran", "read-only", "mirrored", "BGR", "subclass", "Pillow"],
)
def test_the_same_image_gives_the_same_masks_however_it_is_held(tiny_model, noise, same):
    held, wanted = same(noise), generate(noise, tiny_model, KEEP_ALL)
    assert generate(held, tiny_model, KEEP_ALL) == wanted
    features = encode_image(tiny_model, noise).embedding.features
    assert torch.equal(encode_image(tiny_model, held).embedding.features, features)


@pytest.mark.parametrize("axes", [(), (None,)], ids=["(H, W)", "(H, W, 1)"])
def test_grey_gives_the_masks_of_its_three_channels(tiny_model, noise, axes):
    grey = noise[..., 0]
    wanted = np.stack([grey] * 3, axis=2)
    given = grey[(..., *axes)]
    assert generate(given, tiny_model, KEEP_ALL) == generate(wanted, tiny_model, KEEP_ALL)
    features = encode_image(tiny_model, wanted).embedding.features
    assert torch.equal(encode_image(tiny_model, given).embedding.features, features)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, bool])
def test_prompts_by_hand_refuse_what_generating_refuses(tiny_model, noise, dtype):
    for use in (encode_image, lambda model, image: generate(image, model)):
        with pytest.raises(ValueError, match=r"^image_rgb: \(H, W, 3\) uint8 is wanted, not "):
            use(tiny_model, noise.astype(dtype))
