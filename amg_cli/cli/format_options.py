"""The options that say in which formats masks are kept, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from amg_cli.formats.format import FormatOptions, used_options
from amg_cli.formats.table import FORMATS, check_formats, format_of

# fmt: off
FORMATS_OPTION = click.option(  # of commands that have no run's defaults
    "--format", "formats", type=click.Choice(FORMATS), multiple=True, metavar="NAME",
    help=f"What to write: {', '.join(FORMATS)}. Can be given several times.  [required]",
)
HOW_OPTIONS = (
    click.option(
        "--category", default="object", show_default=True, metavar="NAME",
        help="What masks are called that have no category of their own.",
    ),
    click.option(
        "--polygons", is_flag=True,
        help="Outlines instead of masks in coco, labelme, cvat and labelstudio; holes are filled.",
    ),
    click.option(
        "--polygon-tolerance", type=click.FloatRange(min=0), default=0.0, show_default=True,
        metavar="PX", help="How far outlines may lie from the mask's, to have fewer corners.",
    ),
    click.option(
        "--val-share", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="PART",
        help="Of the images, what yolo sets aside for validation, by their names.",
    ),
    click.option(
        "--cutout-margin", type=click.IntRange(min=0), default=0, show_default=True, metavar="PX",
        help="Photograph around the objects of cutout.",
    ),
)
FORMAT_OPTIONS = (
    click.option(
        "--format", "formats", type=click.Choice(FORMATS), multiple=True, metavar="NAME",
        help="What to write, in one pass if given several times. An image: png (a folder of PNGs), "
        "rle (JSON), sa1b, labelme, labelmap (one label image), cutout, overlay. The whole run: "
        "coco, coco-results, ndjson, yolo, cvat, labelstudio, parquet.  [default: png]",
    ),
    *HOW_OPTIONS,
)
# fmt: on


def given_options(values: Mapping[str, Any]) -> FormatOptions:
    """What the options say, of those that the command has."""
    names = [field.name for field in fields(FormatOptions) if field.name in values]
    return FormatOptions(**{name: values[name] for name in names})


def required_formats(values: Mapping[str, Any]) -> list[str]:
    """Those named, each once. Raises as `check_format_options`, and where there is none."""
    if not values["formats"]:
        raise click.UsageError("Missing option '--format'.")
    formats = list(dict.fromkeys(values["formats"]))
    check_format_options(values, formats)
    return formats


def check_format_options(values: Mapping[str, Any], formats: Sequence[str]) -> None:
    """Raises click's usage error for an option that no format goes by.

    And InputError for a format whose package is not installed.
    """
    check_formats(formats)
    used = used_options(map(format_of, formats), given_options(values))
    context = click.get_current_context()
    for name in (field.name for field in fields(FormatOptions) if field.name in values):
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name not in used:
            users = [each for each in FORMATS if name in format_of(each).options]
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for --format {' or '.join(users)}")
    for name in ("polygon_tolerance", "val_share"):
        if not math.isfinite(values[name]):
            raise click.BadParameter("is no number", param_hint=f"--{name.replace('_', '-')}")
    if values["polygon_tolerance"] and "yolo" not in formats and not values["polygons"]:
        raise click.UsageError("--polygon-tolerance is for yolo, or goes with --polygons")
