"""Everything by SAM 2 and SAM-HQ, beside their published generators: seconds, and peak memory.

    python benchmarks/newer_models.py sam2.1_t IMAGE… --rounds 2 --json results/sam2.1_t.json
    python benchmarks/newer_models.py hq_vit_t IMAGE… --contender "amg fp32" --contender published

In an environment with `sam2`, `segment-anything-hq` and amg on one torch, from this repository's
root. Both have the same weights, drawn by key, so that masks mean nothing and only time does: no
thresholds, so that each of the 3,072 masks (of SAM-HQ 1,024) is drawn, and duplicates by boxes.
With --m2m each is refined, too. `encoder` is amg's encoder alone, which no decoder can be under.
Each contender has a process of its own, in turn.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch
from side_by_side import machine

NO_THRESHOLDS: dict[str, Any] = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
CONTENDERS = ("amg fp32", "amg bf16", "published", "encoder")
PUBLISHED = ("sam2", "segment-anything-hq")


def published_model(name: str) -> Any:
    """The published model of a row of the zoo, with weights drawn by key."""
    from tests.goldens import seeded

    family, _, size = name.rpartition("_")
    weight = seeded.sam2_weight
    if family == "hq_vit":
        from segment_anything_hq import sam_model_registry

        model = sam_model_registry["vit_tiny" if size == "t" else f"vit_{size}"]().eval()
        weight = seeded.weight
    else:
        from sam2.build_sam import build_sam2

        model = build_sam2(f"configs/{family}/{family}_hiera_{size}.yaml", device="cpu")
    for key, tensor in model.state_dict().items():
        if seeded.is_seeded(key):
            tensor.copy_(torch.from_numpy(weight(key, tuple(tensor.shape))))
    return model


@dataclass(frozen=True)
class Contender:
    """What finds the masks of an image.

    kind: one of `CONTENDERS`; name: of the model; checkpoint: its file
    settings: of the generator, both ours and theirs
    """

    kind: str
    name: str
    checkpoint: Path
    settings: dict[str, Any]

    def ready(self) -> Callable[[Any], Any]:
        """What is called with each image, (H, W, 3)."""
        if self.kind == "published":
            return self._published().generate
        from amg_cli import GenerationConfig, encode_image, generate, load_model
        from amg_cli.cli.process import keep_memory

        keep_memory()
        precision = "bf16" if self.kind == "amg bf16" else "fp32"
        model = load_model(self.checkpoint, model_type=self.name, device="cpu", precision=precision)
        if self.kind == "encoder":
            return lambda image_rgb: encode_image(model, image_rgb)
        config = GenerationConfig(**self.settings)
        return lambda image_rgb: generate(image_rgb, model, config)

    def _published(self) -> Any:
        """The published generator."""
        if self.name.startswith("hq_"):
            from segment_anything_hq import SamAutomaticMaskGenerator as Generator
        else:
            from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator as Generator
        return Generator(published_model(self.name), output_mode="coco_rle", **self.settings)


def timed(contender: Contender, images: list[Path]) -> tuple[list[tuple[str, float, float]], int]:
    """Of each image seconds, and those of all cores; and the most memory that the process had.

    What else the machine does lengthens the first, hardly the second.
    """
    from amg_cli.batch.reading import read_image

    run = contender.ready()
    rows = []
    for path in images:
        image_rgb = read_image(path)
        start, of_cores = time.perf_counter(), time.process_time()
        run(image_rgb)
        now = time.perf_counter() - start, time.process_time() - of_cores
        rows.append((path.name, *now))
    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """Of the published packages."""
    return {package: version(package) for package in PUBLISHED}


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=1, type=click.IntRange(min=1), show_default=True)
@click.option("--points-per-side", default=32, show_default=True)
@click.option("--m2m", is_flag=True, help="Refine each mask by a second prompt; SAM 2 only.")
@click.option("--contender", "contenders", multiple=True, type=click.Choice(CONTENDERS))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    name: str,
    images: tuple[Path, ...],
    rounds: int,
    points_per_side: int,
    m2m: bool,
    contenders: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Time them in turn."""
    context = multiprocessing.get_context("spawn")
    settings = {"points_per_side": points_per_side, **NO_THRESHOLDS}
    if m2m:
        settings["use_m2m"] = True
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, f"{name}.pt")
        torch.save({"model": published_model(name).state_dict()}, checkpoint)
        for kind in (contenders or CONTENDERS) * rounds:
            contender = Contender(kind, name, checkpoint, settings)
            with ProcessPoolExecutor(1, mp_context=context) as process:
                rows, peak = process.submit(timed, contender, list(images)).result()
            for image, seconds, of_cores in rows:
                empty: dict[str, Any] = {"seconds": [], "core_seconds": [], "peak_mb": 0}
                row = found.setdefault((image, kind), empty)
                row["seconds"].append(round(seconds, 3))
                row["core_seconds"].append(round(of_cores, 3))
                row["peak_mb"] = max(row["peak_mb"], round(peak / 1e6))
    for (image, kind), row in found.items():
        median = f"{statistics.median(row['seconds']):7.1f} s"
        click.echo(f"{image:<16} {kind:<10} {median} {row['peak_mb']:6} MB")
    if json_file:
        runs = [{"image": i, "contender": k, **row} for (i, k), row in found.items()]
        about = {"model": name, "settings": settings, "machine": machine() | versions()}
        json_file.write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
