"""The options that say on what a run is done: this machine's processes, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

OF_RAY = ("ray_address", "actors", "cpus_per_actor", "gpus_per_actor")

# fmt: off
ENGINE_OPTIONS = (
    click.option(
        "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
        help="What does the images: processes of this machine, or actors of a Ray cluster (pip "
        "install 'amg-cli[ray]') whose nodes all see the images and the output.",
    ),
    click.option(
        "--ray-address", metavar="ADDRESS",
        help="Of the cluster, as Ray has it: auto, or HOST:PORT. [default: RAY_ADDRESS, or one of "
        "this machine alone that ends with the run]",
    ),
    click.option(
        "--actors", type=click.IntRange(min=1), metavar="N",
        help="The most there are, each with the model. [default: all that there is room for]",
    ),
    click.option(
        "--cpus-per-actor", type=click.IntRange(min=1), metavar="N",
        help="CPUs that each actor asks Ray for. [default: its --threads, or 1]",
    ),
    click.option(
        "--gpus-per-actor", type=click.FloatRange(min=0), metavar="N",
        help="GPUs that each actor asks Ray for, such as 1 or 0.5. [default: 0]",
    ),
)
# fmt: on


def on_ray(values: Mapping[str, Any]) -> bool:
    """Whether a run is to be done on a cluster."""
    return bool(values["engine"] == "ray")


def check_engine(values: Mapping[str, Any]) -> None:
    """Raises click's usage error for what does not go with the engine."""
    if not on_ray(values):
        for name in OF_RAY:
            if values[name] is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} goes with --engine ray")
        return
    if values["workers"] is not None:
        raise click.UsageError("--workers is for --engine local; Ray's are --actors")
    if values["dry_run"]:
        raise click.UsageError("--dry-run is tried on this machine: leave out --engine ray")
    wanted = "cuda" if values["gpus_per_actor"] else "cpu"
    if values["device"] not in ("auto", wanted):
        cause = f"--device {values['device']} does not go with what actors have"
        raise click.UsageError(f"{cause}; give --gpus-per-actor, and no --device")
    if values["backend"] not in ("auto", "torch") and values["gpus_per_actor"]:
        raise click.UsageError("--gpus-per-actor is for --backend torch")
