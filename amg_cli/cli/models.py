"""`amg models`: what is known and what is here; download, check, find."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from amg_cli.cli.words import say
from amg_cli.core.errors import AmgError
from amg_cli.core.interrupts import interrupted_with

if TYPE_CHECKING:
    from amg_cli.weights.zoo import KnownModel

EXIT_DAMAGED = 1

EPILOG = """\b
Environment:
  AMG_CACHE   the folder of the files, instead of the platform's own
  AMG_MIRROR  the address to download from, to which /FILE is added
"""


@click.group(invoke_without_command=True, epilog=EPILOG)
@click.pass_context
def models(ctx: click.Context) -> None:
    """Show the models amg knows, and which are here."""
    if ctx.invoked_subcommand is None:
        _show_table()


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
def pull(names: tuple[str, ...], quiet: bool) -> None:
    """Download what is not there yet, check it, and print its path.

    A file that is there is checked too, and replaced if it is damaged. A download that was broken
    off goes on where it stopped.
    """
    from amg_cli.weights import cache, download
    from amg_cli.weights.zoo import known_model

    exit_code = 0
    for known in [known_model(name) for name in names]:
        try:
            to_come = known.url and known.can_be_checked and not cache.is_present(known)
            if not quiet and to_come:
                size = cache.human_bytes(known.size_bytes)
                say(f"{known.name}: {size} from {download.address(known)}")
            progress = not quiet and sys.stderr.isatty()
            with interrupted_with("amg models pull goes on from here"):
                file = download.pull(known, progress=progress, recheck=True)
        except AmgError as error:
            say(error)
            exit_code = exit_code or error.exit_code
        else:
            click.echo(file)
    sys.exit(exit_code)


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def verify(names: tuple[str, ...]) -> None:
    """Check files against their published SHA-256.

    Those named, or all that are here: ok, damaged or missing; unknown where no SHA-256 is. The exit
    code is 1 unless all are ok.
    """
    from amg_cli.weights import cache
    from amg_cli.weights.zoo import ZOO, known_model

    chosen = [known_model(name) for name in names]
    if not names:
        all_there = (row for row in ZOO.values() if cache.cached_path(row).exists())
        chosen = [known for known in all_there if known.can_be_checked]
        if not chosen:
            say(f"no model is in {cache.cache_folder()}")
    exit_code = 0
    for known in chosen:
        path = cache.cached_path(known)
        state = _state(known)
        click.echo(f"{known.name}  {state:7}  {path}")
        if state != "ok":
            say(f"{path}: {state}; {_remedy(known)}")
            exit_code = EXIT_DAMAGED
    sys.exit(exit_code)


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where the model's file is, or will be."""
    from amg_cli.weights.cache import cached_path
    from amg_cli.weights.zoo import known_model

    click.echo(cached_path(known_model(name)))


def _show_table() -> None:
    """Two blocks, so that addresses do not push the figures apart."""
    from amg_cli.weights import cache, download
    from amg_cli.weights.zoo import ZOO

    rows = [("name", "parameters", "size", "licence", "present", "also called")]
    places = []
    for known in ZOO.values():
        present = cache.is_present(known)
        rows.append(
            (
                known.name,
                f"{_nb_parameters(known) / 1e6:.1f} M",
                cache.human_bytes(known.size_bytes) if known.size_bytes else "?",
                known.licence,
                "yes" if present else "no",
                ", ".join(known.aliases),
            )
        )
        place = cache.cached_path(known) if present else download.address(known)
        places.append((known.name, str(place)))
    for line in _aligned(rows, right=(1, 2)):
        click.echo(line)
    click.echo()
    for line in _aligned(places):
        click.echo(line)
    if len(places) > 0:
        click.echo(f"\nFiles are kept in {cache.cache_folder()}; amg models pull NAME gets one.")


def _state(known: KnownModel) -> str:
    """Of the model's file in the cache."""
    from amg_cli.weights import cache

    if not known.can_be_checked:
        return "unknown"
    there = cache.cached_path(known).exists()
    return "ok" if cache.verify(known) else "damaged" if there else "missing"


def _remedy(known: KnownModel) -> str:
    """For a file that is not ok."""
    from amg_cli.weights.cache import REINSTALL

    if not known.can_be_checked:
        return f"get it at {known.url}, and give it with --checkpoint"
    return f"amg models pull {known.name} gets a good one" if known.url else REINSTALL


def _nb_parameters(known: KnownModel) -> int:
    """Counted on the meta device: no memory, no weights."""
    import torch

    from amg_cli.models.sam import Sam

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Sam(known.config).parameters())


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines whose columns stand under each other; those of `right` end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
