"""Prompts from a file or a pipe, a JSON object a line:

    {"id": "dog", "image": "a.jpg", "points": [[320, 200], [10, 15]], "labels": [1, 0],
     "box": [x0, y0, x1, y1], "mask": "logits.npy", "multimask": false}

All of one line are one prompt, in pixels of the image. What is not given is missing: labels are
then 1, and `multimask` true for a single point, false for all else. `mask` is a file of numpy's
with logits at low resolution, (H', W') or (1, H', W').
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.errors import ImageError, briefly, reason
from amg_cli.generation.prompts import Prompts

KEYS = ("id", "image", "points", "labels", "box", "mask", "multimask")


@dataclass(frozen=True)
class Question:
    """One prompt for one image, or why a line is none.

    where:  the file and line it is from, or the options
    number: of the line, from 1
    id:     what the line calls it
    image:  the file to prompt on; None where the line is wrong
    prompts: N = 1
    """

    where: str
    number: int
    id: Any = None
    image: Path | None = None
    prompts: Prompts = Prompts()  # noqa: RUF009 - it is frozen
    multimask: bool = True
    error: ImageError | None = None


def questions(
    name: str, lines: Iterable[bytes], images: Path, multimask: bool | None = None
) -> Iterator[Question]:
    """The prompts of lines; empty ones are passed over. A wrong one has an error, with its number.

    name: of the file, for errors; images: the folder that images lie in, or the one image
    multimask: of lines that do not say; None for what the prompt is
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _question(f"{name} line {number}", number, line, images, multimask)


def prompt_of(
    points: Any = None, labels: Any = None, box: Any = None, mask: Path | None = None
) -> Prompts:
    """One prompt of the values that a line or the options have; errors as of `Prompts`.

    mask: a file of numpy's. Raises OSError or ValueError where that is none.
    """
    return Prompts(
        points_xy=None if points is None else [points],
        labels=None if labels is None else [labels],
        boxes_xyxy=None if box is None else [box],
        masks=None if mask is None else _logits(mask)[None],
    )


def is_ambiguous(prompts: Prompts) -> bool:
    """Whether a prompt is one point, which may mean a thing or its parts."""
    nb_points = 0 if prompts.points_xy is None else np.shape(prompts.points_xy)[1]
    return nb_points <= 1 and prompts.boxes_xyxy is None and prompts.masks is None


def _question(where: str, number: int, line: bytes, images: Path, usual: bool | None) -> Question:
    """The prompt of a line, or its error."""
    values: Any = {}
    try:
        values = json.loads(line)
        if not isinstance(values, dict):
            raise TypeError(f"a JSON object is wanted, not {briefly(values)}")
        if unknown := values.keys() - set(KEYS):
            raise ValueError(f"{sorted(unknown)[0]!r} is not known; known are {', '.join(KEYS)}")
        image = _image(values, images)
        mask = values.get("mask")
        prompts = prompt_of(
            values.get("points"), values.get("labels"), values.get("box"),
            None if mask is None else Path(mask),
        )  # fmt: skip
        multimask = values.get("multimask", is_ambiguous(prompts) if usual is None else usual)
        if not isinstance(multimask, bool):
            raise TypeError(f"multimask: true or false is wanted, not {briefly(multimask)}")
    except OSError as error:
        cause = f"{error.filename}: {reason(error)}"
    except (ValueError, TypeError, RecursionError) as error:
        cause = str(error)
    else:
        return Question(where, number, values.get("id"), image, prompts, multimask)
    wrong = ImageError(where, cause, "the other lines are done")
    return Question(where, number, _id(values), error=wrong)


def _image(values: Mapping[str, Any], images: Path) -> Path:
    name = values.get("image")
    if name is None:
        if images.is_dir():
            raise ValueError("image: is missing, as a folder is given and not one image")
        return images
    if not isinstance(name, str):
        raise TypeError(f"image: a path is wanted, not {briefly(name)}")
    return (images if images.is_dir() else Path()) / name


def _id(values: Any) -> Any:
    return values.get("id") if isinstance(values, dict) else None


def _logits(path: Path) -> NDArray[Any]:
    """(1, H', W') of a file. Raises OSError or ValueError."""
    try:
        logits = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: no array of numpy's") from error
    if not isinstance(logits, np.ndarray) or logits.ndim not in (2, 3):
        raise ValueError(f"{path}: logits of (H', W') or (1, H', W') are wanted")
    return logits if logits.ndim == 3 else logits[None]
