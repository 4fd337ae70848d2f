"""The options of a run, and what they ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from amg_cli.cli.engine_options import ENGINE_OPTIONS, check_engine
from amg_cli.cli.options import PATH, PLACE, InputPath, UserPath

STDIO = Path("-")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


class ShardType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`2/8`: the second of eight."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The `Shard` of an option's text."""
        from amg_cli.formats.manifest import Shard

        found = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if isinstance(value, Shard):
            return value
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is not a shard such as 2/8, the second of eight", param, ctx)
        return Shard(int(found[1]), int(found[2]))


class PictureFile(UserPath):
    """A file to write a picture to, whose suffix says in which format."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The `Path` of an option's text."""
        path = super().convert(value, param, ctx)
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            self.fail(f"{str(value)!r} is no .jpg and no .png, which a picture can be", param, ctx)
        return path


# fmt: off
INPUT_OPTIONS = (
    click.option(
        "--input", "inputs", type=InputPath(path_type=Path), multiple=True, metavar="PATH",
        help="An image, a folder of images, a tar or a data set (Parquet, CSV, or a folder that "
        "`datasets` saved); or the address of one, such as s3://bucket/photos/. - for paths on "
        "stdin, which are begun as they arrive. Can be given several times.  [required]",
    ),
    click.option(
        "--input-list", type=PATH, metavar="FILE",
        help="A file with the path or address of an image a line.",
    ),
    click.option(
        "--image-column", metavar="NAME",
        help="Of a data set: the column of its images' paths, addresses or bytes. [default: the "
        "one of bytes, or of a usual name, such as image, path, file_name, url]",
    ),
    click.option(
        "--id-column", metavar="NAME",
        help="Of a data set: the column of its images' ids. [default: their numbers, from 0]",
    ),
    click.option(
        "-0", "--null", is_flag=True,
        help="Paths on stdin and in --input-list end with NUL, as find -print0 writes them.",
    ),
    click.option(
        "--output", type=PLACE, metavar="DIR",
        help="The folder to write to; made if it is not there. Or an address, such as "
        "s3://bucket/masks. - for stdout, as ndjson.  [required]",
    ),
)
RECORD_OPTIONS = (
    click.option("--recursive", is_flag=True, help="Search sub-folders; the output mirrors them."),
    click.option(
        "--on-exists", type=click.Choice(["error", "skip", "overwrite"]), default="error",
        show_default=True, help="What to do with output that no recorded run has made. A run that "
        "was broken off goes on by itself; overwrite starts anew where one has ended, or had other "
        "settings.",
    ),
    click.option(
        "--retry-failed", is_flag=True, help="Do again the images that have failed before."
    ),
    click.option(
        "--max-failures", type=click.IntRange(min=1), metavar="N",
        help="End the run when so many images have failed.",
    ),
    click.option(
        "--shard", type=ShardType(), default="1/1", metavar="I/N",
        help="Do only the I-th of N parts of the images, which are split by name; amg merge joins "
        "them.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), metavar="N",
        help="Processes that do an image each. [default: by cores, memory and images]",
    ),
    *ENGINE_OPTIONS,
    click.option(
        "--dry-run", is_flag=True,
        help="Say what would be done, and how long it may take, by a few of the images.",
    ),
    click.option(
        "--timings", is_flag=True, help="Print to stderr where the time went, image by image and "
        "in all, and how many masks each step left."
    ),
    click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
        help="Of what is said on stderr.",
    ),
)
PREVIEW_OPTION = click.option(
    "--preview", type=PictureFile(path_type=Path), metavar="FILE",
    help="A .jpg or .png that always shows the latest finished image with its masks, for a viewer "
    "that loads it again.",
)
VIEW_OPTION = click.option(
    "--view", is_flag=True,
    help="At the end make a page that shows the run, as amg view does: DIR/view/index.html.",
)
# fmt: on


def wanted_formats(values: Mapping[str, Any]) -> list[str]:
    """The formats that the options name. Raises click's usage error where two contradict."""
    formats = list(dict.fromkeys(values["formats"]))
    if values["output"] == STDIO:
        if formats not in ([], ["ndjson"]):
            raise click.UsageError("--output - writes ndjson, and no other format")
        return ["ndjson"]
    return formats or ["png"]


def check_given(values: Mapping[str, Any]) -> None:
    """Raises click's usage error for what is missing, or does not go together."""
    # Not click's `required`, which sub-commands would have to satisfy too.
    if not values["inputs"] and values["input_list"] is None:
        raise click.UsageError("Missing option '--input'.")
    if not values["output"]:
        raise click.UsageError("Missing option '--output'.")
    from_stdin = STDIO in values["inputs"]
    if from_stdin and (len(values["inputs"]) > 1 or values["input_list"]):
        raise click.UsageError("--input - takes no other input beside it")
    if values["null"] and not (from_stdin or values["input_list"]):
        raise click.UsageError("-0 is for paths on stdin or in --input-list")
    if values["dry_run"] and from_stdin:
        raise click.UsageError("--dry-run needs to know the images: give --input-list")
    if from_stdin and sys.stdin is None:
        raise click.UsageError("--input - needs a stdin")
    if values["shard"].count > 1 and values["output"] == STDIO:
        raise click.UsageError("--shard needs a folder to write to")
    check_engine(values)
