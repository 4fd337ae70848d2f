"""Figures as a table on stdout, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from amg_cli.core.errors import OutputError
from amg_cli.core.version import __version__

Scores = Mapping[str, Mapping[str, float]]


def print_figures(scores: Scores, nb_images: int) -> None:
    """A line for each figure, by group."""
    width = max(len(name) for group in scores.values() for name in group)
    click.echo(f"{'images':<{width + 2}} {nb_images:>10}")
    for group, figures in scores.items():
        click.echo(f"\n{group}")
        for name, value in figures.items():
            click.echo(f"  {name.replace('_', ' '):<{width}} {_shown(value):>10}")


def write_json(
    path: Path | None, scores: Scores, per_image: Mapping[str, Mapping[str, float]]
) -> None:
    """All figures to a file, if there is one to write to; what cannot be known is null."""
    if path is None:
        return
    data = {"amg": __version__, "images": len(per_image), "scores": scores, "per_image": per_image}
    try:
        path.write_text(json.dumps(_without_nan(data), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(path, error.strerror or str(error), "check --json") from error


def duration(seconds: float) -> str:
    """In whole seconds, minutes or hours, whichever is read best."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _shown(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:d}" if isinstance(value, int) else f"{value:.4f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
