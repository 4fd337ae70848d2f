"""What `amg` costs against the number of points, the image's size, and threads.

    python benchmarks/sizes.py --checkpoint mobile_sam.pt --image dog.jpg --json FILE

Each is a whole process of `amg --timings` on the image, scaled for the sizes; one after the other.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import cv2
from side_by_side import amg, machine, timed_run

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
        command = amg("--checkpoint", str(checkpoint), "--timings", *options)(image, Path(folder))
        seconds, peak_mb, said = timed_run(command)
    rows = [line.split() for line in said.splitlines() if line.endswith("%")]
    stages = {row[0]: float(row[1]) for row in rows}
    return {"seconds": round(seconds, 2), "peak_mb": round(peak_mb), "stages_s": stages}


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
