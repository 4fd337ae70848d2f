"""Small files that say they are huge are refused before they are decoded."""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from amg_cli.batch.headers import declared_sizes
from amg_cli.batch.integrity import AGAIN, find_excess, find_fault
from amg_cli.batch.reading import read_image
from amg_cli.core.errors import ImageError
from tests.image_bytes import (
    bitmap_of_runs,
    encoded,
    png_chunk,
    tiff_of_bands,
    tiff_with,
    tiled_tiff,
)
from tests.images_to_break import BASES, GREY, NOISE, frames
from tests.mutator import fields_of_size
from tests.reader import LINUX, TRUST, error_of, read_all, save_all


def with_size(kind: str, number: int, form: str, *values: int) -> bytes:
    """One of the `BASES`, with `values` where it keeps its size."""
    data = bytearray(BASES[kind][number])
    struct.pack_into(form, data, fields_of_size(kind, data)[0][0], *values)
    return bytes(data)


def webp_of(name: bytes, start: bytes) -> bytes:
    """A WebP that has the start of one chunk, and zeros."""
    data = start.ljust(20, b"\0")
    return struct.pack("<4sI4s4sI", b"RIFF", 12 + len(data), b"WEBP", name, len(data)) + data


PIXELS = {258: ("H", [8]), 259: ("H", [1]), 262: ("H", [1]), 273: ("I", [8]), 279: ("I", [9])}
BOMBS = {
    "jpeg": with_size("jpeg", 0, ">HH", 40_000, 40_000),
    "jpeg progressive": with_size("jpeg", 1, ">HH", 40_000, 40_000),
    "png": with_size("png", 0, ">II", 40_000, 40_000),
    "webp of 14 bits": webp_of(b"VP8 ", bytes(3) + b"\x9d\x01\x2a\xff\x3f\xff\x3f"),
    "webp lossless of 14 bits": webp_of(b"VP8L", b"\x2f\xfe\xbf\xff\x0f"),
    "webp with a canvas": webp_of(b"VP8X", b"\2\0\0\0" + b"\x3f\x9c\0" * 2),
    "bmp": bitmap_of_runs((40_000, 40_000)),
    "bmp, top row first": bitmap_of_runs((40_000, -40_000)),
    "tiff": tiff_with(PIXELS | {256: ("I", [40_000]), 257: ("I", [40_000])}, bytes(9)),
    "tiff of short numbers": tiff_with(PIXELS | {256: ("H", [40_000]), 257: ("H", [40_000])}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(kind, write, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    side = 16_383 if "14 bits" in kind else 40_000
    line = f"{side} x {side} pixels are more than the limit of 100 million; {TRUST}"
    assert len(BOMBS[kind]) < 10_000
    assert error_of(write(BOMBS[kind]), 10**8) == line


def test_the_default_limit_is_that_of_the_largest_webp(tmp_path):
    (tmp_path / "a.png").write_bytes(BOMBS["png"])
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.png")
    assert str(caught.value) == (
        f"{tmp_path}/a.png: 40000 x 40000 pixels are more than the limit of 268 million; {TRUST}"
    )
    assert find_fault(BOMBS["webp of 14 bits"]) is None


def test_the_sides_of_a_webp_canvas_have_24_bits():
    fault = find_fault(webp_of(b"VP8X", bytes(4) + b"\xff\xff\xff\xff\xff\x01"))
    assert fault.cause.startswith("16777216 x 131072 pixels are more than")


@pytest.mark.parametrize("kind", BASES)
def test_the_limit_is_exact_and_a_parameter_raises_it(kind, write):
    for data in BASES[kind]:
        assert error_of(write(data), 60 * 40 - 1).startswith("60 x 40 pixels are more than")
        assert find_fault(data, 60 * 40) is None or data == tiled_tiff()  # of 64 x 48


@pytest.mark.parametrize(
    ("limit", "told"), [(2**30, "1074"), (10**7, "10"), (2_500_000, "2.5"), (1000, "0.001")]
)
def test_the_limit_is_told_in_millions(limit, told):
    fault = find_fault(BOMBS["png"], limit)
    assert fault.cause == f"40000 x 40000 pixels are more than the limit of {told} million"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (with_size("jpeg", 0, ">HH", 0, 60), "damaged JPEG of 60 x 0 pixels"),
        (with_size("png", 0, ">II", 0, 40), "damaged PNG of 0 x 40 pixels"),
        (bitmap_of_runs((-60, 40)), "damaged BMP of -60 x 40 pixels"),
        (bitmap_of_runs((60, 0)), "damaged BMP of 60 x 0 pixels"),
        (tiff_of_bands(NOISE[:, :0]), "damaged TIFF of 0 x 40 pixels"),
        (tiled_tiff((0, 16)), "damaged TIFF of tiles of 0 x 16 pixels"),
        (tiff_with(PIXELS | {256: ("I", [60])}), "damaged TIFF"),
        (tiff_with(PIXELS | {256: ("I", [60]), 257: ("i", [40])}), "damaged TIFF"),
        (tiff_with(PIXELS | {256: ("I", [60]), 257: ("H", [40, 40])}), "damaged TIFF"),
        (b"\xff\xd8\xff\xd9", "damaged JPEG"),
        (b"\xff\xd8\xff\xe0\0\1" + BASES["jpeg"][0][2:], "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IDAT", bytes(13)), "damaged PNG"),
        (webp_of(b"EXIF", b""), "damaged WebP"),
    ],
)
def test_a_size_that_no_image_has_is_damage(data, line, write):
    assert error_of(write(data)) == f"{line}; {AGAIN}"


