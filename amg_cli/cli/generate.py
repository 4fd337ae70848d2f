"""`amg --input PATH --output DIR`: masks for every image. Its options, and what they must be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.format_options import FORMAT_OPTIONS, check_format_options
from amg_cli.cli.model_options import MODEL_OPTIONS, READING_OPTIONS, model_settings
from amg_cli.cli.naming_options import NAMING_OPTIONS, NOT_NAMED, given_naming
from amg_cli.cli.options import generation_config, generation_options, with_options
from amg_cli.cli.region_option import ROI_OPTION, given_region, recorded_region
from amg_cli.cli.run_options import (
    INPUT_OPTIONS,
    PREVIEW_OPTION,
    RECORD_OPTIONS,
    STDIO,
    VIEW_OPTION,
    check_given,
    wanted_formats,
)
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.words import log_as
from amg_cli.formats.table import CANDIDATES

if TYPE_CHECKING:
    from amg_cli.batch.image_tasks import Everything, Task
    from amg_cli.core.config import GenerationConfig
    from amg_cli.core.region import Region


class FloorsType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`0.7,0.8`: a predicted IoU and a stability score."""

    name = "floors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Both numbers of an option's text."""
        try:
            iou, stability = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers such as 0.7,0.8", param, ctx)
        if not (math.isfinite(iou) and stability <= 1):
            self.fail("a stability score is 1 or less, and both are finite", param, ctx)
        return iou, stability


FLOORS = (0.7, 0.8)

# fmt: off
_OPTIONS = (
    click.option(
        "--convert-to-rle", is_flag=True, help="The reference's name for --format rle."
    ),
    ROI_OPTION,
    click.option(
        "--save-candidates", is_flag=True, help="Keep what the masks are selected from as well, so "
        "that amg select can turn thresholds and other settings without the model: a file an "
        "image in DIR/candidates."
    ),
    click.option(
        "--candidate-floors", type=FloorsType(), metavar="IOU,STABILITY",
        help="Predicted IoU and stability score over which --save-candidates keeps them. "
        f"[default: {FLOORS[0]:g},{FLOORS[1]:g}, or the thresholds where those are lower]",
    ),
)
# fmt: on


def generate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run to a click command: its own, then those of the generation."""
    run = (*INPUT_OPTIONS, *FORMAT_OPTIONS, *_OPTIONS, *NAMING_OPTIONS)
    after = (*RECORD_OPTIONS, PREVIEW_OPTION, VIEW_OPTION, *MODEL_OPTIONS, *READING_OPTIONS)
    return with_options((*run, *after))(generation_options(command))


def run_generate(values: dict[str, Any]) -> int:
    """Check the options, and do what they ask for. -> the exit code."""
    log_as(values["log_format"])
    check_given(values)
    formats = _formats(values)
    check_format_options(values, formats)
    generation_config(values)
    naming = given_naming(values, formats)
    roi = given_region(values)
    own = model_settings(values)
    config = generation_config(values, own)
    make: Callable[[], Task] = partial(_task, config, _floors(values), roi)
    task = RunTask(
        "everything",
        settings={
            "roi": recorded_region(values),
            "candidate_floors": list(_floors(values) or ()) or None,
            **(naming.recorded() if naming else NOT_NAMED),
            **dataclasses.asdict(config),
        },
        make=partial(naming.task, make) if naming else make,
        own=own,
    )
    # This loads what --help and usage errors must not wait for.
    from amg_cli.cli.running import do_run

    return do_run(values, formats, task)


def _task(
    config: GenerationConfig, floors: tuple[float, float] | None, roi: Region | None
) -> Everything:
    from amg_cli.batch.image_tasks import Everything

    return Everything(config, floors, roi)


def _formats(values: dict[str, Any]) -> list[str]:
    """Those of the masks, and of candidates. Raises click's usage error where two contradict."""
    if values["convert_to_rle"]:
        if values["formats"]:
            raise click.UsageError("--convert-to-rle is --format rle; give it so beside another")
        values["formats"] = ("rle",)
    formats = wanted_formats(values)
    if values["save_candidates"]:
        if values["output"] == STDIO:
            raise click.UsageError("--save-candidates needs a folder to write to")
        formats.append(CANDIDATES)
    elif values["candidate_floors"]:
        raise click.UsageError("--candidate-floors goes with --save-candidates")
    return formats


def _floors(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """Predicted IoU and stability score over which candidates are kept; None where they are not."""
    return (values["candidate_floors"] or FLOORS) if values["save_candidates"] else None
