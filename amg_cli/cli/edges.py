"""`amg edges --input PATH --output DIR`: edges, as the model sees them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.model_options import MODEL_OPTIONS, READING_OPTIONS
from amg_cli.cli.options import generation_config, some_generation_options, with_options
from amg_cli.cli.run_options import INPUT_OPTIONS, RECORD_OPTIONS, STDIO, check_given
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.words import log_as
from amg_cli.core.config import settings_of_edges
from amg_cli.core.presets import EDGE_RECIPE
from amg_cli.formats.table import EDGES

if TYPE_CHECKING:
    from amg_cli.batch.image_tasks import Edges
    from amg_cli.core.config import GenerationConfig

EPILOG = """\b
Writes DIR/STEM.png for each image: grey, white for the strongest edge. Where the masks of a
grid of points end, however sure the model is of them: Kirillov et al. 2023, section 7.2.

\b
  amg edges --input photos --output edges
  amg eval --truth BSDS500/truth --edges edges
"""

# fmt: off
_OPTIONS = (
    *INPUT_OPTIONS,
    click.option(
        "--thin/--no-thin", default=True, show_default=True, help="Leave of each edge its ridge, "
        "or all."
    ),
    click.option(
        "--edge-bits", type=click.Choice(["8", "16"]), default="8", show_default=True,
        callback=lambda _ctx, _param, value: int(value), help="Of a pixel.",
    ),
    *RECORD_OPTIONS,
    *MODEL_OPTIONS,
    *READING_OPTIONS,
    *some_generation_options(settings_of_edges(), EDGE_RECIPE),
)
# fmt: on


@click.command(epilog=EPILOG)
@with_options(_OPTIONS)
@click.pass_context
def edges(ctx: click.Context, /, **values: Any) -> None:
    """Edges: how much of one each pixel is."""
    log_as(values["log_format"])
    check_given(values)
    if values["output"] == STDIO:
        raise click.UsageError("edges are pictures: --output needs a folder")
    config = generation_config(values, EDGE_RECIPE)
    # This loads what --help and usage errors must not wait for.
    from amg_cli.cli.running import do_run

    asked = {name: getattr(config, name) for name in settings_of_edges()}
    task = RunTask(
        "edges",
        settings={**asked, "thin": values["thin"]},
        make=partial(_task, config, values["thin"]),
        has_masks=False,
    )
    ctx.exit(do_run(values, [EDGES], task))


def _task(config: GenerationConfig, thin: bool) -> Edges:
    from amg_cli.batch.image_tasks import Edges

    return Edges(config, thin)
