"""Prepare, train and export `nano`: one command, which goes on from where it was stopped.

    python -m training.nano --teacher mobile_sam.pt --photographs DIR --work DIR --minutes 10

Again until it says that all is done; WORK holds the prepared data (some 5 GB), the training's
state and nano.pt.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import torch

from amg_cli.batch.images import discover
from amg_cli.models.devices import keep_memory
from amg_cli.models.weights import load_checkpoint, load_model
from training.export import export
from training.prepare import Models, prepare
from training.recipe import Recipe
from training.student import new_student
from training.train import Run, train


@click.command()
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--photographs", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=10.0, show_default=True, help="Stop after so long.")
@click.option("--steps", type=int, help="In all; the learning rate falls to 0 with them.")
def main(teacher: Path, photographs: Path, work: Path, minutes: float, steps: int | None) -> None:
    """Prepare, train and export nano, in pieces."""
    keep_memory()
    until = time.monotonic() + 60 * minutes
    recipe = Recipe() if steps is None else replace(Recipe(), steps=steps)
    torch.manual_seed(recipe.seed)
    student = new_student(load_checkpoint(teacher)).eval()
    paths = [source.path for source in discover([photographs], recursive=False)]
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not prepare(paths, Models(load_model(teacher, device="cpu"), student), data, recipe, until):
        click.echo(f"{len(list(data.glob('part_????')))} parts are prepared; run again")
        return
    run, saved = Run(student, recipe), work / "training.pt"
    if saved.exists():
        run.load(saved)
    done = train(run, sorted(data.glob("part_????")), saved, until)
    digest = export(run, work / "nano.pt")
    size_mb = (work / "nano.pt").stat().st_size / 1e6
    click.echo(f"step {run.step} of {recipe.steps}; nano.pt: {size_mb:.1f} MB, SHA-256 {digest}")
    click.echo("all is done" if done else "run again")


if __name__ == "__main__":
    main()
