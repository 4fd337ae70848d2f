"""Boxes to instances: mask AP by COCOeval, and seconds, beside the published predictor.

    python benchmarks/boxes.py score --checkpoint mobile_sam.pt --data DIR --keep FOLDER
    python benchmarks/boxes.py time --checkpoint mobile_sam.pt --data DIR

DIR has `images`, `instances.json` (a COCO data set) and `detections.json` (a detector's results for
it). In the environment of `benchmarks/requirements.txt`.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import click
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from side_by_side import PEERS, machine, timed_run

PUBLISHED = "mobilesam-mirror"
FILES = {"true": "instances.json", "detections": "detections.json"}
# Of `COCOeval.stats`: over IoU .5 to .95, at .5, and recall with a hundred masks.
FIGURES = {"AP": 0, "AP50": 1, "AR@100": 8}
BATCHES = (4, 16)  # boxes a call of the published predictor, which is fastest at 4


def command(
    contender: str, checkpoint: Path, data: Path, boxes: str, refine: bool, out: Path, more: Any
) -> list[str]:
    """What writes COCO results to `out`/results.json. more: options of the contender's own."""
    images, instances, given = (data / n for n in ("images", FILES["true"], FILES[boxes]))
    if contender.startswith(PUBLISHED):
        script = [
            sys.executable,
            str(PEERS / "published_boxes.py"),
            "mobile_sam",
            "vit_t",
            str(checkpoint),
        ]
        files = [str(images), str(given), str(instances), str(out / "results.json")]
        return [*script, *files, f"refine={int(refine)}", *more]
    model = ["--model-type", "nano"] if contender == "nano" else ["--checkpoint", str(checkpoint)]
    named = ["--data-set", str(instances)] if boxes == "detections" else []
    asked = ["--detections", str(given), *named, "--refine" if refine else "--no-refine"]
    kept = ["--input", str(images), "--output", str(out), "--format", "coco-results", "--quiet"]
    return [sys.executable, "-m", "amg_cli", "boxes", *asked, *kept, *model, *more]


def figures(truth: COCO, results: Path) -> dict[str, float]:
    """What COCOeval says of results."""
    with contextlib.redirect_stdout(io.StringIO()):
        scored = COCOeval(truth, truth.loadRes(str(results)), "segm")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return {name: round(float(scored.stats[place]), 4) for name, place in FIGURES.items()}


@click.group()
def main() -> None:
    """Score, or time."""


@main.command()
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--keep", type=click.Path(path_type=Path), required=True, help="Results lie here.")
@click.option("--kept-only", is_flag=True, help="Make none; figures of others stay.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def score(
    checkpoint: Path, data: Path, keep: Path, kept_only: bool, json_file: Path | None
) -> None:
    """Mask AP of every contender; results that are kept are not made again."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data / FILES["true"]))
    rows = []
    earlier: dict[str, Any] = {"machine": machine(), "runs": []}
    if kept_only and json_file and json_file.exists():
        earlier = json.loads(json_file.read_text())
    of_run = {(row["boxes"], row["refined"], row["contender"]): row for row in earlier["runs"]}
    for boxes, refine, name in product(FILES, (False, True), ("vit_t", "nano", PUBLISHED)):
        out = keep / f"{name}-{boxes}-{'refined' if refine else 'once'}"
        if not (out / "results.json").exists():
            if kept_only:
                if (boxes, refine, name) in of_run:
                    rows.append(of_run[boxes, refine, name])
                continue
            out.mkdir(parents=True, exist_ok=True)
            timed_run(command(name, checkpoint, data, boxes, refine, out, []))
        found = figures(truth, out / "results.json")
        rows.append({"contender": name, "boxes": boxes, "refined": refine, **found})
        click.echo(f"{name:<18} {boxes:<12} {'refined' if refine else 'once':<8} {found}")
    if json_file:
        json_file.write_text(json.dumps({**earlier, "runs": rows}, indent=1) + "\n")


@main.command("time")
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--first", default=6, show_default=True, help="Only so many photographs.")
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--batch",
    "batches",
    type=int,
    multiple=True,
    default=BATCHES,
    show_default=True,
    help="Boxes a call of the published predictor, 0 for all.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def time_all(
    checkpoint: Path,
    data: Path,
    first: int,
    rounds: int,
    batches: tuple[int, ...],
    json_file: Path | None,
) -> None:
    """Seconds a photograph of whole processes, in turn, with a detector's boxes."""
    contenders: dict[str, tuple[str, list[str]]] = {"vit_t": ("vit_t", []), "nano": ("nano", [])}
    for size in batches:
        contenders[f"{PUBLISHED}, {size or 'all'} boxes a call"] = (PUBLISHED, [f"batch={size}"])
    found: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        some = _some(data, first, Path(scratch))
        for round_, refine, name in product(range(rounds), (False, True), contenders):
            out = Path(scratch) / f"{round_}{refine}{name}"
            out.mkdir()
            kind, more = contenders[name]
            start = time.perf_counter()
            timed_run(command(kind, checkpoint, some, "detections", refine, out, more))
            seconds = (time.perf_counter() - start) / first
            found.setdefault((name, refine), []).append(round(seconds, 2))
            click.echo(f"{name:<36} {'refined' if refine else 'once':<8} {seconds:.2f}")
    rows = [
        {"contender": name, "refined": refine, "median_s": statistics.median(s), "seconds": s}
        for (name, refine), s in found.items()
    ]
    if json_file:
        result = {"machine": machine(), "photographs": first, "runs": rows}
        json_file.write_text(json.dumps(result, indent=1) + "\n")


def _some(data: Path, first: int, folder: Path) -> Path:
    """The same data of the first photographs alone, whose files are links."""
    whole = json.loads((data / FILES["true"]).read_text())
    whole["images"] = whole["images"][:first]
    ids = {image["id"] for image in whole["images"]}
    whole["annotations"] = [a for a in whole["annotations"] if a["image_id"] in ids]
    detections = json.loads((data / FILES["detections"]).read_text())
    detections = [d for d in detections if d["image_id"] in ids]
    some = folder / "data"
    (some / "images").mkdir(parents=True)
    for image in whole["images"]:
        target = (data / "images" / image["file_name"]).resolve()
        (some / "images" / image["file_name"]).symlink_to(target)
    (some / FILES["true"]).write_text(json.dumps(whole))
    (some / FILES["detections"]).write_text(json.dumps(detections))
    return some


if __name__ == "__main__":
    main()
