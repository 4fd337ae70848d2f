"""`--preview FILE`: a picture of the latest image of a run, for a viewer that loads it again."""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from amg_cli import draw
from amg_cli.batch import live_preview
from amg_cli.batch.live_preview import LivePreview, check_preview
from amg_cli.batch.reading import Reading, read_image
from amg_cli.batch.sources.images import discover
from amg_cli.core import rle
from amg_cli.core.errors import OutputError
from amg_cli.core.mask import Mask
from amg_cli.formats import ndjson
from amg_cli.formats.result import Result
from tests.command import SMALL_MODEL, amg, error_lines, save, visible
from tests.conftest import REPOSITORY

POINTS = ["--points-per-side", "4", "--pred-iou-thresh", "0.5", "--stability-score-thresh", "0.5"]
COFFEE = cv2.imread(str(REPOSITORY / "examples/images/coffee.jpg"))
WIDTHS = {"a": 150, "b": 160, "c": 170}


@pytest.fixture
def photos(tmp_path):
    """Three of different widths, by which they are told apart."""
    for name, width in WIDTHS.items():
        save(tmp_path / f"photos/{name}.png", cv2.resize(COFFEE, (width, 100)))
    return tmp_path / "photos"


def result_of(path):
    """One mask, a corner of the image."""
    size_hw = cv2.imread(str(path)).shape[:2]
    pixels = np.zeros(size_hw, bool)
    pixels[:30, :40] = True
    found = rle.encode(pixels)
    mask = Mask(found, rle.box(found), 0.9, 0.95)
    return Result(1, path.stem, path.name, size_hw, [mask], source=str(path))


def overlay_of(result):
    return draw(read_image(Path(result.source)), result.masks)


def shown(path):
    return cv2.imread(str(path))[..., ::-1]


def preview_at(path, warnings, **more):
    return LivePreview(path, Reading(), warnings.append, **more)


@pytest.fixture
def results(photos):
    return [result_of(photos / f"{name}.png") for name in WIDTHS]


def test_the_latest_image_is_shown_with_its_masks_at_once(results, tmp_path):
    warnings = []
    preview = preview_at(tmp_path / "now.png", warnings, every_s=0)
    for result in results:
        preview.add(result)
        assert np.array_equal(shown(tmp_path / "now.png"), overlay_of(result))
        assert visible(tmp_path) == ["now.png", "photos"]
    assert sorted(tmp_path.glob(".*")) == []
    assert warnings == []


