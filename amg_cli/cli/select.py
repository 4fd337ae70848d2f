"""`amg select OLD --output NEW`: other settings for a run that has kept its candidates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from amg_cli.cli.converting import OUTPUT_OPTION, PLACE_OPTIONS, write_as
from amg_cli.cli.format_options import FORMAT_OPTIONS, check_format_options
from amg_cli.cli.options import PATH, counting, generation_config, generation_options, with_options
from amg_cli.cli.region_option import ROI_OPTION, given_region
from amg_cli.cli.words import option_name
from amg_cli.core.config import settings_of_proposing
from amg_cli.core.errors import ConfigError

EPILOG = """\b
OLD is the output folder of a run with --save-candidates. The masks are those of a new run
with these settings; grid, crops and offset stay as they were.

\b
  amg --input photos --output old --save-candidates
  amg select old --output new --pred-iou-thresh 0.8 --nms mask --format coco
"""


def _select_options(command: Any) -> Any:
    options = (OUTPUT_OPTION, *FORMAT_OPTIONS, *PLACE_OPTIONS, ROI_OPTION)
    return with_options(options)(generation_options(command, hidden=settings_of_proposing()))


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="OLD")
@_select_options
@click.pass_context
def select(ctx: click.Context, /, source: Path, **values: Any) -> None:
    """Masks by other settings, without the model."""
    formats = list(dict.fromkeys(values["formats"])) or ["png"]
    check_format_options(values, formats)
    for name in settings_of_proposing():
        if values[name] is not None:
            cause = f"{option_name(name)} cannot be changed in candidates"
            raise click.UsageError(f"{cause}; run amg again with it")
    generation_config(values)
    roi = given_region(values)
    from amg_cli.batch.selecting import run_settings, selected

    own = counting(_own_settings(run_settings(source)), values)
    config = generation_config(values, own)
    try:
        ctx.exit(write_as(selected(source, config, roi, values["images"]), values, formats))
    except ConfigError as error:
        line = f"{error.cause}; run amg again with lower --candidate-floors"
        raise click.BadParameter(line, param_hint=option_name(error.where)) from error


def _own_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the model that a run was made with."""
    from amg_cli.weights.zoo import ZOO

    weights = settings.get("weights")
    return next((row.settings for row in ZOO.values() if row.sha256 == weights), {})
