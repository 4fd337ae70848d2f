"""Finding images, and reading one: what is decoded, and what is an error instead."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from amg_cli.batch import decoding
from amg_cli.batch.integrity import find_fault
from amg_cli.batch.reading import read_image
from amg_cli.batch.sources.images import IMAGE_SUFFIXES, Source, discover
from amg_cli.core.errors import ImageError, InputError
from tests.conftest import shared
from tests.image_bytes import (
    by_opencv,
    encoded,
    interleaved_strips,
    oriented,
    planes_and_strips,
    png_chunk,
    png_of,
    tiff_of,
)

AGAIN = "re-export or download it again"
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)
# Smooth, so that a JPEG of it is close to it and no two rows or columns are the same.
ROWS, COLUMNS = np.mgrid[0:160:10, 0:240:10].astype(np.uint8)
SMOOTH = np.dstack([COLUMNS, ROWS, np.full_like(ROWS, 9)])


GREY = NOISE[..., 0]
RGBA = np.dstack([NOISE, np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)])
LOSSLESS = {
    "png": encoded("PNG", NOISE),
    "png in many chunks": encoded("PNG", np.tile(NOISE, (9, 9, 1))),
    "webp": encoded("WEBP", NOISE, lossless=True),
    "bmp": encoded("BMP", NOISE),
    "bmp with a mask of bits": encoded("BMP", RGBA),
    "tiff": encoded("TIFF", NOISE),
    "tiff lzw": encoded("TIFF", NOISE, compression="tiff_lzw"),
    "tiff deflate": encoded("TIFF", NOISE, compression="tiff_adobe_deflate"),
    "tiff packbits": encoded("TIFF", NOISE, compression="packbits"),
    "tiff of opencv": by_opencv(".tif", NOISE[..., ::-1]),
    "tiff, directory first": tiff_of(interleaved_strips(NOISE, 4), (24, 16), 4),
    "tiff, planes apart": tiff_of(planes_and_strips(NOISE, 4), (24, 16), 4, planar=2),
    "tiff, big": tiff_of(interleaved_strips(NOISE, 4), (24, 16), 4, big=1),
}
WHOLE = LOSSLESS | {
    "jpeg": encoded("JPEG", NOISE),
    "jpeg progressive": encoded("JPEG", NOISE, progressive=True),
    "jpeg with restarts": by_opencv(".jpg", NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "jpeg of grey": encoded("JPEG", GREY),
    "jpeg cmyk": encoded("JPEG", Image.fromarray(NOISE).convert("CMYK")),
    "jpeg with exif": encoded("JPEG", NOISE, exif=oriented(6)),
    "webp lossy": encoded("WEBP", NOISE),
    "webp with alpha": encoded("WEBP", RGBA),
    "tiff of jpeg": encoded("TIFF", NOISE, compression="jpeg"),
    "tiff of a palette": encoded(
        "TIFF", Image.fromarray(NOISE).quantize(9), compression="tiff_lzw"
    ),
    "png of a palette": encoded("PNG", Image.fromarray(NOISE).quantize(9)),
}


@pytest.fixture
def write(tmp_path: Path):
    """A function that writes bytes to a file named `name` and gives its path."""

    def _write(data: bytes, name: str = "a.jpg") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return _write


def error_of(path: Path) -> str:
    """What `read_image` says is wrong: the line without the path."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return str(caught.value).removeprefix(f"{path}: ")


# --- reading what is whole ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_image_is_read_as_it_was_written(kind, write):
    image = read_image(write(LOSSLESS[kind]))
    expected = np.tile(NOISE, (9, 9, 1)) if "many" in kind else NOISE
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@pytest.mark.parametrize("kind", WHOLE)
def test_an_image_is_what_imread_makes_of_it(kind, write):
    path = write(WHOLE[kind])
    expected = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("name", ["dog", "groceries", "truck"])
