"""`amg` over a folder, whole processes, against the published generator on some of its images.

    python benchmarks/folder.py --checkpoint mobile_sam.pt --rounds 3 FOLDER

The generator takes minutes an image, so each round gives it one: the first, the second and so on,
with its start-up, which over a folder is a fiftieth. In the environment of `side_by_side.py`.
Nothing else may run.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
from side_by_side import amg, machine, script, timed_run

from amg_cli.batch.images import discover

REFERENCE = "mobilesam-mirror"


def options_of(checkpoint: Path) -> dict[str, tuple[str, ...]]:
    """What is compared, and the options of each."""
    vit_t = ("--checkpoint", str(checkpoint))
    return {
        "nano": ("--model-type", "nano"),
        "vit_t fp32": vit_t,
        "vit_t bf16": (*vit_t, "--precision", "bf16"),
    }


def runs(
    contenders: dict[str, tuple[str, ...]], folder: Path, checkpoint: Path, rounds: int
) -> Iterator[dict[str, Any]]:
    """Every contender over the folder, then the reference on one image, round by round."""
    images = [source.path for source in discover([folder], recursive=False)]
    reference = script("reference.py", "mobile_sam", "vit_t", str(checkpoint))
    for round_ in range(rounds):
        for name, options in contenders.items():
            with tempfile.TemporaryDirectory() as scratch:
                seconds, peak_mb, _ = timed_run(amg(*options)(folder, Path(scratch)))
            yield row(name, round_, seconds / len(images), peak_mb)
        image = images[round_ % len(images)]
        seconds, peak_mb, _ = timed_run(reference(image, Path()))
        yield row(REFERENCE, round_, seconds, peak_mb) | {"image": image.name}


def row(name: str, round_: int, seconds: float, peak_mb: float) -> dict[str, Any]:
    """One run, as it is kept."""
    found = {"contender": name, "round": round_, "seconds an image": round(seconds, 3)}
    click.echo(f"{name:<18} {seconds:8.2f} s an image, {peak_mb:.0f} MB")
    return found | {"peak_mb": round(peak_mb)}


def summary(found: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median and spread of each contender, in seconds an image; the reference's last."""
    rows = {}
    for name in dict.fromkeys(run["contender"] for run in found):
        seconds = [run["seconds an image"] for run in found if run["contender"] == name]
        rows[name] = {
            "median_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "peak_mb": max(run["peak_mb"] for run in found if run["contender"] == name),
        }
    return {n: rows[n] for n in sorted(rows, key=lambda name: name == REFERENCE)}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", multiple=True, help="Only this contender; can be given several times.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all here.")
def main(
    folder: Path, checkpoint: Path, rounds: int, only: tuple[str, ...], json_file: Path | None
) -> None:
    """Time amg over a folder, and the reference on one image of it a round."""
    contenders = {n: o for n, o in options_of(checkpoint).items() if not only or n in only}
    if len(contenders) < len(set(only)):
        raise click.UsageError(f"--only takes {', '.join(options_of(checkpoint))}")
    found = list(runs(contenders, folder, checkpoint, rounds))
    rows = summary(found)
    for name, times in rows.items():
        ratio = rows[REFERENCE]["median_s"] / times["median_s"]
        click.echo(f"{name:<18} {times['median_s']:8.2f} s, {ratio:.1f} times as fast")
    if json_file:
        nb_images = len(discover([folder], recursive=False))
        result = {"date": str(date.today()), "machine": machine(), "images": nb_images}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result | {"summary": rows, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
