"""Files of boxes, of any detector or by hand, told apart by what is in them:

    results   [{"image_id": 12, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, …]
    data set  {"images": […], "annotations": [{"image_id": 12, "bbox": […], …}, …], …}
    lines     {"image": "a.jpg", "box": [x0, y0, x1, y1], "category": "dog", "score": 0.9}
    table     image,x0,y0,x1,y1,category,score

The first two are COCO's; the last two have a box a line. All are in pixels of the image, from its
left upper corner. Category and score may be missing.
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from amg_cli.batch import detection_rows as rows
from amg_cli.batch.detection_rows import Row
from amg_cli.batch.json_stream import JsonError, elements
from amg_cli.core.errors import InputError, in_short, reason

Layout = Literal["results", "data set", "lines", "table"]
UNITS: dict[Layout, str] = {
    "results": "detection",
    "data set": "annotation",
    "lines": "line",
    "table": "line",
}

_HEAD_BYTES = 1 << 16
_NEEDED = rows.COLUMNS[:5]  # of a table
_FIRST_KEY = re.compile(r'\s*\{\s*"([^"\\]*)"')


@dataclass(frozen=True)
class DataSet:
    """What the ids of a COCO data set stand for, in its order.

    file_names: of images, by id
    categories: their names, by id; None where the file has no list of them
    """

    file_names: dict[str | int, str]
    categories: dict[str | int, str] | None


class Columns:
    """The boxes of a file in its order, N of them, as ten million have no room as objects.

    unit:       what `numbers` count: lines, detections or annotations
    numbers:    the place of each in the file, from 1
    boxes_xyxy: four numbers each
    scores:     nan for none
    images, categories: indices of each into `image_keys` and `category_keys`; -1 for no category
    faults:     (place, why it is no box) of what was none
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.numbers, self.boxes_xyxy, self.scores = array("q"), array("d"), array("d")
        self.images, self.categories = array("i"), array("i")
        self.image_keys: dict[str | int, int] = {}
        self.category_keys: dict[str | int, int] = {}
        self.faults: list[tuple[int, str]] = []

    def take(self, number: int, row_of: Callable[[Any], Row | None], record: Any) -> None:
        """What `row_of` makes of a record: a box, nothing, or a ValueError, which is a fault."""
        try:
            row = row_of(record)
        except ValueError as error:
            self.faults.append((number, str(error)))
            return
        if row is None:
            return
        self.numbers.append(number)
        self.boxes_xyxy.extend(row.box_xyxy)
        self.scores.append(row.score)
        self.images.append(self.image_keys.setdefault(row.image, len(self.image_keys)))
        category = -1
        if row.category is not None:
            category = self.category_keys.setdefault(row.category, len(self.category_keys))
        self.categories.append(category)


def read_columns(path: Path, data_set: Path | None) -> tuple[Columns, DataSet | None]:
    """The boxes of a file, and what their ids stand for, where it is known.

    data_set: says so of results. Raises InputError for a file that cannot be read, is damaged or
    has no known layout, and for a data set beside a file that is no results.
    """
    with reading(path, "detections"):
        layout = _layout(path)
        columns = Columns(UNITS[layout])
        if data_set is not None and layout != "results":
            cause = "no COCO results, which alone want a data set beside them"
            raise InputError(path, cause, "leave out `data_set`")
        if layout == "data set":
            known = _data_set(path, columns)
            if known is None:
                raise _unknown(path)
            return columns, known
        if layout == "results":
            for _, place, record in _elements(path):
                if place:
                    columns.take(place, rows.of_result, record)
        else:
            _take_lines(path, layout, columns)
    return columns, None if data_set is None else _read_data_set(data_set)


