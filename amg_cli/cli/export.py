"""`amg export --output DIR`: a model as ONNX graphs, for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from amg_cli.cli.model_options import (
    IMAGE_SIZE_OPTION,
    QUIET_OPTION,
    WEIGHTS_OPTIONS,
    check_onnx,
)
from amg_cli.cli.options import PATH, with_options
from amg_cli.core.errors import OutputError
from amg_cli.core.interrupts import interrupted_with

EPILOG = """\b
Needs pip install 'amg-cli[onnx]'. Writes
  encoder.onnx  a photograph of any size -> its embedding
  decoder.onnx  points, boxes and a mask -> masks; as the published export
  grid.onnx     N points -> scores, stability, boxes and masks at low resolution
  masks.onnx    those that are kept -> at the photograph's size

\b
  amg export --model-type vit_b --output graphs
  python examples/onnx_everything.py graphs photo.ppm out
"""
# fmt: off
_OPTIONS = (
    click.option(
        "--output", type=PATH, required=True, metavar="DIR",
        help="The folder to write to; made if it is not there.",
    ),
    click.option(
        "--dtype", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True,
        help="Of weights and products. fp16 is for GPUs; int8, in which convolutions stay in fp32, "
        "moves outlines by pixels.",
    ),
    click.option(
        "--opset", type=int, default=18, show_default=True, metavar="N",
        help="Of ONNX's operators: 18 to 21.",
    ),
    click.option(
        "--single-mask", is_flag=True,
        help="decoder.onnx gives the best mask of a prompt alone, as browser demos have it.",
    ),
    click.option(
        "--on-exists", type=click.Choice(["error", "overwrite"]), default="error",
        show_default=True, help="What to do with output that is there.",
    ),
    *WEIGHTS_OPTIONS,
    IMAGE_SIZE_OPTION,
    QUIET_OPTION,
)
# fmt: on


@click.command(epilog=EPILOG)
@with_options(_OPTIONS)
def export(**values: Any) -> None:
    """A model as ONNX graphs, for other programs."""
    check_onnx("amg export")
    from amg_cli.export.exporting import check, export, paths_of
    from amg_cli.weights.loading import load_model

    output: Path = values["output"]
    check(values["dtype"], values["opset"])
    there = next((path for path in paths_of(output) if path.exists()), None)
    if there and values["on_exists"] == "error":
        raise OutputError(there, "is there already", "give another `output`, or `on_exists`")
    model = load_model(
        values["checkpoint"],
        model_type=values["model_type"],
        device="cpu",
        image_size=values["image_size"],
        offline=values["offline"],
        progress=not values["quiet"] and sys.stderr.isatty(),
    )
    how = {name: values[name] for name in ("dtype", "opset", "single_mask")}
    with interrupted_with("graphs whose paths are printed are whole"):
        for path in export(model, output, **how):
            click.echo(bytes(path))
