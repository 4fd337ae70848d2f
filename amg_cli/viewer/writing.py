"""A view of a run, written: the page, what it says of each image, and pictures.

    index.html, page/     what is the same for every view
    data/index.js         the run, and a line of each image
    data/7.js             the masks or candidates of the seventh
    photos/7.jpg          what was looked at, no larger than a screen needs
    thumbnails/7.jpg      the same with its masks, for the gallery

Files are numbered, so that no name of an image is part of a path or of HTML.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from amg_cli.core.config import GenerationConfig, settings_of_selecting
from amg_cli.core.drawing import scaled
from amg_cli.core.errors import ImageError
from amg_cli.core.mask import Mask
from amg_cli.formats.pictures import save_rgb
from amg_cli.formats.result import Result
from amg_cli.viewer.pictures import thumbnail
from amg_cli.viewer.records import names_of, of_candidates, of_masks

T = TypeVar("T")

THUMBNAIL_PX = 320
PHOTO_QUALITY, THUMBNAIL_QUALITY = 88, 80
MANY = 90  # of the images' numbers of masks, the percentile from which on they are many
_DEFAULT = GenerationConfig()
_INDEX = Path("data/index.js")
_START = "amg.index="


@dataclass(frozen=True)
class About:
    """What a view says of its run as a whole.

    title:    what the run is called
    command:  that selects its masks anew, up to the options that the page adds
    settings: of `GenerationConfig`, those that the page's sliders begin with, by name
    of_candidates: whether the page selects from candidates; else it shows masks as they are
    own:      of the settings, those that the model has of its own, where no `nms` is given
    note:     what the page says of its command
    against:  what the run is called that it is compared with, if it is
    match_at: the IoU from which on a mask of both runs is the same
    photo_px: the longest side of the photographs
    """

    title: str
    command: str
    settings: Mapping[str, Any]
    of_candidates: bool
    own: Mapping[str, Any]
    note: str | None
    against: str | None
    match_at: float
    photo_px: int


@dataclass(frozen=True)
class Pictured:
    """An image as it is shown.

    result:  with `image_rgb`, where that can be shown, and `candidates`, where the page selects
    against: the masks of the other run
    alone:   how many masks only this run has, and only the other
    """

    result: Result
    against: Sequence[Mask] | None = None
    alone: tuple[int, int] | None = None


@dataclass(frozen=True)
class Unpictured:
    """An image that has failed. file_name: as of `Result`"""

    file_name: str
    error: ImageError


def is_view(folder: Path) -> bool:
    """Whether a folder is a view, which another may take the place of."""
    try:
        with (folder / _INDEX).open("rb") as file:
            return file.read(len(_START)) == _START.encode()
    except OSError:
        return False


def write_view(
    images: Iterable[T],
    pictured: Callable[[T], Pictured | Unpictured],
    folder: Path,
    about: About,
) -> None:
    """Write a view of images, in their order, to a folder that is not there yet.

    pictured: an image as it is shown; called in threads, a few images ahead
    Raises OSError, and what `images` and `pictured` raise.
    """
    with resources.as_file(resources.files("amg_cli.viewer") / "page") as page:
        shutil.copytree(page, folder / "page", ignore=shutil.ignore_patterns("index.html", "__*"))
        shutil.copy(page / "index.html", folder / "index.html")
    for name in ("data", "photos", "thumbnails"):
        (folder / name).mkdir()

    def write(item: tuple[int, T]) -> _Line:
        """One image's files."""
        key, image = item
        found = pictured(image)
        if isinstance(found, Unpictured):
            return _Line(_facts(key, found.file_name, error=f"{found.error.cause}"))
        return _write_image(key, found, folder, about)

    lines = list(_ahead(write, enumerate(images, 1)))
    (folder / _INDEX).write_text(f"{_START}{_json(_index(lines, about))};\n", encoding="ascii")


@dataclass(frozen=True)
class _Line:
    """What the index has of an image; of its columns those that not all have; its floors."""

    facts: dict[str, Any]
    columns: frozenset[str] = frozenset()
    floors: tuple[float, float] = (0.0, 0.0)


