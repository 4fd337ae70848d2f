"""`amg` over a folder, whole processes, against the published generator on some of its images.

    python benchmarks/folder.py --checkpoint mobile_sam.pt --rounds 3 FOLDER

The generator takes minutes an image, so each round gives it one: the first, the second and so on,
with its start-up, which over a folder is a fiftieth. In the environment of `side_by_side.py`.
Nothing else may run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
from side_by_side import Contender, amg, contenders_vit_t, machine, summary, timed_run

from amg_cli.batch.sources.images import discover

REFERENCE = "mobilesam-mirror"


def runs(
    contenders: dict[str, Contender], folder: Path, images: list[Path], rounds: int
) -> Iterator[dict[str, Any]]:
    """Every contender over the folder, the reference on one of its images, round by round."""
    for round_ in range(rounds):
        for name, command in contenders.items():
            given = images[round_ % len(images)] if name == REFERENCE else folder
            with tempfile.TemporaryDirectory() as scratch:
                seconds, peak_mb, _ = timed_run(command(given, Path(scratch)))
            seconds /= 1 if name == REFERENCE else len(images)
            click.echo(f"{name:<18} {seconds:8.2f} s an image, {peak_mb:.0f} MB")
            yield {
                "contender": name,
                "image": folder.name,
                "given": given.name,
                "round": round_,
                "seconds": round(seconds, 3),
                "peak_mb": round(peak_mb),
            }


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
    contenders = {"nano": amg("--model-type", "nano")} | contenders_vit_t(checkpoint)
    if not contenders.keys() >= set(only):
        raise click.UsageError(f"--only takes {', '.join(contenders)}")
    contenders = {n: c for n, c in contenders.items() if not only or n in (*only, REFERENCE)}
    images = [source.path for source in discover([folder], recursive=False)]
    found = list(runs(contenders, folder, images, rounds))
    rows = summary(found)
    reference = next(row for row in rows if row["contender"] == REFERENCE)
    for row in rows:
        ratio = reference["median_s"] / row["median_s"]
        click.echo(f"{row['contender']:<18} {row['median_s']:8.2f} s, {ratio:.1f} times as fast")
    if json_file:
        result = {"date": str(date.today()), "machine": machine(), "images": len(images)}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result | {"summary": rows, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
