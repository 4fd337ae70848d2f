"""Record what `nano` finds in the example photographs: `python -m tests.goldens.make_nano`.

`nano/CASE.json` holds the records that `amg --convert-to-rle` writes. Run it when the model in the
package, or what a setting means, has changed on purpose; look at the masks first.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDENS = Path(__file__).parent / "nano"
IMAGES = Path(__file__).parents[2] / "examples/images"
CASES: dict[str, tuple[str, ...]] = {
    "defaults": ("--nms=box",),
    "crops": (
        "--nms=box",
        "--points-per-side=12",
        "--crop-n-layers=1",
        "--crop-n-points-downscale-factor=2",
    ),
    "all": (
        "--nms=box",
        "--points-per-side=8",
        "--pred-iou-thresh=0.5",
        "--stability-score-thresh=0.6",
    ),
}


def record(options: tuple[str, ...], target: Path) -> None:
    """Run the command as a user does, and keep its JSON, a file an image."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "amg_cli", "--input", str(IMAGES), "--output", scratch]
        subprocess.run(
            [*command, "--convert-to-rle", "--device=cpu", "--quiet", *options], check=True
        )
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(Path(scratch).glob("*.json")):
            lines = ",\n".join(json.dumps(mask) for mask in json.loads(path.read_text()))
            (target / path.name).write_text(f"[{lines}]\n")


if __name__ == "__main__":
    for name, options in CASES.items():
        record(options, GOLDENS / name)