def test_a_photograph_is_what_imread_makes_of_it(name):
    path = shared(f"data/samples/{name}.jpg")
    np.testing.assert_array_equal(read_image(path)[..., ::-1], cv2.imread(str(path)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied(kind, value, write):
    data = encoded(kind, SMOOTH, exif=oriented(value))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = read_image(write(data))
    assert image.shape == expected.shape
    # JPEG decoders may differ by a level; two orientations differ by far more.
    assert np.abs(image.astype(int) - expected).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_grey_is_repeated_to_three_channels(kind, write):
    expected = np.dstack([GREY] * 3)
    np.testing.assert_array_equal(read_image(write(encoded(kind, GREY))), expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_alpha_is_dropped_and_the_colours_under_it_kept(kind, write):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read_image(write(encoded(kind, RGBA, **options))), NOISE)


def test_grey_with_alpha_is_read_as_grey(write):
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(NOISE[..., 1])])
    np.testing.assert_array_equal(
        read_image(write(encoded("PNG", grey_alpha))), np.dstack([GREY] * 3)
    )


def test_a_palette_is_replaced_by_its_colours(write):
    palette = Image.fromarray(NOISE).quantize(9)
    image = read_image(write(encoded("PNG", palette, transparency=3)))
    np.testing.assert_array_equal(image, np.asarray(palette.convert("RGB")))


def test_a_16_bit_png_is_cut_to_its_high_bytes(write):
    deep = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    image = read_image(write(by_opencv(".png", deep[..., ::-1])))
    np.testing.assert_array_equal(image, deep >> 8)


