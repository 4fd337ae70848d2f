"""`amg`: masks for every image of a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from amg_cli import __version__
from amg_cli.cli.options import generation_config, generation_options
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import AmgError

EXIT_INTERRUPTED = 130

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

EPILOG = """\b
Writes DIR/STEM/0.png, 1.png, … and metadata.csv for each image, or DIR/STEM.json
with --convert-to-rle, and prints that path. All else goes to stderr.

\b
Exit codes: 0 all done; 1 nothing could start (input, weights, device); 2 usage;
3 some images failed; 130 interrupted.
"""


@click.command(epilog=EPILOG, context_settings=CONTEXT)
@click.option(
    "--input", "inputs", type=click.Path(path_type=Path), multiple=True, required=True,
    metavar="PATH", help="An image, or a folder of images. Can be given several times.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
    help="The folder to write to; made if it is not there.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), metavar="FILE",
    help="The model's weights: an official checkpoint. Its architecture is read from it.",
)  # fmt: skip
@click.option(
    "--model-type", metavar="NAME", help="What the checkpoint must hold: vit_t (MobileSAM)."
)
@click.option(
    "--convert-to-rle", is_flag=True, help="Write one JSON file of COCO RLE masks an image."
)
@click.option("--recursive", is_flag=True, help="Search sub-folders; the output mirrors them.")
@click.option(
    "--on-exists", type=click.Choice(["error", "skip", "overwrite"]), default="error",
    show_default=True, help="What to do with an image whose output is there already.",
)  # fmt: skip
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME",
    help="auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads. [default: torch's choice]"
)
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@generation_options
@click.version_option(__version__, prog_name="amg")
def main(**values: Any) -> None:
    """Masks of everything in your photographs."""
    if values["checkpoint"] is None and values["model_type"] is None:
        raise click.UsageError("give the model's weights with --checkpoint FILE")
    config = generation_config(values)
    try:
        sys.exit(_generate(config, values))
    except AmgError as error:
        click.echo(f"amg: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        remedy = "finished images are kept; --on-exists skip goes on from here"
        click.echo(f"amg: interrupted; {remedy}", err=True)
        sys.exit(EXIT_INTERRUPTED)


def _generate(config: GenerationConfig, values: dict[str, Any]) -> int:
    """Plan, load the model if there is work, do it, report. -> the exit code."""
    # These load torch, which --help and --version must not wait for.
    from amg_cli.batch.local import run, settle
    from amg_cli.batch.plan import plan
    from amg_cli.cli.report import Report
    from amg_cli.formats import reference_png, reference_rle
    from amg_cli.models.devices import set_threads
    from amg_cli.models.weights import load_model

    output_format = (reference_rle if values["convert_to_rle"] else reference_png).FORMAT
    jobs = plan(values["inputs"], values["output"], output_format.suffix, values["recursive"])
    to_do, outcomes = settle(jobs, values["on_exists"])
    with Report(jobs, quiet=values["quiet"]) as report:
        for outcome in outcomes:
            report.add(outcome)
        if to_do:
            if values["threads"]:
                set_threads(values["threads"])
            model = load_model(
                values["checkpoint"] or values["model_type"],
                model_type=values["model_type"],
                device=values["device"],
            )
            overwrite = values["on_exists"] == "overwrite"
            for outcome in run(to_do, model, config, output_format, overwrite):
                report.add(outcome)
        return report.summary()
