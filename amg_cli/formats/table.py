"""The output formats, by the names that `format` takes. Each is loaded when it is first used."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import cast

from amg_cli.formats.format import ImageFormat, RunFormat

_MODULES = {
    "png": "reference_png",
    "rle": "reference_rle",
    "coco": "coco",
    "coco-results": "coco_results",
    "ndjson": "ndjson",
    "sa1b": "sa1b",
    "yolo": "yolo",
    "labelme": "labelme",
    "labelmap": "labelmap",
    "cvat": "cvat",
    "labelstudio": "labelstudio",
    "parquet": "parquet",
    "cutout": "cutout",
    "overlay": "overlay",
}
FORMATS = tuple(_MODULES)
CANDIDATES, EDGES = "candidates", "edges"  # no masks, so that they are none of FORMATS


@cache
def format_of(name: str) -> ImageFormat | RunFormat:
    """The format of a name in `FORMATS`, or of CANDIDATES or EDGES."""
    modules = _MODULES | {CANDIDATES: CANDIDATES, EDGES: EDGES}
    module = import_module(f"amg_cli.formats.{modules[name]}")
    return cast("ImageFormat | RunFormat", module.FORMAT)


def check_formats(names: Iterable[str]) -> None:
    """Raises InputError where a format's package is not installed, saying what brings it."""
    for name in names:
        if isinstance(format_ := format_of(name), RunFormat):
            format_.check_installed(f"format {name}")


@cache
def image_formats(names: tuple[str, ...]) -> list[ImageFormat]:
    """Those that keep an image's masks in outputs of its own."""
    return [f for f in map(format_of, names) if isinstance(f, ImageFormat)]


@cache
def run_formats(names: tuple[str, ...]) -> list[RunFormat]:
    """Those that are one file for the whole run."""
    return [f for f in map(format_of, names) if isinstance(f, RunFormat)]
