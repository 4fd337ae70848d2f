"""`amg --input PATH --output DIR`: masks for every image. Its options, and what they must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amg_cli.cli.format_options import check_format_options
from amg_cli.cli.model_options import MODEL_OPTIONS, READING_OPTIONS
from amg_cli.cli.options import generation_config, generation_options, with_options
from amg_cli.cli.region_option import given_region
from amg_cli.cli.run_options import RUN_OPTIONS, check_given, wanted_formats
from amg_cli.cli.words import log_as


def generate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run to a click command: its own, then those of the generation."""
    options = (*RUN_OPTIONS, *MODEL_OPTIONS, *READING_OPTIONS)
    return with_options(options)(generation_options(command))


def run_generate(values: dict[str, Any]) -> int:
    """Check the options, and do what they ask for. -> the exit code."""
    log_as(values["log_format"])
    check_given(values)
    formats = wanted_formats(values)
    check_format_options(values, formats)
    generation_config(values)
    given_region(values)
    # This loads what --help and usage errors must not wait for.
    from amg_cli.cli.running import do_run

    return do_run(values, formats)