def test_a_16_bit_tiff_is_rounded_as_libtiff_does(write):
    deep = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    image = read_image(write(by_opencv(".tif", deep[..., ::-1])))
    np.testing.assert_array_equal(image, (deep.astype(int) + 128) // 257)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_the_first_of_several_pages_or_frames_is_read(kind, write):
    data = encoded(kind, NOISE, save_all=True, append_images=[Image.fromarray(NOISE[::-1].copy())])
    np.testing.assert_array_equal(read_image(write(data)), NOISE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_any_shape_of_image_is_read(kind, size_hw, write):
    data = encoded(kind, np.full((*size_hw, 3), 200, np.uint8))
    assert read_image(write(data)).shape == (*size_hw, 3)


def test_the_format_is_judged_by_the_bytes_not_by_the_name(write):
    np.testing.assert_array_equal(read_image(write(LOSSLESS["png"], "no.tiff")), NOISE)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("after", [b"junk \xff\xd8\xff" * 9, bytes(999)], ids=["junk", "zeros"])
def test_bytes_after_the_end_do_no_harm(kind, after, write):
    expected = read_image(write(WHOLE[kind]))
    np.testing.assert_array_equal(read_image(write(WHOLE[kind] + after)), expected)


# --- reading what is not whole -----------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE)
def test_a_truncated_image_is_an_error_at_every_cut(kind):
    data, name = WHOLE[kind], {"w": "WebP"}.get(kind[0], kind.split()[0].strip(",").upper())
    assert find_fault(data) is None
    for end in range(18, len(data), 97 if "many" in kind else 1):
        assert find_fault(data[:end]) == (f"truncated {name}", AGAIN), end


@pytest.mark.parametrize("kind", WHOLE)
def test_the_first_bytes_of_an_image_are_no_image(kind):
    for end in range(1, 18):
        fault = find_fault(WHOLE[kind][:end])
        assert fault is not None
        assert fault.cause.startswith(("truncated ", "not a JPEG, PNG"))


@pytest.mark.parametrize("kind", ["jpeg", "jpeg progressive", "png", "webp lossy", "bmp", "tiff"])
def test_a_truncated_image_is_not_read(kind, write):
    data = WHOLE[kind]
    for end in (len(data) // 3, len(data) * 9 // 10, len(data) - 2, len(data) - 1):
        assert error_of(write(data[:end])).startswith("truncated ")


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
@pytest.mark.parametrize("name", ["dog", "groceries", "truck"])
def test_a_truncated_photograph_is_an_error(name, percent, write):
    data = shared(f"data/samples/{name}.jpg").read_bytes()
    assert error_of(write(data[: len(data) * percent // 100])) == f"truncated JPEG; {AGAIN}"


def test_a_thumbnail_does_not_make_a_truncated_jpeg_whole(write):
    thumbnail = encoded("JPEG", SMOOTH)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = WHOLE["jpeg"][:2] + segment + WHOLE["jpeg"][2:]
    np.testing.assert_array_equal(read_image(write(data)), read_image(write(WHOLE["jpeg"])))
    assert error_of(write(data[: len(segment) + 400])) == f"truncated JPEG; {AGAIN}"


def test_a_jpeg_whose_end_is_zeros_is_an_error(write):
    data = WHOLE["jpeg"]
    half = len(data) * 3 // 4
    assert error_of(write(data[:half].ljust(len(data), b"\0"))) == f"truncated JPEG; {AGAIN}"


def test_a_jpeg_with_another_one_where_its_end_should_be_is_an_error(write):
    other = encoded("JPEG", np.tile(NOISE, (20, 20, 1)))
    assert error_of(write(WHOLE["jpeg"][:-2] + other)) == f"truncated JPEG; {AGAIN}"


def test_a_marker_that_cannot_be_in_a_jpeg_is_damage(write):
    data = bytearray(WHOLE["jpeg"])
    data[-40:-38] = b"\xff\x42"
    assert error_of(write(bytes(data))) == f"damaged JPEG; {AGAIN}"


def test_any_changed_byte_in_the_pixels_of_a_png_is_an_error():
    data = LOSSLESS["png"]
    for at in range(data.index(b"IDAT") + 4, len(data) - 12):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert find_fault(damaged) == ("damaged PNG", AGAIN)


def test_damaged_metadata_of_a_png_does_no_harm(write):
    data = LOSSLESS["png"]
    comment = png_chunk(b"tEXt", b"Title\0me", crc=0)
    np.testing.assert_array_equal(read_image(write(data[:33] + comment + data[33:])), NOISE)


def test_a_png_with_too_few_pixels_is_an_error(write):
    data = png_of((24, 16), zlib.compress(bytes(73 * 8)))
    assert error_of(write(data)).startswith("damaged PNG, or of a kind OpenCV does not know; ")


def test_a_bitmap_of_runs_is_read_whole_and_not_in_part(write):
    runs = b"".join(bytes([0, 24, *row, 0, 0]) for row in GREY[::-1].tolist())
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, 24, 16, 1, 8, 1, len(runs) + 2, 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + palette + runs + b"\0\1"
    np.testing.assert_array_equal(read_image(write(data)), np.dstack([GREY] * 3))
    for end in range(1078, len(data) - 4, 40):
        assert error_of(write(data[:end])).startswith("damaged BMP, or of a kind OpenCV does not")


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_whatever_the_damage_the_result_is_an_image_or_an_error(write, kind, data):
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read_image(write(bytes(damaged)))
    except ImageError:
        return
    assert image.shape[2] == 3


# --- reading what is no image for us -----------------------------------------------------------


def test_an_empty_file_is_an_error(write):
    assert error_of(write(b"")) == f"empty file; {AGAIN}"


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"BMW, the history of" * 9,
        b"<!doctype html>",
        encoded("GIF", NOISE),
        encoded("PPM", NOISE),
    ],
    ids=["one byte", "text", "html", "gif", "ppm"],
)
def test_other_formats_are_refused_even_if_opencv_knows_them(data, write):
    expected = "not a JPEG, PNG, WebP, BMP or TIFF image; convert it to one of these"
    assert error_of(write(data)) == expected


def test_floating_point_is_refused(write):
    data = encoded("TIFF", (GREY / 255).astype(np.float32))
    assert error_of(write(data)) == "floating-point TIFF; convert it to 8 or 16 bits a sample"


def test_32_bit_integers_are_refused(write):
    data = encoded("TIFF", GREY.astype(np.int32) * 1000)
    assert error_of(write(data)) == "TIFF of 32 bits a sample; convert it to 8 or 16 bits a sample"


def test_more_pixels_than_opencv_reads_is_an_error(write):
    path = write(png_of((40_000, 40_000), zlib.compress(bytes(999))))
    with pytest.raises(ImageError) as caught:
        read_image(path, max_pixels=2**40)
    assert (caught.value.cause, caught.value.remedy) == (
        "larger than OpenCV reads (2^30 pixels, 2^20 a side)",
        "see OPENCV_IO_MAX_IMAGE_PIXELS, _WIDTH and _HEIGHT",
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (-4, "not enough memory to decode it; make it smaller"),
        (-2, "OpenCV cannot decode it: of no use; re-export it"),
    ],
)
def test_an_exception_of_opencv_is_an_error_of_the_image(code, line, write, monkeypatch):
    def imdecode(*_: object) -> None:
        error = cv2.error("of no use")
        error.code, error.err = code, "of no use"
        raise error

    monkeypatch.setattr(cv2, "imdecode", imdecode)
    assert error_of(write(LOSSLESS["png"])) == line


def test_a_file_that_vanished_is_an_error(tmp_path):
    line = "no such file; it may have been moved since"
    assert error_of(tmp_path / "gone.jpg") == line


def test_a_folder_is_no_image(tmp_path):
    assert error_of(tmp_path) == "cannot read it: is a directory; check the path"


def test_a_file_closed_to_us_is_an_error(write, monkeypatch):
    path = write(LOSSLESS["png"])

    def refuse(name: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "open", refuse)
    assert error_of(path) == "cannot read it: permission denied; check the path"


def test_opencv_prints_nothing_about_broken_files(write, capfd, monkeypatch):
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    decoding._quiet_opencv.cache_clear()
    for data in WHOLE.values():
        error_of(write(data[: len(data) // 2]))
    error_of(write(encoded("TIFF", GREY.astype(np.float32))))
    error_of(write(b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 24, 16, 1, 7, 0) + bytes(9999)))
    with contextlib.suppress(ImageError):  # nothing but the decoder sees that these are no pixels
        read_image(write(tiff_of([bytes(99)] * 4, (24, 16), 4)))
    assert capfd.readouterr().err == ""


def test_a_log_level_asked_for_is_kept(write, monkeypatch):
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    decoding._quiet_opencv.cache_clear()
    try:
        logging.setLogLevel(2)
        monkeypatch.setenv("OPENCV_LOG_LEVEL", "ERROR")
        read_image(write(LOSSLESS["png"]))
        assert logging.getLogLevel() == 2
        monkeypatch.delenv("OPENCV_LOG_LEVEL")
        decoding._quiet_opencv.cache_clear()
        read_image(write(LOSSLESS["png"]))
        assert logging.getLogLevel() == 0
    finally:
        logging.setLogLevel(before)


# --- finding images ----------------------------------------------------------------------------


def tree(root: Path, *names: str) -> Path:
    """Empty files in `root`: finding does not open them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def relatives(*inputs: Path, recursive: bool = False) -> list[str]:
    return [str(source.relative) for source in discover(inputs, recursive)]


def refusal(*inputs: Path, recursive: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        discover(inputs, recursive)
    return str(caught.value)


def test_a_folder_gives_its_images_whatever_the_case_of_their_suffix(tmp_path):
    names = [f"{i}{suffix}" for i, suffix in enumerate(sorted(IMAGE_SUFFIXES))]
    tree(tmp_path, *names, "8.JPG", "notes.txt", "jpg", "9.png.part", ".hidden.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert relatives(tmp_path) == [*names, "8.JPG"]


def test_a_folder_gives_its_images_in_the_order_of_their_bytes(tmp_path):
    tree(tmp_path, "b.png", "a.png", "B.png", "\u00e9.png", "10.png", "9.png", "a b.png")
    expected = ["10.png", "9.png", "B.png", "a b.png", "a.png", "b.png", "\u00e9.png"]
    assert relatives(tmp_path) == expected


def test_a_file_given_itself_is_taken_whatever_its_name(tmp_path):
    tree(tmp_path, "deep/.hidden.raw")
    path = tmp_path / "deep" / ".hidden.raw"
    assert discover([path], recursive=False) == [Source.of(path, PurePath(".hidden.raw"))]


def test_inputs_keep_their_order(tmp_path):
    tree(tmp_path, "b/2.png", "b/1.png", "a/3.png", "z.png")
    found = relatives(tmp_path / "z.png", tmp_path / "b", tmp_path / "a")
    assert found == ["z.png", "1.png", "2.png", "3.png"]


def test_sub_folders_are_entered_only_if_asked_and_mirrored(tmp_path):
    tree(tmp_path, "b/2.png", "b/c/1.png", "a/3.png", "z.png", ".git/4.png", "b/.x/5.png")
    assert relatives(tmp_path) == ["z.png"]
    found = discover([tmp_path], recursive=True)
    expected = ["z.png", "a/3.png", "b/2.png", "b/c/1.png"]
    assert found == [Source.of(tmp_path / name, PurePath(name)) for name in expected]


def test_the_same_file_reached_twice_appears_once_where_it_came_first(tmp_path, monkeypatch):
    tree(tmp_path, "a/1.png", "a/b/2.png")
    monkeypatch.chdir(tmp_path)
    detour = Path("a/b/../1.png")
    found = relatives(Path("a/b"), Path("a"), tmp_path / "a", detour, recursive=True)
    assert found == ["2.png", "1.png"]


def test_files_of_the_same_name_in_two_folders_are_both_found(tmp_path):
    tree(tmp_path, "a/1.png", "b/1.png")
    assert relatives(tmp_path / "a", tmp_path / "b") == ["1.png", "1.png"]


def test_links_that_lead_in_circles_end(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "self.png").symlink_to("self.png")
    found = relatives(tmp_path, recursive=True)
    assert found == ["a/1.png", "b/2.png", "b/self.png"]


def test_a_linked_folder_is_entered_under_the_name_of_the_link(tmp_path):
    tree(tmp_path, "in/1.png", "elsewhere/2.png")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere")
    assert relatives(tmp_path / "in", recursive=True) == ["1.png", "more/2.png"]


def test_two_links_to_a_file_are_two_images_and_one_that_leads_nowhere_fails_alone(tmp_path):
    tree(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to("1.png")
    (tmp_path / "3.png").symlink_to("nowhere.png")
    assert relatives(tmp_path) == ["1.png", "2.png", "3.png"]
    assert error_of(tmp_path / "3.png").startswith("no such file")


def test_names_may_hold_any_bytes(tmp_path):
    names = [os.fsdecode(name) for name in (b"a\n.png", b" .png", b"\xff\xfe.png")]
    for name in names:
        (tmp_path / name).write_bytes(LOSSLESS["png"])
    found = discover([tmp_path], recursive=False)
    assert [str(source.relative) for source in found] == [names[1], names[0], names[2]]
    for source in found:
        np.testing.assert_array_equal(read_image(source.path), NOISE)


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    tree(tmp_path, "1.png")
    for missing in (tmp_path / "photos", tmp_path / "1.png" / "photos"):
        line = f"{missing}: no such file or folder; check the path"
        assert refusal(tmp_path, missing) == line


def test_a_folder_without_images_is_an_error(tmp_path):
    tree(tmp_path, "sub/notes.txt")
    looked_for = "looked for .bmp .jpe .jpeg .jpg .png .tif .tiff .webp"
    for recursive in (False, True):
        line = f"{tmp_path}: no image in it ({looked_for}); check the path"
        assert refusal(tmp_path, recursive=recursive) == line


def test_a_folder_with_images_further_down_only_suggests_recursive(tmp_path):
    tree(tmp_path, "sub/below/1.png")
    assert refusal(tmp_path).endswith("; its sub-folders have some: add `recursive`")


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    tree(tmp_path, "1.png", "closed/2.png")
    scandir = os.scandir

    def closed_to_us(path: Path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed_to_us)
    line = f"{tmp_path / 'closed'}: cannot list it: permission denied; check its rights"
    assert refusal(tmp_path, recursive=True) == line
    assert relatives(tmp_path) == ["1.png"]


def test_a_closed_sub_folder_does_not_hide_that_there_is_no_image(tmp_path, monkeypatch):
    tree(tmp_path, "closed/2.png")
    scandir = os.scandir

    def closed_to_us(path: Path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed_to_us)
    assert refusal(tmp_path).endswith("; check the path")
