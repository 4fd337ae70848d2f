"""`amg select OLD --output NEW`: other settings for a run that has kept its candidates, or a run
without the masks that a review has dropped.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.converting import OUTPUT_OPTION, PLACE_OPTIONS, write_as
from amg_cli.cli.format_options import FORMAT_OPTIONS, check_format_options
from amg_cli.cli.options import (
    PATH,
    as_options,
    counting,
    generation_config,
    generation_options,
    with_options,
)
from amg_cli.cli.region_option import ROI_OPTION, given_region
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.words import option_name
from amg_cli.core.config import GenerationConfig, settings_of_proposing
from amg_cli.core.errors import ConfigError
from amg_cli.core.presets import PRESETS

if TYPE_CHECKING:
    from amg_cli.core.errors import ImageError
    from amg_cli.formats.decisions import Decisions
    from amg_cli.formats.result import Result

EPILOG = """\b
OLD is the output folder of a run with --save-candidates. The masks are those of a new run
with these settings; grid, crops and offset stay as they were. With --decisions, the masks
are those that the page showed, without the ones dropped there; where it showed them as
the run had written them, OLD is any that amg convert takes.

\b
  amg --input photos --output old --save-candidates
  amg select old --output new --pred-iou-thresh 0.8 --nms mask --format coco
  amg select old --output clean --decisions amg-decisions.json --format coco
"""

DECISIONS_OPTION = click.option(
    "--decisions", type=PATH, metavar="FILE",
    help="Drop what a review dropped: the file that a page of amg view has saved; - for stdin.",
)  # fmt: skip


def _select_options(command: Any) -> Any:
    options = (OUTPUT_OPTION, DECISIONS_OPTION, *FORMAT_OPTIONS, *PLACE_OPTIONS, ROI_OPTION)
    return with_options(options)(generation_options(command, hidden=settings_of_proposing()))


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="OLD")
@_select_options
@click.pass_context
def select(ctx: click.Context, /, source: Path, **values: Any) -> None:
    """Masks by other settings, or as reviewed, without the model."""
    formats = list(dict.fromkeys(values["formats"])) or ["png"]
    check_format_options(values, formats)
    results = (_selected if values["decisions"] is None else _reviewed)(source, values)
    try:
        ctx.exit(write_as(results, values, formats))
    except ConfigError as error:
        line = f"{error.cause}; run amg again with lower --candidate-floors"
        raise click.BadParameter(line, param_hint=option_name(error.where)) from error


def _selected(source: Path, values: Mapping[str, Any]) -> Iterator[Result | ImageError]:
    """The images of a run by the options' settings. Raises click's usage error for others."""
    _check_selecting(values)
    generation_config(values)
    roi = given_region(values)
    from amg_cli.batch.selecting import run_settings, selected
    from amg_cli.weights.zoo import own_settings

    own = counting(own_settings(run_settings(source).get("weights")), values)
    return selected(source, generation_config(values, own), roi, values["images"])


def _reviewed(source: Path, values: Mapping[str, Any]) -> Iterator[Result | ImageError]:
    """The images of a run as decided. Raises click's usage error for options of other masks."""
    if values["roi"] is not None:
        raise click.UsageError("--roi does not go with --decisions, which are of all masks")
    decisions = _read_decisions(values["decisions"])
    if decisions.settings is None:
        _check_none_given(values)
    else:
        _check_selecting(values)
        _check_same(values, decisions.settings)
    from amg_cli.batch.selecting import reviewed

    return reviewed(source, decisions, values["images"])


def _read_decisions(path: Path) -> Decisions:
    """Raises InputError where they are none; click's usage error where there is no stdin."""
    from amg_cli.formats.decisions import parse, read

    if path != STDIO:
        return read(path)
    if sys.stdin is None:
        raise click.UsageError("--decisions - needs a stdin")
    return parse(sys.stdin.buffer.read(), "stdin")


def _check_selecting(values: Mapping[str, Any]) -> None:
    """Raises click's usage error for a setting that candidates have for good."""
    for name in settings_of_proposing():
        if values[name] is not None:
            cause = f"{option_name(name)} cannot be changed in candidates"
            raise click.UsageError(f"{cause}; run amg again with it")


def _check_none_given(values: Mapping[str, Any]) -> None:
    """Raises click's usage error for a setting, where masks stay as the run has written them."""
    for name in ("preset", *_setting_names()):
        if values[name] is not None:
            cause = "does not go with these decisions, which are of the masks as they are"
            raise click.UsageError(f"{option_name(name)} {cause}")


def _check_same(values: Mapping[str, Any], config: GenerationConfig) -> None:
    """Raises click's usage error for a setting that is not as the review had it."""
    preset = PRESETS[values["preset"]].settings if values["preset"] else {}
    given = {name: values[name] for name in _setting_names() if values[name] is not None}
    for name, value in {**preset, **given}.items():
        # Each by itself, beside what `fill` cannot be without: the others may be the review's.
        asked = getattr(generation_config({"disjoint": "score", name: value}), name)
        decided = getattr(config, name)
        if asked != decided:
            source = "" if name in given else f"--preset {values['preset']}: "
            theirs = "without it" if decided is False else f"by {as_options({name: decided})}"
            cause = f"the decisions are of masks {theirs}; leave it out"
            raise click.UsageError(f"{source}{as_options({name: asked})}: {cause}")


def _setting_names() -> list[str]:
    return [setting.name for setting in dataclasses.fields(GenerationConfig)]
