"""`amg` and its peers, whole processes, alternating in one run, on the same weights and images.

    python benchmarks/side_by_side.py --checkpoint mobile_sam.pt --rounds 3 dog.jpg truck.jpg

In an environment with `benchmarks/requirements.txt` and amg, as `benchmarks/README.md` says.
Nothing else may run. With `--vit-b FOLDER`, of `peers/random_vit_b.py`, ViT-B with random weights
is run instead, thresholds off: time only.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

PEERS = Path(__file__).parent / "peers"
PACKAGES = ("amg-cli", "torch", "mobilesam-mirror", "segment-anything", "transformers", "numpy")
NO_THRESHOLDS = {"pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}

Contender = Callable[[Path, Path], list[str]]  # image, a free folder -> its command


def amg(*options: str) -> Contender:
    """The command of this project."""

    def command(image: Path, folder: Path) -> list[str]:
        given = ["--input", str(image), "--output", str(folder / "out"), "--convert-to-rle"]
        return [sys.executable, "-m", "amg_cli", *given, "--quiet", *options]

    return command


def script(name: str, *before: str, after: tuple[str, ...] = ()) -> Contender:
    """A script of `peers/`, whose arguments come before the image and after it."""

    def command(image: Path, folder: Path) -> list[str]:
        return [sys.executable, str(PEERS / name), *before, str(image), *after]

    return command


def contenders_vit_t(checkpoint: Path) -> dict[str, Contender]:
    """MobileSAM, default settings."""
    given = ("--checkpoint", str(checkpoint))
    return {
        "amg fp32": amg(*given),
        "amg bf16": amg(*given, "--precision", "bf16"),
        "mobilesam-mirror": script("reference.py", "mobile_sam", "vit_t", str(checkpoint)),
    }


def contenders_vit_b(folder: Path) -> dict[str, Contender]:
    """ViT-B, random weights: no threshold can mean anything, so all are off."""
    checkpoint = str(folder / "vit_b.pth")
    off = tuple(f"{name}={value}" for name, value in NO_THRESHOLDS.items())
    options = [f"--{name.replace('_', '-')}={value}" for name, value in NO_THRESHOLDS.items()]
    return {
        "amg fp32": amg("--checkpoint", checkpoint, *options),
        "amg bf16": amg("--checkpoint", checkpoint, "--precision", "bf16", *options),
        "segment-anything": script(
            "reference.py", "segment_anything", "vit_b", checkpoint, after=off
        ),
        "transformers": script("transformers_pipeline.py", str(folder / "transformers"), after=off),
    }


def timed_run(command: list[str]) -> tuple[float, float, str]:
    """Run a command to its end. -> wall seconds, its peak memory in MB, and its stderr."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise click.ClickException(f"{' '.join(command)} failed:\n{said[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, said


def runs(
    contenders: dict[str, Contender], images: tuple[Path, ...], rounds: int
) -> Iterator[dict[str, Any]]:
    """Every contender on every image, in turn, round by round."""
    plan = [(i, image, name) for i in range(rounds) for image in images for name in contenders]
    for round_, image, name in tqdm(plan, unit="run"):
        with tempfile.TemporaryDirectory() as scratch:
            seconds, peak_mb, _ = timed_run(contenders[name](image, Path(scratch)))
        yield {
            "contender": name,
            "image": image.name,
            "round": round_,
            "seconds": round(seconds, 2),
            "peak_mb": round(peak_mb),
        }


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Median and spread of each contender on each image."""
    keys = dict.fromkeys((run["image"], run["contender"]) for run in found)
    rows = []
    for image, contender in keys:
        mine = [r for r in found if (r["image"], r["contender"]) == (image, contender)]
        seconds = [run["seconds"] for run in mine]
        rows.append(
            {
                "image": image,
                "contender": contender,
                "median_s": round(statistics.median(seconds), 2),
                "min_s": min(seconds),
                "max_s": max(seconds),
                "peak_mb": max(run["peak_mb"] for run in mine),
            }
        )
    return rows


def machine() -> dict[str, Any]:
    """What it ran on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), **versions}


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="MobileSAM's.")
@click.option("--vit-b", type=click.Path(exists=True, path_type=Path), help="Random ViT-B.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", multiple=True, help="Only this contender; can be given several times.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all here.")
def main(
    images: tuple[Path, ...],
    checkpoint: Path | None,
    vit_b: Path | None,
    rounds: int,
    only: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Time amg and its peers side by side."""
    if (checkpoint is None) == (vit_b is None):
        raise click.UsageError("give --checkpoint, or --vit-b")
    contenders = contenders_vit_t(checkpoint) if checkpoint else contenders_vit_b(Path(str(vit_b)))
    contenders = {n: c for n, c in contenders.items() if not only or n in only}
    found = list(runs(contenders, images, rounds))
    rows = summary(found)
    for row in rows:
        click.echo(
            f"{row['image']:<16} {row['contender']:<18} {row['median_s']:8.2f} s "
            f"({row['min_s']:.2f} to {row['max_s']:.2f}) {row['peak_mb']:6} MB"
        )
    if json_file:
        result = {"date": str(date.today()), "machine": machine(), "summary": rows, "runs": found}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
