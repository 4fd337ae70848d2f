"""What `amg` costs against the number of points, the image's size, and threads.

    python benchmarks/sizes.py --checkpoint mobile_sam.pt --image dog.jpg --json FILE

Each is a whole process of `amg --timings` on the image, scaled for the sizes; one after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import cv2
from side_by_side import machine

POINTS = (8, 16, 32, 64)
MEGAPIXELS = (0.3, 1, 3, 12, 50, 100)
THREADS = (1, 2)


def scaled(image: Path, megapixels: float, folder: Path) -> Path:
    """The image at so many megapixels, as a JPEG."""
    pixels = cv2.imread(str(image))
    assert pixels is not None, image
    factor = (megapixels * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** 0.5
    target = folder / f"{megapixels}.jpg"
    cv2.imwrite(str(target), cv2.resize(pixels, None, fx=factor, fy=factor))
    return target


def one_run(image: Path, checkpoint: Path, *options: str) -> dict[str, Any]:
    """Run `amg`. -> seconds, peak memory, and its stages."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--input", str(image), "--output", f"{folder}/out", "--convert-to-rle"]
        given += ["--checkpoint", str(checkpoint), "--timings", "--quiet", *options]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "amg_cli", *given],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise click.ClickException(said)
    rows = [line.split() for line in said.splitlines() if line.endswith("%")]
    stages = {row[0]: float(row[1]) for row in rows}
    return {"seconds": round(seconds, 2), "peak_mb": usage.ru_maxrss // 1024, "stages_s": stages}


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--image", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(checkpoint: Path, image: Path, json_file: Path | None) -> None:
    """Time amg against what it is given."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cases: list[tuple[str, float, Path, tuple[str, ...]]] = []
        cases += [("points a side", n, image, ("--points-per-side", str(n))) for n in POINTS]
        for size in MEGAPIXELS:
            cases.append(("megapixels", size, scaled(image, size, Path(folder)), ()))
        cases += [("threads", n, image, ("--threads", str(n))) for n in THREADS]
        for kind, value, path, options in cases:
            run = {kind: value, **one_run(path, checkpoint, *options)}
            click.echo(f"{kind:<14} {value:>6} {run['seconds']:8.2f} s {run['peak_mb']:6} MB")
            found.append(run)
    if json_file:
        json_file.write_text(json.dumps({"machine": machine(), "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