@contextmanager
def reading(path: Path, setting: str) -> Iterator[None]:
    """Inside, what is wrong with the file of a setting is an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(path, reason(error), f"check `{setting}`") from error
    except JsonError as error:
        raise InputError(path, f"damaged JSON: {error}", "write it again") from error


def _layout(path: Path) -> Layout:
    """By the first characters; of an empty file, results, of which there are none."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    if not head or head.startswith(b"["):
        return "results"
    line = head.partition(b"\n")[0]
    layout = _layout_of_object(line, head) if line.startswith(b"{") else _layout_of_table(line)
    if layout is None:
        raise _unknown(path)
    return layout


def _layout_of_object(line: bytes, head: bytes) -> Layout | None:
    """By the keys of the first line; by its first key where it is no whole object."""
    try:
        keys = set(json.loads(line))
    except (ValueError, RecursionError):
        first = _FIRST_KEY.match(head.decode("utf-8", "replace"))
        if first is None or first[1] not in rows.KEYS:
            return "data set"
        return None if "\n" in first[0] else "lines"  # an object of many lines has no numbers
    if keys & {"images", "annotations"}:
        return "data set"
    return "lines" if keys & set(rows.KEYS) or not keys else None


def _layout_of_table(line: bytes) -> Layout | None:
    try:
        return "table" if set(_names(line)) & set(rows.COLUMNS) else None
    except ValueError:
        return None


def _names(line: bytes) -> list[str]:
    """Of columns, in a header."""
    return [name.strip() for name in rows.cells(line)]


def _unknown(path: Path) -> InputError:
    layouts = "COCO results, a COCO data set, JSON lines with image and box, or CSV with a header"
    return InputError(
        path, "no boxes in it that can be read", f"give {layouts} {','.join(_NEEDED)}"
    )


def _take_lines(path: Path, layout: Layout, columns: Columns) -> None:
    """Lines of JSON or a table; empty ones are passed over."""
    row_of: Callable[[Any], Row | None] | None = rows.of_line if layout == "lines" else None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not text.strip():
                continue
            if row_of is None:
                row_of = partial(rows.of_table, _header(path, text))
            else:
                columns.take(number, row_of, text)


def _header(path: Path, line: bytes) -> list[str]:
    names = _names(line)
    known = ", ".join(rows.COLUMNS)
    for name in names:
        if name not in rows.COLUMNS:
            raise InputError(path, f"column {in_short(name)} is not known", f"known are {known}")
        if names.count(name) > 1:
            raise InputError(path, f"two columns {name}", "leave one out")
    for name in _NEEDED:
        if name not in names:
            raise InputError(path, f"column {name} is missing", f"the first line names {known}")
    return names


def _elements(path: Path) -> Iterator[tuple[str, int, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from elements(file)


def _read_data_set(path: Path) -> DataSet:
    with reading(path, "data_set"):
        known = _data_set(path, None)
    if known is None:
        raise InputError(path, "no COCO data set: no list of images", "check `data_set`")
    return known


def _data_set(path: Path, columns: Columns | None) -> DataSet | None:
    """What ids stand for; None where a list is missing. The annotations go to columns, if given."""
    wanted = {"images"} if columns is None else {"images", "annotations"}
    lists = set()
    file_names: dict[str | int, str] = {}
    categories: dict[str | int, str] = {}
    for key, place, value in _elements(path):
        if place == 0:
            lists |= {key} if isinstance(value, list) else set()
        elif key == "images":
            _keep(path, f"{key} {place}", file_names, _id_and_name(value, "file_name"))
        elif key == "categories":
            _keep(path, f"{key} {place}", categories, _id_and_name(value, "name"))
        elif key == "annotations" and columns is not None:
            columns.take(place, rows.of_annotation, value)
    if not wanted <= lists:
        return None
    return DataSet(file_names, categories if "categories" in lists else None)


def _id_and_name(entry: Any, field: str) -> tuple[str | int, str] | None:
    """Of an image, which may have text for an id, or a category; None where either is missing."""
    if not isinstance(entry, dict):
        return None
    key, name = entry.get("id"), entry.get(field)
    if not isinstance(key, str) or field == "name":
        key = rows.whole(key)
    if not isinstance(name, str):
        name = None if rows.whole(name) is None else str(rows.whole(name))
    return (key, name) if key not in (None, "") and name else None


def _keep(
    path: Path, where: str, names: dict[str | int, str], found: tuple[str | int, str] | None
) -> None:
    if found is None:
        raise InputError(path, f"{where}: its id or name is missing", "a COCO data set has both")
    key, name = found
    if key in names:
        raise InputError(path, f"{where}: an id that is there already", "give each its own")
    names[key] = name
