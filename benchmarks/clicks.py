"""One prompt by hand on an encoded photograph: ours and the published predictor's, in turn.

    python benchmarks/clicks.py --checkpoint mobile_sam.pt --json benchmarks/results/clicks.json

In the environment of `benchmarks/requirements.txt`. What is timed begins with a prompt in pixels of
the photograph and ends with masks of its size.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli import load_model
from amg_cli.segment_anything import SamPredictor

Ask = Callable[..., object]


def predictors(checkpoint: Path, image: NDArray[np.uint8]) -> dict[str, Ask]:
    """By name, each with the image set; functions as `SamPredictor.predict`."""
    import mobile_sam

    published = mobile_sam.sam_model_registry["vit_t"](checkpoint=str(checkpoint)).eval()
    made = {
        "vit_t": SamPredictor(load_model(checkpoint, device="cpu")),
        "nano": SamPredictor(load_model("nano", device="cpu")),
        "mobilesam-mirror": mobile_sam.SamPredictor(published),
    }
    for predictor in made.values():
        predictor.set_image(image)
    return {name: predictor.predict for name, predictor in made.items()}


def prompts(kind: str, count: int, size_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """Random ones; a click has three masks, a box one."""
    height, width = size_hw
    corners = np.random.default_rng(0).uniform(0, 1, (count, 2, 2)) * (width, height)
    if kind == "click":
        one = np.array([1])
        return [{"point_coords": xy[:1], "point_labels": one} for xy in corners]
    boxes = np.sort(corners, axis=1).reshape(count, 4)
    return [{"box": box, "multimask_output": False} for box in boxes]


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--image", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--rounds", default=30, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(checkpoint: Path, image: Path, rounds: int, json_file: Path | None) -> None:
    """Time prompts side by side."""
    warnings.filterwarnings("ignore")
    bgr = cv2.imread(str(image))
    assert bgr is not None, image
    contenders = predictors(checkpoint, np.ascontiguousarray(bgr[..., ::-1]))
    result: dict[str, Any] = {"threads": torch.get_num_threads(), "image": image.name}
    for kind in ("click", "box"):
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for i, prompt in enumerate(prompts(kind, rounds + 1, bgr.shape[:2])):
            for name, ask in contenders.items():
                start = time.perf_counter()
                ask(**prompt)
                if i:  # the first warms up
                    found[name].append(1000 * (time.perf_counter() - start))
        for name, ms in found.items():
            quartiles = [round(q, 1) for q in statistics.quantiles(ms, n=4)]
            result.setdefault(name, {})[kind] = {"median_ms": quartiles[1], "quartiles": quartiles}
            click.echo(f"{kind:<6} {name:<18} {quartiles[1]:7.1f} ms ({quartiles})")
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