def _write_image(key: int, found: Pictured, folder: Path, about: About) -> _Line:
    result, floors = found.result, (0.0, 0.0)
    if about.of_candidates and result.candidates is not None:
        columns = of_candidates(result.candidates)
        kept_over = result.candidates.proposed_with
        if kept_over is not None:
            floors = kept_over.pred_iou_thresh, kept_over.stability_score_thresh
    else:
        columns = of_masks(result.masks)
    record: dict[str, Any] = {"hw": result.image_hw, "masks": columns}
    if found.against is not None:
        record["against"] = of_masks(found.against)
    text = _json(record)
    (folder / f"data/{key}.js").write_text(f"amg.receive({key},{text});\n", encoding="ascii")
    pixels = result.image_rgb
    if pixels is not None:
        small = thumbnail(pixels, result.masks, THUMBNAIL_PX)
        save_rgb(folder / f"thumbnails/{key}.jpg", small, THUMBNAIL_QUALITY)
        save_rgb(folder / f"photos/{key}.jpg", scaled(pixels, about.photo_px), PHOTO_QUALITY)
    facts = _facts(key, result.file_name, len(result.masks), pixels is not None)
    # What a browser remembers of masks is of these, wherever they are, and of no others.
    facts["hash"] = _hash(result.file_name + text)
    if found.alone is not None:
        facts |= {"only_left": found.alone[0], "only_right": found.alone[1]}
    return _Line(facts, frozenset(names_of(columns)), floors)


def _facts(
    key: int,
    file_name: str,
    masks: int | None = None,
    has_photo: bool = False,
    error: str | None = None,
) -> dict[str, Any]:
    return {
        "key": key,
        "file_name": file_name,
        "error": error,
        "masks": masks,
        "thumbnail": has_photo,
    }


def _index(lines: Sequence[_Line], about: About) -> dict[str, Any]:
    images = [line.facts for line in lines]
    columns = set[str]().union(*(line.columns for line in lines))
    if about.settings.get("parents"):
        columns.add("parent")
    counts = [image["masks"] for image in images if image["masks"] is not None]
    nb_failed = len(images) - len(counts)
    facts = f"{len(images):,} images, {sum(counts):,} masks"
    values = {
        "title": about.title,
        "against": about.against,
        "match_at": about.match_at,
        "facts": facts + (f", {nb_failed:,} failed" if nb_failed else ""),
        "kind": "candidates" if about.of_candidates else "masks",
        "command": about.command,
        "note": about.note,
        "settings": about.settings,
        "defaults": {name: getattr(_DEFAULT, name) for name in settings_of_selecting()},
        "ranges": _ranges(),
        "own": about.own,
        "floors": {
            "pred_iou_thresh": max((line.floors[0] for line in lines), default=0.0),
            "stability_score_thresh": max((line.floors[1] for line in lines), default=0.0),
        },
        "columns": sorted(columns - {"nb_views"}),
        "has_crops": "nb_views" in columns,
        "many": max(1, int(np.percentile(counts, MANY))) if counts else 1,
        "images": images,
    }
    # By which a browser remembers where the sliders were.
    return {"id": _hash(_json([about.title, values["kind"], about.settings]))} | values


def _ranges() -> dict[str, tuple[float | None, float | None]]:
    """The least and the greatest value of each setting that is a number; null for no bound."""
    ranges = {each.name: each.metadata["range"] for each in dataclasses.fields(_DEFAULT)}
    return {name: (ranges[name].low, ranges[name].high) for name in settings_of_selecting()}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _json(values: Any) -> str:
    """In ASCII, so that nothing in it ends a line or a script early."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True)


def _ahead(work: Callable[[Any], _Line], things: Iterable[Any]) -> Iterator[_Line]:
    """What becomes of the things, in order, in threads; only a few are begun ahead."""
    nb_threads = os.cpu_count() or 1
    begun: deque[Future[_Line]] = deque()
    with ThreadPoolExecutor(nb_threads) as pool:
        try:
            for thing in things:
                begun.append(pool.submit(work, thing))
                if len(begun) > 2 * nb_threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
