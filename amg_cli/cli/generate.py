"""`amg --input PATH --output DIR`: masks for every image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from amg_cli.cli.model_options import (
    MODEL_OPTIONS,
    READING_OPTIONS,
    ModelOptions,
    given_reading,
)
from amg_cli.cli.options import PATH, generation_config, generation_options
from amg_cli.core.interrupts import interrupted_with

GO_ON = "finished images are kept; --on-exists skip goes on from here"

# fmt: off
_OPTIONS = (
    click.option(
        "--input", "inputs", type=PATH, multiple=True,
        metavar="PATH", help="An image, or a folder of images. Can be given several times.  "
        "[required]",
    ),
    click.option(
        "--output", type=PATH, metavar="DIR",
        help="The folder to write to; made if it is not there.  [required]",
    ),
    click.option(
        "--convert-to-rle", is_flag=True, help="Write one JSON file of COCO RLE masks an image."
    ),
    click.option("--recursive", is_flag=True, help="Search sub-folders; the output mirrors them."),
    click.option(
        "--on-exists", type=click.Choice(["error", "skip", "overwrite"]), default="error",
        show_default=True, help="What to do with an image whose output is there already.",
    ),
    click.option(
        "--timings", is_flag=True, help="Print to stderr where the time went, image by image and "
        "in all, and how many masks each step left."
    ),
    *MODEL_OPTIONS,
    *READING_OPTIONS,
)
# fmt: on


def generate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run to a click command: its own, then those of the generation."""
    command = generation_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_generate(values: dict[str, Any]) -> int:
    """Check the options, plan, load the model if there is work, do it, report. -> the exit code."""
    _check_given(values)
    config = generation_config(values)
    # These load torch, which --help and usage errors must not wait for.
    from amg_cli.batch.commit import check_writable
    from amg_cli.batch.local import Work, run, settle
    from amg_cli.batch.plan import plan
    from amg_cli.cli.report import Report
    from amg_cli.formats import reference_png, reference_rle

    output_format = (reference_rle if values["convert_to_rle"] else reference_png).FORMAT
    jobs = plan(values["inputs"], values["output"], output_format.suffix, values["recursive"])
    to_do, outcomes = settle(jobs, values["on_exists"])
    with (
        interrupted_with(GO_ON),
        Report(jobs, quiet=values["quiet"], timings=values["timings"]) as report,
    ):
        for outcome in outcomes:
            report.add(outcome)
        if to_do:
            check_writable(values["output"])
            work = Work(
                ModelOptions.of(values).load(),
                config,
                output_format,
                overwrite=values["on_exists"] == "overwrite",
                reading=given_reading(values),
                timed=values["timings"],
            )
            for outcome in run(to_do, work):
                report.add(outcome)
        return report.summary()


def _check_given(values: dict[str, Any]) -> None:
    """Not click's `required`, which sub-commands would have to satisfy too."""
    for name, option in (("inputs", "--input"), ("output", "--output")):
        if not values[name]:
            raise click.UsageError(f"Missing option '{option}'.")
