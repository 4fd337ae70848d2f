"""Images that are read, but of which something must be said: damage, and one almost black."""

import os
import struct
import sys
import threading

import cv2
import numpy as np
import pytest

from amg_cli.batch.decoder_lines import damage, taken_from_stderr
from amg_cli.batch.headers import is_16_bit
from amg_cli.batch.reading import Reading, read_image, read_picture
from amg_cli.core.errors import ImageError
from tests.command import error_lines, save
from tests.image_bytes import png_chunk

DARK = "16 bits a channel, whose high byte, which is taken, is all but empty"
TOO_SOON = "its data ends too soon; the rest of the picture is made up"


@pytest.fixture
def damaged_jpeg(noise):
    """A JPEG with bytes changed inside its data, of which libjpeg has something to say."""
    data = bytearray(cv2.imencode(".jpg", cv2.resize(noise, (900, 600)))[1].tobytes())
    start = data.index(b"\xff\xda") + 500
    data[start : start + 40] = bytes(40)
    return bytes(data)


def warnings_of(path, **reading):
    return [fault.cause for fault in read_picture(path, Reading(**reading)).warnings]


# What decoders print


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("Corrupt JPEG data: 29 extraneous bytes before marker 0xd9",
         "29 bytes of its data belong to nothing; a part may be wrong"),
        ("Corrupt JPEG data: premature end of data segment", TOO_SOON),
        ("Premature end of JPEG file", TOO_SOON),
        ("Corrupt JPEG data: bad Huffman code",
         "damaged data; a part of the picture may be wrong"),
        ("Inconsistent progression sequence for component 0 coefficient 1",
         "damaged data; a part of the picture may be wrong"),
        ("libpng warning: iCCP: known incorrect sRGB profile", ""),
        ("Warning: unknown JFIF revision number 2.01", ""),
    ],
)  # fmt: skip
def test_a_decoders_line_is_told_in_words(line, meaning):
    assert damage([line]) == meaning
    assert damage(["another", line]) == meaning


def test_what_is_printed_to_stderr_is_taken_and_what_comes_later_is_not(capfd):
    with taken_from_stderr() as lines:
        os.write(2, b"inside\n" * 30_000)  # more than a pipe holds
    os.write(2, b"outside\n")
    assert lines == ["inside"] * 30_000
    assert capfd.readouterr().err == "outside\n"


def test_an_error_inside_gives_stderr_back(capfd):
    def fail():
        with taken_from_stderr():
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    os.write(2, b"outside\n")
    assert capfd.readouterr().err == "outside\n"