def test_it_is_drawn_once_a_second_and_the_last_image_always(results, tmp_path, monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(live_preview.time, "monotonic", lambda: now_s)
    path = tmp_path / "now.png"
    preview = preview_at(path, [])

    def width():
        return shown(path).shape[1]

    preview.add(results[0])
    assert width() == 150
    now_s = 100.9
    preview.add(results[1])
    preview.add(None)  # one that failed
    assert width() == 150
    now_s = 101.0
    preview.add(results[2])
    assert width() == 170
    preview.add(results[1])
    assert width() == 170
    preview.finish()
    assert width() == 160
    os.utime(path, (0, 0))
    preview.finish()
    assert path.stat().st_mtime == 0  # nothing is left to draw


@pytest.mark.parametrize("name", ["now.jpg", "NOW.JPEG", "deep/er/now.PNG"])
def test_the_suffix_says_the_format(name, results, tmp_path):
    path = tmp_path / name
    preview_at(path, []).add(results[0])
    start = path.read_bytes()[:4]
    assert start == (b"\x89PNG" if name.lower().endswith("png") else b"\xff\xd8\xff\xe0")


def test_pixels_that_are_at_hand_are_not_read_again(results, tmp_path):
    pixels = np.full((100, 150, 3), 77, np.uint8)
    held = Result(1, "a", "a", (100, 150), results[0].masks, source="gone", image_rgb=pixels)
    preview_at(tmp_path / "now.png", []).add(held)
    assert np.array_equal(shown(tmp_path / "now.png"), draw(pixels, held.masks))


def test_a_large_image_is_shown_small(tmp_path):
    save(tmp_path / "large.png", np.zeros((30, 4001, 3), np.uint8))
    preview_at(tmp_path / "now.png", []).add(result_of(tmp_path / "large.png"))
    assert shown(tmp_path / "now.png").shape == (15, 2000, 3)


def test_what_goes_wrong_later_is_one_warning_and_mends_itself(results, tmp_path):
    warnings = []
    preview = preview_at(tmp_path / "now.png", warnings, every_s=0)
    (tmp_path / "now.png").mkdir()
    (tmp_path / "now.png/kept").touch()
    for result in results:
        preview.add(result)
    assert [str(warning) for warning in warnings] == [
        f"{tmp_path}/now.png: the preview cannot be drawn: {tmp_path}/now.png: is a folder; "
        "the run goes on"
    ]
    assert (tmp_path / "now.png/kept").exists()
    (tmp_path / "now.png/kept").unlink()
    (tmp_path / "now.png").rmdir()
    preview.add(results[0])
    assert shown(tmp_path / "now.png").shape[1] == 150


def test_an_image_that_has_changed_or_is_the_file_is_not_drawn(results, photos, tmp_path):
    for spoil, words in (
        (lambda: save(photos / "a.png", COFFEE), "masks: of the image's 600 x 400 pixels"),
        (lambda: (photos / "a.png").unlink(), "a.png: no such file"),
    ):
        spoil()
        warnings = []
        preview_at(tmp_path / "now.png", warnings).add(results[0])
        assert words in warnings[0].cause
        assert not (tmp_path / "now.png").exists()
    before = (photos / "b.png").read_bytes()
    preview_at(photos / "b.png", warnings).add(results[1])
    assert "is one of the images" in warnings[-1].cause
    assert (photos / "b.png").read_bytes() == before


def test_without_a_file_nothing_is_done(results):
    preview = preview_at(None, [])
    preview.add(results[0])
    preview.finish()


# Before a run


def test_a_file_that_can_be_written_passes_and_leaves_nothing(photos, tmp_path):
    check_preview(tmp_path / "new/now.png", discover([photos], False), [photos], tmp_path / "out")
    assert list((tmp_path / "new").iterdir()) == []


def refusal(path, *arguments):
    with pytest.raises(OutputError) as caught:
        check_preview(path, *arguments)
    return str(caught.value)


def test_what_cannot_be_written_or_is_in_the_way_is_one_line(photos, tmp_path):
    sources = discover([photos], False)
    assert refusal(photos, sources) == f"{photos}: is a folder; give `preview` a file"
    link = tmp_path / "link.png"
    link.symlink_to(photos / "b.png")
    for path in (photos / "b.png", link):
        assert refusal(path, sources) == f"{path}: is one of the images; give another `preview`"
    (tmp_path / "file").touch()
    inside = tmp_path / "file/now.png"
    assert refusal(inside).startswith(f"{inside}: cannot make its folder: ")
    if sys.platform == "linux":
        assert refusal(Path("/proc/now.png")).startswith("/proc/now.png: cannot write to it: ")


def test_a_later_run_must_not_take_the_file_for_an_image(photos, tmp_path):
    wanted = f"{photos}/now.png: would be taken for an image of {photos} when that is read again"
    assert refusal(photos / "now.png", (), [photos]).startswith(wanted)
    deep = photos / "sub/now.png"
    check_preview(deep, (), [photos])
    assert "would be taken" in refusal(deep, (), [photos], tmp_path / "out", True)
    check_preview(deep, (), [photos], photos / "sub", True)  # outputs are not looked at
    check_preview(photos / ".now.png", (), [photos])
    check_preview(tmp_path / "now.png", (), [photos / "a.png"])


# The command


def run(photos, *more):
    given = [*SMALL_MODEL, *POINTS, "--input", "photos", "--preview", "now.png"]
    return amg(*given, *more, cwd=photos.parent)


def last_of(lines):
    """The overlay of the last image of ndjson."""
    result = list(ndjson.read(lines))[-1]
    return draw(read_image(lines.parent.parent / "photos" / result.file_name), result.masks)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_leaves_the_picture_of_its_last_image(workers, photos):
    arguments = ["--output", "out", "--format", "ndjson", "--workers", workers]
    result = run(photos, *arguments)
    assert (result.returncode, error_lines(result)[1:]) == (0, [])
    assert result.stdout == "out/masks.ndjson\n"
    picture = shown(photos.parent / "now.png")
    assert np.array_equal(picture, last_of(photos.parent / "out/masks.ndjson"))
    assert picture.shape[1] == WIDTHS["c"]
    assert not np.array_equal(picture, read_image(photos / "c.png"))
    # It is no setting: the run goes on without, has nothing left, and then draws nothing.
    os.utime(photos.parent / "now.png", (0, 0))
    again = amg(*SMALL_MODEL, *POINTS, "--input", "photos", *arguments, cwd=photos.parent)
    assert "3 done before" in again.stderr
    assert run(photos, *arguments).returncode == 0
    assert (photos.parent / "now.png").stat().st_mtime == 0


def test_stdout_has_its_lines_and_a_picture_comes_beside(photos):
    (photos / "d.png").write_bytes(b"none")
    result = run(photos, "--output", "-")
    assert result.returncode == 3
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file_name"] for line in lines] == [f"photos/{name}.png" for name in "abcd"]
    assert shown(photos.parent / "now.png").shape[1] == WIDTHS["c"]
    assert visible(photos.parent) == ["now.png", "photos"]


def test_boxes_and_labels_have_one_too(photos):
    folder = photos.parent
    lines = [{"image": f"{name}.png", "box": [40, 20, 110, 80]} for name in "ab"]
    (folder / "boxes.ndjson").write_text("\n".join(map(json.dumps, lines)))
    given = ["--detections", "boxes.ndjson", "--input", "photos", "--preview", "now.png"]
    arguments = [*given, "--output", "out", "--format", "ndjson", *SMALL_MODEL]
    result = amg("boxes", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert shown(folder / "now.png").shape[1] == WIDTHS["c"]
    (folder / "mine.py").write_text((REPOSITORY / "tests/colour_encoder.py").read_text())
    naming = ["--classes", "red,green", "--text-encoder", "mine:encoder", "--preview", "named.jpg"]
    result = amg("label", "out", "--output", "new", "--format", "coco", *naming, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert shown(folder / "named.jpg").shape[1] == WIDTHS["c"]


@pytest.mark.parametrize(
    ("file", "exit_code", "line"),
    [
        ("now.gif", 2, "'now.gif' is no .jpg and no .png, which a picture can be"),
        ("now", 2, "'now' is no .jpg and no .png, which a picture can be"),
        ("-", 2, "'-' is no .jpg and no .png, which a picture can be"),
        ("photos/b.png", 1, "photos/b.png: is one of the images; give another --preview"),
        ("photos/new.png", 1, "amg: photos/new.png: would be taken for an image of photos when"),
        ("photos/a.png/now.png", 1, "photos/a.png/now.png: cannot make its folder: "),
    ],
)
def test_a_wrong_file_is_said_before_anything_is_made(file, exit_code, line, photos):
    before = (photos / "b.png").read_bytes()
    result = run(photos, "--output", "out", "--preview", file)
    assert result.returncode == exit_code
    assert line in result.stderr
    assert visible(photos.parent) == ["photos"]
    assert (photos / "b.png").read_bytes() == before
    assert visible(photos) == ["a.png", "b.png", "c.png"]


def test_edges_have_none(photos):
    result = amg("edges", "--input", "photos", "--output", "e", "--preview", "e.png", cwd=photos)
    assert result.returncode == 2
    assert "No such option" in result.stderr
