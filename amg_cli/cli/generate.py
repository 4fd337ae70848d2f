"""`amg --input PATH --output DIR`: masks for every image."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.options import PATH, generation_config, generation_options
from amg_cli.core.interrupts import interrupted_with

if TYPE_CHECKING:
    from amg_cli.batch.reading import Reading
    from amg_cli.models.sam import Sam

GO_ON = "finished images are kept; --on-exists skip goes on from here"

# fmt: off
MODEL_OPTIONS = (
    click.option(
        "--checkpoint", type=PATH, metavar="FILE",
        help="The model's weights: an official checkpoint. Its architecture is read from it.",
    ),
    click.option(
        "--model-type", metavar="NAME",
        help="nano, which comes with amg; vit_t (MobileSAM), vit_b, vit_l or vit_h (called default "
        "in the reference). Downloaded once if there is no --checkpoint, else what that must hold; "
        "see amg models.  [default: nano]",
    ),
    click.option("--offline", is_flag=True, help="Never download weights."),
    click.option(
        "--stretch", is_flag=True, help="Scale images of 16 bits a channel by their range, from "
        "their darkest value to their brightest, instead of taking the high byte."
    ),
    click.option(
        "--strict", is_flag=True, help="An image with a warning, such as of damage that its "
        "decoder saw, is an error."
    ),
    click.option(
        "--max-megapixels", type=click.FloatRange(min=0, min_open=True), metavar="N",
        help="Refuse images of more, by their header. [default: 268]",
    ),
    click.option(
        "--device", default="auto", show_default=True, metavar="NAME",
        help="auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N.",
    ),
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
        show_default=True, help="Of most products. auto is fp32, with the reference's masks; bf16 "
        "is faster on processors that have it (see amg doctor), by a tenth with vit_t, and moves "
        "outlines by pixels; the other models' encoders run in 16 bits too. fp16 is for GPUs.",
    ),
    click.option(
        "--compile", "compiled", is_flag=True, help="Let torch compile the model: for a GPU and "
        "many images, as the first takes a minute longer."
    ),
    click.option(
        "--image-size", type=click.IntRange(min=16), metavar="N",
        help="Longest side that images are scaled to, in pixels; faster and coarser when smaller. "
        "[default: the model's own: 512 for nano, 1024 for the others]",
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads. [default: torch's choice]"
    ),
    click.option("--quiet", is_flag=True, help="Nothing on stderr but errors."),
)
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
                load_given_model(values),
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


def given_reading(values: dict[str, Any]) -> Reading:
    """How images are read, as --max-megapixels, --stretch and --strict say."""
    from amg_cli.batch.integrity import MAX_PIXELS
    from amg_cli.batch.reading import Reading

    megapixels = values["max_megapixels"]
    return Reading(
        max_pixels=MAX_PIXELS if megapixels is None else int(megapixels * 1e6),
        stretch=values["stretch"],
        strict=values["strict"],
    )


def load_given_model(values: dict[str, Any]) -> Sam:
    """The model that `MODEL_OPTIONS` name, on their device and with their threads."""
    from amg_cli.models.cache import human_bytes
    from amg_cli.models.compiled import check_compilable, compile_model
    from amg_cli.models.devices import find_device, keep_memory, set_threads
    from amg_cli.models.weights import load_model
    from amg_cli.models.zoo import DEFAULT, ZOO

    if not (values["checkpoint"] or values["model_type"] or values["quiet"]):
        size = human_bytes(ZOO["vit_h"].size_bytes)
        better = f"for better masks --model-type vit_h ({size}, downloaded)"
        click.echo(f"amg: model {DEFAULT}, which comes with amg; {better}", err=True)
    if values["compiled"]:
        check_compilable(find_device(values["device"]))
    keep_memory()
    if values["threads"]:
        set_threads(values["threads"])
    model = load_model(
        values["checkpoint"],
        model_type=values["model_type"],
        device=values["device"],
        precision=values["precision"],
        image_size=values["image_size"],
        offline=values["offline"],
        progress=not values["quiet"] and sys.stderr.isatty(),
    )
    if values["compiled"]:
        compile_model(model)
    return model