def test_two_threads_take_their_own_lines(capfd):
    found = {}

    def take(name):
        for _ in range(50):
            with taken_from_stderr() as lines:
                os.write(2, name.encode() + b"\n")
            found.setdefault(name, []).extend(lines)

    threads = [threading.Thread(target=take, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": ["a"] * 50, "b": ["b"] * 50}
    assert capfd.readouterr().err == ""


def test_a_damaged_jpeg_is_read_with_a_warning_and_nothing_reaches_stderr(
    write, damaged_jpeg, capfd
):
    path = write(damaged_jpeg)
    picture = read_picture(path, Reading())
    assert picture.pixels.shape == (600, 900, 3)
    assert len(picture.warnings) == 1
    assert capfd.readouterr().err == ""
    with pytest.raises(ImageError) as caught:
        read_picture(path, Reading(strict=True))
    cause, remedy = picture.warnings[0]
    assert str(caught.value) == f"{path}: {cause}; {remedy}"


def test_a_cut_jpeg_that_a_tool_has_closed_is_known_by_its_decoder(write, noise):
    data = cv2.imencode(".jpg", cv2.resize(noise, (900, 600)))[1].tobytes()
    assert warnings_of(write(data)) == []
    assert warnings_of(write(data[: len(data) // 2] + b"\xff\xd9")) == [TOO_SOON]


def test_odd_metadata_is_nothing_to_warn_of(write, noise, capfd):
    data = cv2.imencode(".png", noise)[1].tobytes()
    path = write(data[:33] + png_chunk(b"gAMA", b"1") + data[33:])
    assert warnings_of(path, strict=True) == []
    assert capfd.readouterr().err == ""


def test_the_run_reports_it_once_by_file_and_strict_makes_it_an_error(
    run, tmp_path, noise, damaged_jpeg
):
    save(tmp_path / "photos/a.png", noise)
    (tmp_path / "photos/b.jpg").write_bytes(damaged_jpeg)
    result = run("--input", "photos", "--output", "out")
    assert (result.returncode, result.stdout) == (0, "out/a\nout/b\n")
    (line,) = error_lines(result)
    assert line.startswith("amg: warning: photos/b.jpg: ")
    assert "0 failed, 1 with a warning, in " in result.stderr
    quiet = run("--input", "photos", "--output", "quiet", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    strict = run("--input", "photos", "--output", "strict", "--strict")
    assert (strict.returncode, strict.stdout) == (3, "strict/a\n")
    assert error_lines(strict) == [line.replace("warning: ", "")]


def test_lines_that_were_asked_for_are_passed_on(write, noise):
    import subprocess

    path = write(cv2.imencode(".jpg", noise)[1].tobytes()[:-2] + b"\0\0\xff\xd9")
    script = "import sys; from pathlib import Path\n"
    script += "from amg_cli.batch.reading import read_image; read_image(Path(sys.argv[1]))"
    for level, shown in (("WARNING", True), (None, False)):
        environment = {k: v for k, v in os.environ.items() if k != "OPENCV_LOG_LEVEL"}
        environment |= {"OPENCV_LOG_LEVEL": level} if level else {}
        command = [sys.executable, "-c", script, path]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert ("extraneous bytes" in done.stderr) == shown


# 16 bits


def deep(bits, shape=(40, 60, 3)):
    """A picture of so many bits in values of 16."""
    return np.random.default_rng(bits).integers(0, 2**bits, shape, dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("bits", "dark"), [(8, True), (10, True), (12, True), (14, False), (16, False)]
)
def test_a_camera_image_whose_high_byte_is_empty_has_a_warning(suffix, bits, dark, tmp_path):
    save(tmp_path / f"a{suffix}", deep(bits))
    assert warnings_of(tmp_path / f"a{suffix}") == [DARK] * dark


def test_a_few_broken_pixels_do_not_hide_it(tmp_path):
    picture = deep(12)
    picture[3, 4] = 65535
    save(tmp_path / "a.png", picture)
    assert warnings_of(tmp_path / "a.png") == [DARK]


def test_a_dark_picture_of_8_bits_is_just_dark(tmp_path, noise):
    save(tmp_path / "a.png", noise // 64)
    assert warnings_of(tmp_path / "a.png", strict=True) == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_stretch_scales_16_bits_by_their_range(suffix, channels, tmp_path):
    picture = (
        deep(12)[..., :1] if channels == 1 else np.dstack([deep(12), deep(12)])[..., :channels]
    )
    picture = picture // 2 + 100
    save(tmp_path / f"a{suffix}", picture)
    pixels = read_picture(tmp_path / f"a{suffix}", Reading(stretch=True)).pixels
    colours = picture[..., :3].astype(float)
    wanted = np.rint((colours - colours.min()) * 255 / (colours.max() - colours.min()))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert pixels.shape == (40, 60, 3)
    if suffix == ".png" or channels < 4:  # OpenCV multiplies an RGBA TIFF by its transparency
        assert np.array_equal(pixels, np.broadcast_to(wanted[..., ::-1], pixels.shape))


def test_stretch_leaves_8_bits_alone_and_takes_a_picture_of_one_value(tmp_path, noise):
    save(tmp_path / "a.png", noise // 2)
    save(tmp_path / "b.png", np.full((4, 5), 700, np.uint16))
    stretched = read_picture(tmp_path / "a.png", Reading(stretch=True)).pixels
    assert np.array_equal(stretched, read_image(tmp_path / "a.png"))
    assert not read_picture(tmp_path / "b.png", Reading(stretch=True)).pixels.any()


def test_the_default_is_the_high_byte_as_before(tmp_path):
    save(tmp_path / "a.png", deep(16))
    assert np.array_equal(read_image(tmp_path / "a.png")[..., ::-1], deep(16) >> 8)


def test_which_files_have_16_bits(noise):
    for suffix in (".png", ".tif"):
        assert is_16_bit(cv2.imencode(suffix, deep(16))[1].tobytes())
        assert not is_16_bit(cv2.imencode(suffix, noise)[1].tobytes())
    assert not is_16_bit(cv2.imencode(".jpg", noise)[1].tobytes())
    assert struct.calcsize("H") == 2


def test_stretch_is_an_option_of_the_run(run, tmp_path):
    save(tmp_path / "a.png", deep(12))
    plain = run("--input", "a.png", "--output", "plain")
    assert error_lines(plain) == [f"amg: warning: a.png: {DARK}; give --stretch"]
    stretched = run("--input", "a.png", "--output", "stretched", "--stretch")
    assert error_lines(stretched) == []
