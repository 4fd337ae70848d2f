"""`amg merge DIR…`: the shards of a run, joined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from amg_cli.batch.cloud.remote import is_url
from amg_cli.batch.storage import OnDisk
from amg_cli.cli.options import PLACE
from amg_cli.cli.words import say
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import interrupted_with

MOST_NAMES = 20  # of missing images, before they are only counted


@click.command()
@click.argument("folders", type=PLACE, nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--output", type=PLACE, metavar="DIR",
    help="Where the whole run goes.  [default: the first folder]",
)  # fmt: skip
@click.pass_context
def merge(
    ctx: click.Context, /, folders: tuple[Path | str, ...], output: Path | str | None
) -> None:
    """Join the shards of a run, in one folder or in several.

    The records, the outputs and the files of the whole run become those of a run without shards,
    ids included. What is missing is named, and the exit code then is 3.
    """
    from amg_cli.batch.merge import merge as merge_shards

    url = next(filter(is_url, (*folders, output)), None)
    if url and {*folders, output or url} != {url}:
        raise click.UsageError("shards in the cloud are merged where they are: give that alone")
    with interrupted_with("the same command merges again"), _here(url) as storage:
        if storage.place is None:
            merged = merge_shards(list(map(Path, folders)), Path(output or folders[0]))
        else:
            here = storage.place.folder
            merged = merge_shards([here], here, storage)
    for path in merged.written:
        click.echo(os.fsencode(storage.shown(path)))
    for shard in merged.absent:
        say(f"shard {shard.index}/{shard.count}: nothing of it")
    for name in merged.missing[:MOST_NAMES]:
        say(f"{name}: not done yet")
    if len(merged.missing) > MOST_NAMES:
        say(f"and {len(merged.missing) - MOST_NAMES} more")
    nb_missing = len(merged.missing)
    say(f"{merged.nb_done} done, {merged.nb_failed} failed, {nb_missing} missing")
    ctx.exit(ImageError.exit_code if merged.nb_failed or merged.missing else 0)


@contextmanager
def _here(url: object) -> Iterator[OnDisk]:
    """Where the whole run is to lie; in the cloud with all that its shards have recorded."""
    if url is None:
        yield OnDisk()
        return
    from amg_cli.batch.cloud.mirror import Mirror
    from amg_cli.formats.manifest import Shard

    with Mirror.held(str(url), Shard(), whole=True) as mirror:
        yield mirror