def test_of_two_sizes_in_a_tiff_the_one_that_is_decoded_counts():
    sizes = {256: ("I", [40_000]), 257: ("I", [40_000]), 280: ("I", [6]), 281: ("I", [4])}
    data = tiff_with(PIXELS | sizes)
    for other, tag in ((280, 256), (281, 257)):
        data = data.replace(struct.pack("<HH", other, 4), struct.pack("<HH", tag, 4))
    assert find_fault(data).cause.startswith("40000 x 40000 pixels are more than")


def test_a_marker_without_a_segment_does_not_hide_the_size_of_a_jpeg(write):
    data = BASES["jpeg"][0]
    alone = data[:2] + b"\xff\x01" + data[2:]
    np.testing.assert_array_equal(read_image(write(alone)), read_image(write(data)))
    assert list(declared_sizes(alone)) == [("", 60, 40)]


def test_the_size_of_a_thumbnail_is_not_that_of_the_jpeg():
    thumbnail = b"\xff\xe1" + struct.pack(">H", len(BOMBS["jpeg"]) + 2) + BOMBS["jpeg"]
    data = BASES["jpeg"][0]
    assert list(declared_sizes(data[:2] + thumbnail + data[2:])) == [("", 60, 40)]


def test_tiles_may_be_no_larger_than_an_image(write):
    line = f"tiles of 40000 x 40000 pixels are more than the limit of 268 million; {TRUST}"
    assert error_of(write(tiled_tiff((40_000, 40_000)))) == line
    assert read_image(write(tiled_tiff())).shape == (40, 60, 3)


def test_a_jpeg_of_very_many_scans_is_refused(write):
    data = encoded("JPEG", GREY, progressive=True)
    scans = data.count(b"\xff\xda\0")
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0)
    most = data[:-2] + scan * (100 - scans)
    assert find_fault(most + data[-2:]) is None
    assert error_of(write(most + scan + data[-2:])) == "JPEG of more than 100 scans; re-export it"


def test_tables_too_long_to_be_those_of_a_tiff_are_damage():
    sides = struct.pack("<HHQQ", 256, 4, 1, 60) + struct.pack("<HHQQ", 257, 4, 1, 40)
    for count, fault in ((2**16 - 1, None), (2**16, ("damaged TIFF", AGAIN))):
        big = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, count) + sides + bytes(20 * count)
        assert find_fault(big) == fault
    far = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**64 - 1)
    assert find_fault(far) == ("truncated TIFF", AGAIN)
    tags = PIXELS | {256: ("I", [60]), 257: ("I", [40]), 273: ("B", [0] * (2**22 + 1))}
    assert find_fault(tiff_with(tags)) == ("damaged TIFF", AGAIN)


def test_a_file_longer_than_an_image_can_be_is_not_read(tmp_path):
    path = tmp_path / "a.tif"
    path.touch()
    os.truncate(path, 3 * 10**9)  # it takes no room on the disk
    told = "3.0 GB are more than an image of 268 million pixels takes"
    assert error_of(path) == f"{told}; {TRUST}"
    assert find_excess(8 * 2**28 + 2**26, 2**28) is None
    assert find_excess(8 * 2**28 + 2**26 + 1, 2**28).remedy == TRUST


@LINUX
def test_a_pixel_takes_at_most_12_bytes_while_it_is_decoded(tmp_path):
    """The bound that `MAX_PIXELS` is chosen by."""
    plain = np.zeros((3000, 3000, 3), np.uint8)
    alpha = np.zeros((3000, 3000, 4), np.uint8)
    cmyk = Image.fromarray(plain).convert("CMYK")
    files = {
        "jpeg": encoded("JPEG", cmyk, progressive=True, subsampling=0),
        "png": encoded("PNG", alpha),
        "png moving": frames("PNG", alpha),
        "webp": encoded("WEBP", alpha, method=0),
        "webp lossless": encoded("WEBP", plain, lossless=True, method=0),
        "webp moving": frames("WEBP", plain, method=0),
        "tiff": encoded("TIFF", alpha, compression="tiff_adobe_deflate"),
        "tiff of jpeg": encoded("TIFF", plain, compression="jpeg"),
        "bmp": bitmap_of_runs((3000, 3000)),
    }
    results, _ = read_all(save_all(tmp_path, files))
    for name, result in results.items():
        assert result["peak_kb"] * 1024 < 12 * 3000**2 + 8 * 2**20, (name, result)
        if name not in ("bmp", "webp moving"):
            assert result["shape"] == [3000, 3000, 3], result


def test_too_little_memory_is_an_error_of_the_image(write, monkeypatch):
    def imdecode(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    assert error_of(write(BASES["png"][0])) == "not enough memory to decode it; make it smaller"

    def bare(*_: object) -> None:  # an exception of a library below OpenCV has no code
        raise cv2.error("std::bad_alloc")

    monkeypatch.setattr(cv2, "imdecode", bare)
    assert error_of(write(BASES["png"][0])) == "not enough memory to decode it; make it smaller"
