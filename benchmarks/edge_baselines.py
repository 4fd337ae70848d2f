"""Edges by classical detectors: what zero-shot edges should beat.

`python benchmarks/edge_baselines.py METHOD --input DIR --output DIR` writes a grey PNG an image, as
`amg edges` does, so that `amg eval --truth BSDS --edges DIR` reads it:

    sobel         gradient of the smoothed grey image, of which the ridges are kept
    canny         OpenCV's, at STEPS thresholds: a pixel is as strong as the highest that it passes
    edge-drawing  OpenCV's EdgeDrawing, likewise, which opencv-contrib-python has

A structured forest is left out: OpenCV has its code, and its weights are a download of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

STEPS = 40
SIGMA_PX = 1.5
LOW_SHARE = 0.4  # of Canny's high threshold
HIGHEST = 400  # of thresholds, in units of the gradient

Grey = NDArray[np.uint8]
Strength = NDArray[np.float32]


def sobel(grey: Grey) -> Strength:
    """(H, W) -> (H, W) in [0, 1]."""
    from amg_cli.tasks.edges import thinned

    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SIGMA_PX)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength = np.sqrt(across**2 + down**2)
    return thinned(strength / max(float(strength.max()), 1e-9))


def canny(grey: Grey) -> Strength:
    """(H, W) -> (H, W) in [0, 1]."""
    smooth = cv2.GaussianBlur(grey, (0, 0), SIGMA_PX)

    def passing(threshold: float) -> Grey:
        """Where there is an edge."""
        return np.asarray(cv2.Canny(smooth, LOW_SHARE * threshold, threshold), np.uint8)

    return highest_passed(passing, grey.shape)


def edge_drawing(grey: Grey) -> Strength:
    """(H, W) -> (H, W) in [0, 1]."""
    contrib: Any = cv2

    def passing(threshold: float) -> Grey:
        """Where there is an edge."""
        detector = contrib.ximgproc.createEdgeDrawing()
        settings = contrib.ximgproc.EdgeDrawing.Params()
        settings.GradientThresholdValue = max(1, round(threshold / 3))
        detector.setParams(settings)
        detector.detectEdges(grey)
        return np.asarray(detector.getEdgeImage(), np.uint8)

    return highest_passed(passing, grey.shape)


def highest_passed(passing: Callable[[float], Grey], shape: tuple[int, ...]) -> Strength:
    """Each pixel's strength: the highest threshold at which it is an edge, in [0, 1]."""
    strength = np.zeros(shape, np.float32)
    for step in range(1, STEPS + 1):
        strength[passing(HIGHEST * step / STEPS) > 0] = step / STEPS
    return strength


METHODS = {"sobel": sobel, "canny": canny, "edge-drawing": edge_drawing}


@click.command()
@click.argument("method", type=click.Choice(sorted(METHODS)))
@click.option("--input", "folder", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(method: str, folder: Path, output: Path) -> None:
    """Edges of each photograph of a folder."""
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            click.echo(f"{path}: no image", err=True)
            continue
        found = METHODS[method](np.asarray(grey, np.uint8))
        cv2.imwrite(str(output / f"{path.stem}.png"), np.rint(255 * found).astype(np.uint8))


if __name__ == "__main__":
    main()
