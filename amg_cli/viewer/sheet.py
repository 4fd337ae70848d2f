"""A contact sheet: pictures in rows, each with its name below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.image import as_rgb

FULL_WIDTH_PX, LEAST_WIDTH_PX = 1600, 160
MARGIN, GAP = 1 / 50, 1 / 100  # of the width: around all, and between pictures side by side
ASPECT = 4 / 3  # of a sheet, width by height, as far as it can be had
LEAST_ROW_PX = 120  # of which a picture can still be told
HIGHEST_ROW = 0.65  # of the width
LOOSE = 1.3  # a row that would be so much higher than wanted does not fill the width
NARROWEST, WIDEST = 0.4, 6.0  # place that a picture has, width by height; it lies inside that
ENLARGED = 2.0  # at most
CAPTION_PX, CAPTION_GAP_PX = 13, 10  # room for a name, and the space over it
GROUND, INK = (250, 250, 248), (64, 64, 64)
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


@dataclass(frozen=True)
class _Place:
    """What a picture is given. aspect: width by height; most: height past which it grows no more"""

    aspect: float
    most: float

    @staticmethod
    def of(picture: NDArray[np.uint8]) -> _Place:
        """That of (h, w, 3)."""
        height, width = picture.shape[:2]
        aspect = min(max(width / height, NARROWEST), WIDEST)
        return _Place(aspect, ENLARGED * max(height, width / aspect))

    def width(self, height: float) -> float:
        """In a row of that height."""
        return self.aspect * min(height, self.most)


@dataclass(frozen=True)
class _Row:
    """Pictures `first` to `end`, exclusive, side by side and of one height if they can be."""

    first: int
    end: int
    height: float


@dataclass(frozen=True)
class _Room:
    """What rows have, in pixels: the width inside the margins, and gaps."""

    width: int
    gap: int

    @staticmethod
    def of(width_px: int) -> _Room:
        """That of a sheet."""
        margin, gap = (max(6, round(share * width_px)) for share in (MARGIN, GAP))
        return _Room(width_px - 2 * margin, gap)

    def filled_by(self, places: Sequence[_Place]) -> float:
        """The height of a row that fills the width; where none does, the highest there can be."""
        left: float = self.width - self.gap * (len(places) - 1)
        aspects = sum(place.aspect for place in places)
        height = 1.0
        for place in sorted(places, key=lambda place: place.most):
            height = max(1.0, left / aspects)
            if height <= place.most:
                return height
            height = place.most
            left, aspects = left - place.width(height), aspects - place.aspect
        return height

    def used_by(self, places: Sequence[_Place], height: float) -> float:
        """The width of a row."""
        return sum(place.width(height) for place in places) + self.gap * (len(places) - 1)


def sheet(
    pictures: Sequence[tuple[str, NDArray[np.uint8]]], width_px: int = FULL_WIDTH_PX
) -> NDArray[np.uint8]:
    """Pictures in their order, in rows that fill the width. -> (H, width_px, 3) uint8, RGB

    pictures: names, and (h, w, 3) uint8 in RGB of any size; at least one
    A name that is too long is shortened in its middle; characters that OpenCV's fonts lack are "?".
    Raises ValueError for no picture, or a sheet too narrow for one, and as `draw` for what is none.
    """
    if not pictures:
        raise ValueError("pictures: at least one is wanted")
    if width_px < LEAST_WIDTH_PX:
        raise ValueError(f"width_px: {LEAST_WIDTH_PX} or more is wanted, not {width_px}")
    shown = [(name, as_rgb(picture)) for name, picture in pictures]
    places = [_Place.of(picture) for _, picture in shown]
    room = _Room.of(width_px)
    rows = _best_rows(places, room)
    margin = (width_px - room.width) // 2
    below = CAPTION_GAP_PX + CAPTION_PX + room.gap
    height = 2 * margin + sum(round(row.height) + below for row in rows) - room.gap
    canvas = np.full((height, width_px, 3), GROUND, np.uint8)
    top = margin
    for row in rows:
        bottom = top + round(row.height)
        of_row = slice(row.first, row.end)
        sides = _sides(places[of_row], row.height, room)
        for (name, picture), (left, right) in zip(shown[of_row], sides, strict=True):
            _put(canvas[top:bottom, margin + left : margin + right], picture)
            _write(canvas, name, (margin + left, margin + right), bottom)
        top = bottom + below
    return canvas


def _best_rows(places: Sequence[_Place], room: _Room) -> list[_Row]:
    """Rows much of a height, on a sheet whose aspect is near `ASPECT`."""

    def fault(rows: list[_Row], cost: float) -> float:
        """How far it is from what is wanted."""
        height = sum(row.height + room.gap + CAPTION_GAP_PX + CAPTION_PX for row in rows)
        return math.log(room.width / height / ASPECT) ** 2 + 3 * cost / len(rows)

    highest = max(LEAST_ROW_PX, HIGHEST_ROW * room.width)
    heights = np.geomspace(LEAST_ROW_PX, highest, 16).tolist()
    return min((_rows(places, room, wanted) for wanted in heights), key=lambda it: fault(*it))[0]


def _rows(places: Sequence[_Place], room: _Room, wanted: float) -> tuple[list[_Row], float]:
    """The division into rows with the least against it, and how much that is."""
    nb = len(places)
    best: list[tuple[list[_Row], float]] = [([], 0.0), *(([], math.inf) for _ in places)]
    for first in range(nb):
        rows, before = best[first]
        for row, cost in _rows_from(first, places, room, wanted):
            if before + cost < best[row.end][1]:
                best[row.end] = [*rows, row], before + cost
    return best[nb]


def _rows_from(
    first: int, places: Sequence[_Place], room: _Room, wanted: float
) -> Iterator[tuple[_Row, float]]:
    """The rows that can begin with a picture, each with what speaks against it."""
    for end in range(first + 1, len(places) + 1):
        row = places[first:end]
        full = room.filled_by(row)
        height = full if full <= LOOSE * wanted else wanted
        height = min(height, max(place.most for place in row))
        unused = 1 - room.used_by(row, height) / room.width
        uneven = 3 * sum(1 - min(1, place.most / height) for place in row) / len(row)
        of_last = 1 if end == len(places) else 4
        yield _Row(first, end, height), of_last * unused + uneven + math.log(height / wanted) ** 2
        if full < wanted / 2:
            return


def _sides(places: Sequence[_Place], height: float, room: _Room) -> list[tuple[int, int]]:
    """Left and right of each place in a row, which is in the middle if it does not fill it."""
    left = (room.width - room.used_by(places, height)) / 2
    sides = []
    for place in places:
        right = left + place.width(height)
        sides.append((round(left), round(right)))
        left = right + room.gap
    return sides


def _put(place: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    """A picture in its place, as large as it fits, down at its name."""
    height, width = place.shape[:2]
    ratios = width / picture.shape[1], height / picture.shape[0]
    scale = min(*ratios, ENLARGED)
    # A pixel of rounding is no margin.
    w, h = (
        side if abs(scale * of_picture - side) < 1.5 else max(1, round(scale * of_picture))
        for side, of_picture in ((width, picture.shape[1]), (height, picture.shape[0]))
    )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    left = (width - w) // 2
    sized = cv2.resize(np.ascontiguousarray(picture), (w, h), interpolation=how)
    place[height - h :, left : left + w] = sized


def _write(canvas: NDArray[np.uint8], name: str, left_right: tuple[int, int], bottom: int) -> None:
    """A picture's name, in the middle below it."""
    left, right = left_right
    text = shortened(name, right - left)
    x = left + (right - left - _width_px(text)) // 2
    at = x, bottom + CAPTION_GAP_PX + CAPTION_PX - 3
    cv2.putText(canvas, text, at, FONT, FONT_SCALE, INK, 1, cv2.LINE_AA)


def shortened(name: str, width_px: int) -> str:
    """A name in characters of the font, its middle left out where it is wider than that."""
    text = "".join(c if " " <= c <= "~" else "?" for c in name)
    kept = len(text)
    short = text
    while _width_px(short) > width_px and kept > 0:
        kept -= 1
        end = kept // 2  # of which the suffix is
        short = f"{text[: kept - end]}...{text[len(text) - end :]}"
    return short if kept else ""


def _width_px(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    return width
