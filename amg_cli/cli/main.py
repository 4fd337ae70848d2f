"""`amg`: the command itself and its sub-commands. The one place that turns errors to exit codes."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from amg_cli.cli.generate import generate_options, run_generate
from amg_cli.cli.lazy_commands import LazyCommands
from amg_cli.cli.process import prepare_process
from amg_cli.cli.streams import ReaderGoneError, own_streams
from amg_cli.cli.words import say
from amg_cli.core.errors import AmgError
from amg_cli.core.interrupts import Interrupted, signals_raise
from amg_cli.core.version import __version__

COMMANDS = {
    "boxes": "amg_cli.cli.boxes:boxes",
    "convert": "amg_cli.cli.convert:convert",
    "doctor": "amg_cli.cli.doctor:doctor",
    "edges": "amg_cli.cli.edges:edges",
    "eval": "amg_cli.cli.evaluate:evaluate",
    "export": "amg_cli.cli.export:export",
    "label": "amg_cli.cli.label:label",
    "merge": "amg_cli.cli.merge:merge",
    "models": "amg_cli.cli.models:models",
    "predict": "amg_cli.cli.predict:predict",
    "select": "amg_cli.cli.select:select",
    "view": "amg_cli.cli.view:view",
}
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

EPILOG = """\b
Writes DIR/STEM/0.png, 1.png, … and metadata.csv for each image, or what --format says,
and prints the path of each. All else goes to stderr. The same command again does what
is left.

\b
  amg --input photos --output out --format coco
  find photos -name '*.jpg' -print0 | amg -0 --input - --output - | jq .file_name

\b
Exit codes: 0 all done; 1 could not start, or go on (input, output, weights, device,
full disk); 2 usage; 3 some images failed; 5 stdout cannot be written to; 130, 143, 129
ended by SIGINT, SIGTERM, SIGHUP; 141 the reader of stdout is gone. What is done is kept.
"""


class Amg(click.Group):
    """A group whose errors become lines on stderr and exit codes, whichever command they are of."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, and say in one line what could not be done."""
        prepare_process()
        with own_streams():
            try:
                with signals_raise():
                    return super().main(*args, **extra)
            except ReaderGoneError as error:
                exit_code = error.exit_code
            except AmgError as error:
                say(error)
                exit_code = error.exit_code
            except Interrupted as error:
                say(error)
                exit_code = error.exit_code
        sys.exit(exit_code)


@click.group(
    cls=Amg,
    commands=LazyCommands(COMMANDS),
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    epilog=EPILOG,
    context_settings=CONTEXT,
)
@generate_options
@click.version_option(__version__, prog_name="amg")
@click.pass_context
def main(ctx: click.Context, /, **values: Any) -> None:
    """Masks of everything in your photographs."""
    if ctx.invoked_subcommand is None:
        ctx.exit(run_generate(values))
    for name in values:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            command = ctx.invoked_subcommand
            raise click.UsageError(f"the options of a run do not go with `amg {command}`")
