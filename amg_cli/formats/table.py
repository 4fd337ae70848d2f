"""The output formats, by the names that `format` takes. Each is loaded when it is first used."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from amg_cli.formats.format import ImageFormat, RunFormat

_MODULES = {
    "png": "reference_png",
    "rle": "reference_rle",
    "coco": "coco",
    "ndjson": "ndjson",
}
FORMATS = tuple(_MODULES)


@cache
def format_of(name: str) -> ImageFormat | RunFormat:
    """The format of a name in `FORMATS`."""
    module = import_module(f"amg_cli.formats.{_MODULES[name]}")
    return cast("ImageFormat | RunFormat", module.FORMAT)


@cache
def image_formats(names: tuple[str, ...] = FORMATS) -> list[ImageFormat]:
    """Those that keep an image's masks in outputs of its own."""
    return [f for f in map(format_of, names) if isinstance(f, ImageFormat)]


@cache
def run_formats(names: tuple[str, ...] = FORMATS) -> list[RunFormat]:
    """Those that are one file for the whole run."""
    return [f for f in map(format_of, names) if isinstance(f, RunFormat)]
