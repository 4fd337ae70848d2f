"""Contact sheets: where pictures lie, and what their names become."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from amg_cli.viewer.sheet import GROUND, LEAST_WIDTH_PX, sheet, shortened

RED = (200, 30, 40)


def picture(height, width, colour=RED):
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))


def colours(count):
    """Colours that are far apart, and from the ground and the names."""
    hues = np.array([[(i * 180 // count, 255, 200) for i in range(count)]], np.uint8)
    return [tuple(map(int, rgb)) for rgb in cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)[0]]


def box_of(drawn, colour):
    """Left, top, right and bottom of what has a colour, which must fill it."""
    there = (drawn == colour).all(axis=2)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    box = columns[0], rows[0], columns[-1], rows[-1]
    assert there.sum() == (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
    return tuple(map(int, box))


SIZES = [(480, 640), (640, 427), (300, 900), (480, 640), (1000, 1000), (375, 500), (3000, 4000)]


@pytest.mark.parametrize("width_px", [300, 1600])
@pytest.mark.parametrize("count", [1, 2, 7, 24])
def test_every_picture_is_there_whole_in_order_and_apart(count, width_px):
    sizes = (SIZES * 4)[:count]
    given = [
        (f"{i}.jpg", picture(*size, colour))
        for i, (size, colour) in enumerate(zip(sizes, colours(count), strict=True))
    ]
    drawn = sheet(given, width_px)
    assert drawn.shape[1] == width_px
    assert drawn.dtype == np.uint8
    boxes = [box_of(drawn, colour) for colour in colours(count)]
    for (x0, y0, x1, y1), (height, width) in zip(boxes, sizes, strict=True):
        assert (x1 - x0 + 1) / (y1 - y0 + 1) == pytest.approx(width / height, rel=0.04)
        assert min(x0, y0, width_px - 1 - x1) >= 5
        assert drawn.shape[0] - y1 > 15  # room for its name
    for before, after in pairwise(boxes):
        same_row = after[3] == before[3]
        assert after[0] > before[2] + 2 if same_row else after[1] > before[3] + 15
    if count >= 7:  # rows fill the width, but for the last
        assert max(box[2] for box in boxes) > 0.9 * width_px


def test_a_name_is_below_its_picture():
    drawn = sheet([("photo.jpg", picture(480, 640))], 800)
    left, _, right, bottom = box_of(drawn, RED)
    rest = np.ones(drawn.shape[:2], bool)
    rest[: bottom + 1, left : right + 1] = False
    ink = rest & (np.abs(drawn.astype(int) - GROUND).sum(axis=2) > 200)
    rows, columns = np.nonzero(ink)
    assert len(rows) > 50
    assert bottom < rows.min()
    assert rows.max() < drawn.shape[0] - 3
    assert abs((columns.min() + columns.max()) / 2 - (left + right) / 2) < 3


def test_small_pictures_are_not_blown_up():
    drawn = sheet([("a", picture(30, 40))], 1600)
    left, top, right, bottom = box_of(drawn, RED)
    assert (right - left + 1, bottom - top + 1) == (80, 60)
    assert drawn.shape[0] < 150


def test_panoramas_and_towers_lie_whole_in_their_places():
    given = [("pan", picture(100, 3000)), ("tower", picture(3000, 100, (20, 30, 200)))]
    drawn = sheet(given, 1000)
    left, top, right, bottom = box_of(drawn, RED)
    assert (right - left + 1) / (bottom - top + 1) == pytest.approx(30, rel=0.1)
    left, top, right, bottom = box_of(drawn, (20, 30, 200))
    assert (bottom - top + 1) / (right - left + 1) == pytest.approx(30, rel=0.1)
    assert drawn.shape[0] < 1500


def test_names_are_shortened_in_the_middle_and_lack_what_fonts_lack():
    assert shortened("a b.jpg", 500) == "a b.jpg"
    assert shortened("é圖\n.jpg", 500) == "???.jpg"
    long = "a photograph with a very long name indeed.jpeg"
    short = shortened(long, 160)
    begin, end = short.split("...")
    assert len(short) < len(long)
    assert len(begin) > 3
    assert long.startswith(begin)
    assert long.endswith(end)
    assert end.endswith(".jpeg")
    assert shortened(long, 3) == ""


def test_a_sheet_of_nothing_or_of_no_width_is_refused():
    with pytest.raises(ValueError, match="at least one is wanted"):
        sheet([])
    with pytest.raises(ValueError, match="width_px: 160 or more is wanted, not 159"):
        sheet([("a", picture(9, 9))], LEAST_WIDTH_PX - 1)
    with pytest.raises(ValueError, match="image_rgb"):
        sheet([("a", np.zeros((9, 9, 3)))])
    assert sheet([("a", np.zeros((9, 9), np.uint8))]).shape[1] == 1600
