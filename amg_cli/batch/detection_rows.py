"""One box of a file of any layout, checked: what is wrong with it is a ValueError."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from amg_cli.batch.image_names import tidy
from amg_cli.core.errors import briefly, in_short

KEYS = ("image", "box", "category", "score")
CORNERS = ("x0", "y0", "x1", "y1")
COLUMNS = ("image", *CORNERS, "category", "score")

_MAX_SHOWN = 60


class Row(NamedTuple):
    """A box in pixels. image, category: a name or an id; score: nan where there is none."""

    image: str | int
    box_xyxy: tuple[float, float, float, float]
    category: str | int | None
    score: float


def of_result(record: Any) -> Row:
    """Of a COCO result. Category and score may be missing; what else it has is not looked at."""
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object is wanted, not {briefly(record)}")
    return Row(
        _id(record, "image_id"),
        _box(record, "bbox"),
        _category_id(record.get("category_id")),
        _score(record.get("score")),
    )


def of_annotation(record: Any) -> Row | None:
    """Of an annotation of a COCO data set, which is as a result; None of a crowd, no object."""
    is_crowd = isinstance(record, dict) and record.get("iscrowd")
    return None if is_crowd else of_result(record)


def of_line(line: bytes) -> Row:
    """Of a line of JSON."""
    try:
        values = json.loads(line.decode("utf-8").rstrip())
    except json.JSONDecodeError as error:
        raise ValueError(f"damaged JSON: {error.msg} at character {error.pos + 1}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(values, dict):
        raise ValueError(f"a JSON object is wanted, not {briefly(values)}")
    if unknown := values.keys() - set(KEYS):
        raise ValueError(f"{in_short(min(unknown))} is not known; known are {', '.join(KEYS)}")
    return Row(_image(values), _box(values, "box"), _category(values), _score(values.get("score")))


def of_table(header: Sequence[str], line: bytes) -> Row:
    """Of a line of CSV below such a header, which has all but category and score for certain."""
    found = cells(line)
    if len(found) != len(header):
        raise ValueError(f"{len(header)} columns are wanted, not {len(found)}")
    values: dict[str, Any] = dict(zip(header, found, strict=True))
    values["box"] = [_number_in(values[name]) for name in CORNERS]
    score = values.get("score") or None
    return Row(
        _image(values),
        _box(values, "box"),
        values.get("category") or None,
        _score(score if score is None else _number_in(score)),
    )


def cells(line: bytes) -> list[str]:
    """What a line of CSV has. Of a name that is no UTF-8, the bytes are kept, as Python's files."""
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    try:
        # Each line by itself: a lone quotation mark would take the lines below it for its own.
        return next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"damaged CSV: {error}") from error


def whole(value: Any) -> int | None:
    """A whole number of JSON, where 12.0 is 12, and true is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number_in(text: str) -> float | str:
    """Of a cell; the text itself where it is no number."""
    try:
        return text if "_" in text else float(text)  # Python would take 1_000
    except ValueError:
        return text


def _finite(value: Any) -> float | None:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:  # of 400 digits
            return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _box(record: dict[str, Any], key: str) -> tuple[float, float, float, float]:
    """The corners; `bbox` has a corner, width and height."""
    values = record.get(key)
    if values is None:
        raise ValueError(f"{key}: is missing")
    numbers = [_finite(value) for value in values] if isinstance(values, list) else []
    x0, y0, x1, y1 = numbers if len(numbers) == 4 else (None,) * 4
    if x0 is None or y0 is None or x1 is None or y1 is None:
        shown = in_short(values)[:_MAX_SHOWN]
        raise ValueError(f"{key}: four finite numbers are wanted, not {shown}")
    right, bottom = (x0 + x1, y0 + y1) if key == "bbox" else (x1, y1)
    if x0 < right < math.inf and y0 < bottom < math.inf:
        return x0, y0, right, bottom
    why = "reaches out of all numbers" if math.inf in (right, bottom) else "has no area"
    raise ValueError(f"the {key} {x0:g},{y0:g},{x1:g},{y1:g} {why}")


def _image(values: dict[str, Any]) -> str:
    name = values.get("image")
    if name is None or name == "":
        raise ValueError("image: is missing")
    if not isinstance(name, str):
        raise ValueError(f"image: a path is wanted, not {briefly(name)}")
    return tidy(name)


def _id(record: dict[str, Any], key: str) -> str | int:
    value = record.get(key)
    if value is None or value == "":
        raise ValueError(f"{key}: is missing")
    number = value if isinstance(value, str) else whole(value)
    if number is None:
        raise ValueError(f"{key}: a whole number or text is wanted, not {briefly(value)}")
    return number


def _category_id(value: Any) -> int | None:
    number = whole(value)
    if value is not None and number is None:
        raise ValueError(f"category_id: a whole number is wanted, not {briefly(value)}")
    return number


def _category(values: dict[str, Any]) -> str | None:
    value = values.get("category")
    if value is None or isinstance(value, str):
        return value or None
    number = whole(value)
    if number is None:
        raise ValueError(f"category: text or a whole number is wanted, not {briefly(value)}")
    return str(number)


def _score(value: Any) -> float:
    if value is None:
        return math.nan
    score = _finite(value)
    if score is None:
        raise ValueError(f"score: a finite number is wanted, not {briefly(value)}")
    return score
