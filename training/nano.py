"""Prepare, train and export `nano`: one command, which goes on from where it was stopped.

    python -m training.nano --teacher mobile_sam.pt --photographs DIR --work DIR --minutes 10

Again until it says that all is done, on this device or another; the folder WORK holds the prepared
data (some 2 GB), the training's state and nano.pt.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import torch

from amg_cli.batch.sources.images import discover
from amg_cli.cli.process import keep_memory
from amg_cli.models.devices import find_device
from amg_cli.models.sam import Sam
from amg_cli.weights.loading import load_checkpoint, load_model
from training.calibrate import calibrate
from training.data import all_views, read_view
from training.export import averaged, export
from training.prepare import Models, prepare
from training.recipe import Recipe
from training.refit import refit
from training.student import new_student
from training.train import Run, train


@click.command()
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--photographs", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", default=10.0, show_default=True, help="Stop after so long.")
@click.option("--steps", type=int, help="In all; the learning rate falls to 0 with them.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, mps, cuda or cuda:N.")
def main(
    teacher: Path, photographs: Path, work: Path, minutes: float, steps: int | None, device: str
) -> None:
    """Prepare, train and export nano, in pieces."""
    keep_memory()
    until = time.monotonic() + 60 * minutes
    recipe = Recipe() if steps is None else replace(Recipe(), steps=steps)
    torch.manual_seed(recipe.seed)
    place = find_device(device)
    taught, for_inference = load_checkpoint(teacher).eval(), load_model(teacher, device=device)
    student = new_student(taught).eval().to(place)
    paths = [source.path for source in discover([photographs], recursive=False)]
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not prepare(paths, Models(for_inference, student), data, recipe, until):
        click.echo(f"{len(list(data.glob('part_????')))} parts are prepared; run again")
        return
    parts, saved = sorted(data.glob("part_????")), work / "training.pt"
    run = begin(student, taught.to(place), parts, saved, recipe)
    done = train(run, parts, saved, until)
    model = averaged(run).cpu()
    if done:
        some = paths[:: max(1, len(paths) // recipe.calibration)][: recipe.calibration]
        by = calibrate(model, for_inference.cpu(), some, recipe.passing)
        click.echo(f"predicted IoU x {by.slope:.3f} {by.added:+.3f}, logits x {by.scale:.2f}")
    digest = export(model, work / "nano.pt")
    size_mb = (work / "nano.pt").stat().st_size / 1e6
    click.echo(f"step {run.step} of {recipe.steps}; nano.pt: {size_mb:.1f} MB, SHA-256 {digest}")
    click.echo("all is done" if done else "run again")


def begin(student: Sam, taught: Sam, parts: list[Path], saved: Path, recipe: Recipe) -> Run:
    """A run that goes on from `saved`, or whose student has just got its small MLPs."""
    if saved.exists():
        run = Run(student, recipe)
        run.load(saved)
        return run
    views = [read_view(place) for place in all_views(parts)[: recipe.refit_views]]
    left = ", ".join(f"{share:.1%}" for share in refit(student, taught, views, recipe))
    click.echo(f"the MLPs leave {left} of the variance of the teacher's")
    return Run(student, recipe)


if __name__ == "__main__":
    main()
