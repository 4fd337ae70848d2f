"""`amg merge DIR…`: the shards of a run, joined."""

from __future__ import annotations

from pathlib import Path

import click

from amg_cli.cli.options import PATH
from amg_cli.cli.words import say
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import interrupted_with

MOST_NAMES = 20  # of missing images, before they are only counted


@click.command()
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--output", type=PATH, metavar="DIR",
    help="Where the whole run goes.  [default: the first folder]",
)  # fmt: skip
@click.pass_context
def merge(ctx: click.Context, /, folders: tuple[Path, ...], output: Path | None) -> None:
    """Join the shards of a run, in one folder or in several.

    The records, the outputs and the files of the whole run become those of a run without shards,
    ids included. What is missing is named, and the exit code then is 3.
    """
    from amg_cli.batch.merge import merge as merge_shards

    with interrupted_with("the same command merges again"):
        merged = merge_shards(folders, output or folders[0])
    for path in merged.written:
        click.echo(bytes(path))
    for shard in merged.absent:
        say(f"shard {shard.index}/{shard.count}: nothing of it")
    for name in merged.missing[:MOST_NAMES]:
        say(f"{name}: not done yet")
    if len(merged.missing) > MOST_NAMES:
        say(f"and {len(merged.missing) - MOST_NAMES} more")
    nb_missing = len(merged.missing)
    say(f"{merged.nb_done} done, {merged.nb_failed} failed, {nb_missing} missing")
    ctx.exit(ImageError.exit_code if merged.nb_failed or merged.missing else 0)
