"""What a dtype of `amg export` costs: bytes, and masks, by the examples' host script.

    python benchmarks/onnx_dtypes.py --data coco_dev --output FOLDER [--checkpoint FILE]

Each dtype's masks go to FOLDER/DTYPE; those that are there are not made again. Scored by
`amg eval`, beside `amg` itself with the reference's settings. Needs `amg-cli[onnx]`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import cv2

REPOSITORY = Path(__file__).parent.parent
HOST = REPOSITORY / "examples/onnx_everything.py"
DTYPES = ("fp32", "fp16", "int8")
REFERENCE = ("--nms", "box", "--box-nms-thresh", "0.7", "--crop-nms-thresh", "0.7")


def amg(*arguments: Any) -> None:
    """Run it, to its end."""
    subprocess.run([sys.executable, "-m", "amg_cli", *map(str, arguments)], check=True)


def by_host(graphs: Path, images: list[Path], output: Path) -> None:
    """Masks of each image by the host script."""
    for image in images:
        folder = output / image.stem
        if not (folder / "metadata.csv").exists():
            ppm = output / "image.ppm"
            pixels = cv2.imread(str(image))
            assert pixels is not None, image
            cv2.imwrite(str(ppm), pixels)
            subprocess.run([sys.executable, HOST, graphs, ppm, folder], check=True)
            ppm.unlink()


def figures_of(masks: Path, others: Path, data: Path, limit: int) -> dict[str, Any]:
    """What `amg eval` says of the masks of a folder: by the truth, and beside those of another."""
    json_file = masks.with_suffix(".json")
    given = ("--masks", masks, "--json", json_file)
    amg("eval", "--truth", data / "instances.json", "--limit", limit, *given)
    figures: dict[str, Any] = json.loads(json_file.read_text())
    amg("eval", "--against", others, *given)
    figures["scores"] |= json.loads(json_file.read_text())["scores"]
    return figures


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=10, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    data: Path, output: Path, checkpoint: Path | None, limit: int, json_file: Path | None
) -> None:
    """Bytes, masks and recall of each dtype."""
    model = ["--checkpoint", checkpoint] if checkpoint else []
    images = sorted((data / "images").iterdir())[:limit]
    rows = []
    for dtype in ("amg", *DTYPES):
        masks, graphs = output / dtype, output / f"graphs-{dtype}"
        masks.mkdir(parents=True, exist_ok=True)
        row: dict[str, Any] = {"dtype": dtype}
        if dtype == "amg":
            inputs = [part for image in images for part in ("--input", image)]
            amg(*inputs, "--output", masks, *model, *REFERENCE, "--quiet")
        else:
            if not (graphs / "masks.onnx").exists():
                amg("export", "--dtype", dtype, "--output", graphs, *model, "--quiet")
            by_host(graphs, images, masks)
            row["bytes"] = sum(path.stat().st_size for path in graphs.iterdir())
        row |= figures_of(masks, output / "amg", data, limit)
        rows.append({name: value for name, value in row.items() if name != "per_image"})
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
