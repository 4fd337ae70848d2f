"""Kinds of image that are rare or not read at all: each has a stated result."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from amg_cli.batch.headers import still_png
from amg_cli.batch.reading import read_image
from tests.image_bytes import encoded, png_chunk, tiff_of_bands
from tests.images_to_break import BASES, GREY, NOISE, SMOOTH, frames
from tests.mutator import parts_of_png
from tests.reader import CONVERT, LINUX, error_of, read_all, save_all


@pytest.mark.parametrize("letter", ["e", "f", "d"])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_tiff_of_floats_is_refused(letter, bands, write):
    data = tiff_of_bands(np.zeros((4, 6, bands), letter))
    assert error_of(write(data)) == "floating-point TIFF; convert it to 8 or 16 bits a sample"


def test_a_tiff_of_signed_numbers_is_refused(write):
    data = tiff_of_bands(np.zeros((4, 6, 1), np.int16))
    expected = "TIFF of signed numbers; convert it to 8 or 16 bits a sample, without a sign"
    assert error_of(write(data)) == expected


@pytest.mark.parametrize(
    ("bands", "photometric"), [(5, 2), (5, 1), (4, 1), (3, 1), (3, 0), (300, 2)]
)
@pytest.mark.parametrize("letter", ["u1", "u2"])
def test_a_tiff_of_more_bands_than_a_picture_has_is_refused(bands, photometric, letter, write):
    data = tiff_of_bands(np.zeros((4, 6, bands), letter), photometric)
    assert error_of(write(data)) == f"TIFF of {bands} bands; convert it to grey or RGB"


@pytest.mark.parametrize("letter", ["u1", "u2"])
def test_a_second_band_of_grey_and_a_fourth_of_colours_are_dropped_as_transparency_is(
    letter, write
):
    image = np.dstack([SMOOTH, GREY]).astype(letter)
    if letter == "u2":
        image *= 257
    grey, colours = tiff_of_bands(image[..., 2:]), tiff_of_bands(image, photometric=2)
    np.testing.assert_array_equal(read_image(write(grey)), np.dstack([SMOOTH[..., 2]] * 3))
    np.testing.assert_array_equal(read_image(write(colours)), SMOOTH)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_four_inks_becomes_rgb(progressive, write):
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    image = read_image(write(encoded("JPEG", cmyk, quality=95, progressive=progressive)))
    assert np.abs(image.astype(int) - SMOOTH).max() < 12


def test_the_still_image_of_a_moving_png_has_no_frames():
    data = frames("PNG")
    parts = parts_of_png(data)
    moving = [part for part in parts if part[4:8] in (b"acTL", b"fcTL", b"fdAT")]
    assert len(moving) == 4
    assert still_png(data) == b"".join(part for part in parts if part not in moving)
    assert still_png(BASES["png"][0]) is BASES["png"][0]


@LINUX
def test_a_moving_png_that_crashes_opencv_gives_its_still_image(tmp_path):
    """4.12 to 5.0 jump to where nothing waits for them, when a frame is damaged."""
    signature, header, control, first, pixels, *rest = parts_of_png(frames("PNG"))
    bad_filters = png_chunk(b"IDAT", zlib.compress(b"\x09" * 40 * 181))
    data = b"".join([signature, header, control, pixels, first, bad_filters, *rest])
    results, _ = read_all(save_all(tmp_path, {"a.png": data}))
    assert results["a.png"]["shape"] == [40, 60, 3]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), NOISE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_first_frame_or_page_of_several_is_read(kind, write):
    np.testing.assert_array_equal(read_image(write(frames(kind))), NOISE)


def test_the_first_frame_of_a_moving_webp_is_read_or_refused_by_an_old_opencv(write):
    path = write(frames("WEBP", lossless=True))
    if tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 12):
        np.testing.assert_array_equal(read_image(path), NOISE)
    else:
        assert error_of(path).startswith("damaged WebP, or of a kind OpenCV does not know")


def test_pages_that_follow_each_other_in_a_circle_end(write):
    data = bytearray(tiff_of_bands(NOISE, photometric=2))
    (page,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, page)
    struct.pack_into("<I", data, page + 2 + 12 * entries, page)
    np.testing.assert_array_equal(read_image(write(bytes(data))), NOISE)


@pytest.mark.parametrize("transparency", [0, bytes(range(0, 256, 16))], ids=["one", "all"])
def test_a_palette_with_transparency_is_replaced_by_its_colours(transparency, write):
    palette = Image.fromarray(NOISE).quantize(16)
    image = read_image(write(encoded("PNG", palette, transparency=transparency)))
    np.testing.assert_array_equal(image, np.asarray(palette.convert("RGB")))


def container(*brands: bytes) -> bytes:
    """The first bytes of a file in the container of HEIC, AVIF and films."""
    body = brands[0] + bytes(4) + b"".join(brands[1:])
    return struct.pack(">I4s", 8 + len(body), b"ftyp") + body + b"\0\0\0\x08mdat" + b"avif" * 9


@pytest.mark.parametrize(
    ("data", "which"),
    [
        (container(b"heic", b"mif1", b"heic"), "HEIC, "),
        (container(b"mif1", b"heix"), "HEIC, "),
        (container(b"msf1"), "HEIC, "),
        (container(b"mif1"), "HEIC, "),
        (container(b"avif", b"mif1", b"miaf"), "AVIF, "),
        (container(b"mif1", b"avif"), "AVIF, "),
        (container(b"avis"), "AVIF, "),
        (container(b"isom", b"mp42"), ""),
        (container(b"qt  "), ""),
        (encoded("GIF", NOISE), ""),
        (frames("GIF"), ""),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', ""),
        (b'<?xml version="1.0"?>\n<svg/>', ""),
        (encoded("JPEG2000", NOISE), ""),
        (b"\xff\xd8", ""),
    ],
)
def test_other_formats_are_refused_and_those_of_telephones_are_named(data, which, write):
    assert error_of(write(data)) == f"{which}not a JPEG, PNG, WebP, BMP or TIFF image; {CONVERT}"
