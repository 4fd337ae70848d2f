"""`amg select` on a folder of candidates, and mask NMS of many large masks.

    amg --input photos --output old --save-candidates
    python benchmarks/selecting.py old --equal photos --json benchmarks/results/selecting.json

One core, start-up not counted: reading candidates, selecting, writing RLE. `--equal` compares
twenty random settings with new runs on the first photographs, byte for byte; it takes minutes.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

from amg_cli import Candidates, GenerationConfig, load_model, propose
from amg_cli.batch.convert import Wanted, write_results
from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.batch.reading import read_image
from amg_cli.batch.selecting import selected
from amg_cli.core.errors import ImageError
from amg_cli.core.presets import PRESETS
from amg_cli.formats.format import FormatOptions
from amg_cli.formats.reference_rle import FORMAT
from amg_cli.generation.overlaps import mask_nms

SETTINGS: dict[str, Mapping[str, Any]] = {
    "the defaults": {},
    "thresholds raised": {"pred_iou_thresh": 0.92, "stability_score_thresh": 0.97},
    "thresholds lowered": {"pred_iou_thresh": 0.8, "stability_score_thresh": 0.9},
    "--nms mask": {"nms": "mask"},
    **{f"--preset {name}": preset.settings for name, preset in PRESETS.items()},
}


def images_a_second(old: Path, settings: Mapping[str, Any]) -> tuple[int, float]:
    """Images, and how many of them a second, of a folder of candidates."""
    config = GenerationConfig(**settings)
    said: list[Path | ImageError] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = Wanted(Path(folder), ["rle"], FormatOptions())
        start = time.perf_counter()
        write_results(selected(old, config), wanted, said.append)
        seconds = time.perf_counter() - start
    return len(said), len(said) / seconds


def random_settings(choose: random.Random) -> dict[str, Any]:
    """Some settings that `select` goes by, at values that they may have."""
    every: dict[str, Any] = {
        "pred_iou_thresh": choose.uniform(0.7, 0.95),
        "stability_score_thresh": choose.uniform(0.8, 0.98),
        "box_nms_thresh": choose.random(),
        "nms": choose.choice(["box", "mask", "off"]),
        "min_mask_region_area": choose.choice([10, 100, 1000]),
        "min_area": choose.choice([50.0, "0.5%"]),
        "max_area": choose.choice(["20%", "60%"]),
        "drop_border": True,
        "largest_component": True,
        "smooth": choose.choice([1, 3]),
        "containment_thresh": choose.uniform(0.5, 0.95),
        "max_masks": choose.choice([5, 20]),
        "disjoint": choose.choice(["score", "smallest", "largest"]),
        "parents": True,
    }
    names = choose.sample(sorted(every), choose.randint(1, 5))
    return {name: every[name] for name in names}


def unequal(old: Path, photos: Path, nb_photos: int) -> int:
    """Of twenty random settings, how many give another byte than a new run of `nano` with them."""
    choose, model, differ = random.Random(0), load_model("nano", device="cpu"), 0
    paths = sorted(photos.glob("*.jpg"))[:nb_photos]
    for _ in range(20):
        config = GenerationConfig(**random_settings(choose))
        with tempfile.TemporaryDirectory() as folder:
            again, new = Path(folder, "again"), Path(folder, "new")
            new.mkdir()
            wanted = Wanted(again, ["rle"], FormatOptions())
            write_results(selected(old, config), wanted, lambda said: None)
            jobs = [Job(path, (new / f"{path.stem}.json",), name=path.stem) for path in paths]
            for _ in run(jobs, Work(model, Everything(config), (FORMAT,))):
                pass
            same = all((again / f.name).read_bytes() == f.read_bytes() for f in new.iterdir())
            differ += not (same and len(list(new.iterdir())) == len(paths))
    return differ


def nms_of_many(photo: Path, count: int = 5000, megapixels: float = 12) -> dict[str, float]:
    """Mask NMS of the best candidates of a scaled photograph: seconds, and megabytes it adds."""
    image = read_image(photo)
    scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
    config = GenerationConfig(
        points_per_side=64, pred_iou_thresh=0.7, stability_score_thresh=0.85, nms="off"
    )
    found = propose(load_model("nano", device="cpu"), image, config)
    best = found[torch.sort(found.pred_iou, descending=True, stable=True).indices[:count]]
    with tempfile.TemporaryDirectory() as folder:
        best.save(Path(folder, "a.npz"))
        # In a process of its own, whose memory has not been more before.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_nms_of_file, [Path(folder, "a.npz")])


def _peak_kb() -> int:
    """Of this process since it began; `getrusage` has its parent's too. Linux only."""
    (line,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(line)


def _nms_of_file(path: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    candidates = Candidates.load(path)
    before = _peak_kb()
    start = time.perf_counter()
    kept = mask_nms(candidates, candidates.pred_iou, 0.7)
    seconds = time.perf_counter() - start
    megabytes = (_peak_kb() - before) / 1000
    count = len(candidates)
    return {"masks": count, "kept": len(kept), "seconds": seconds, "megabytes": megabytes}


@click.command()
@click.argument("old", type=click.Path(exists=True, path_type=Path))
@click.option("--equal", "photos", type=click.Path(exists=True, path_type=Path))
@click.option("--first", "nb_photos", default=3, show_default=True)
@click.option("--large", type=click.Path(exists=True, path_type=Path), help="For mask NMS.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    old: Path,
    photos: Path | None,
    nb_photos: int,
    large: Path | None,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Time `amg select` on the candidates of OLD."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {"images_a_second": {}}
    for name, settings in SETTINGS.items():
        timed = [images_a_second(old, settings) for _ in range(rounds)]
        rates = [rate for _, rate in timed]
        found["images"] = timed[0][0]
        found["images_a_second"][name] = statistics.median(rates)
        click.echo(f"{name}: {statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})")
    if large is not None:
        found["mask_nms"] = nms_of_many(large)
        click.echo(found["mask_nms"])
    if photos is not None:
        found["unequal_settings"] = unequal(old, photos, nb_photos)
        click.echo(f"of 20 random settings {found['unequal_settings']} differ from a new run")
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
