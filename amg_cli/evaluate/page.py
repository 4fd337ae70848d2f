"""A page of results that stands alone: figures, plots, and the best and the worst images."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError, OutputError
from amg_cli.core.masks import Mask
from amg_cli.core.rle import Rle
from amg_cli.evaluate.partitions import read_bsds
from amg_cli.evaluate.recall import IOU_THRESHOLDS, SIZES
from amg_cli.evaluate.scorers import BsdsImage, CocoScorer, Scorer

NB_SHOWN = 4  # images at either end
PICTURE_WIDTH_PX = 420
RANKED_BY = ("mean best IoU", "covering mean")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; margin: 0 2.5rem 1.5rem 0; display: inline-table;
  vertical-align: top }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
td { padding: .1rem .8rem .1rem 0; border-top: 1px solid #ddd }
td + td { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0 }
figure { margin: 0 0 1.5rem } figcaption { color: #555 }
img { max-width: 100%; height: auto }
"""


def write_page(
    folder: Path,
    scorer: Scorer,
    per_image: Mapping[str, Mapping[str, float]],
    masks_of: Callable[[Any], Sequence[Mask]],
    image_of: Callable[[Any], NDArray[np.uint8]],
) -> None:
    """Write `index.html` to a folder, which is made. Needs matplotlib, for the plots.

    masks_of, image_of: a case's masks, and its image as (H, W, 3) uint8 RGB
    Raises OutputError where it cannot be written.
    """
    name = next((name for name in RANKED_BY if all(name in row for row in per_image.values())), "")
    known = [case for case in scorer.cases if not math.isnan(per_image[case.file_name][name])]
    ranked = sorted(known, key=lambda case: per_image[case.file_name][name])
    shown = {"The worst": ranked[:NB_SHOWN], "The best": ranked[-NB_SHOWN:][::-1]}
    parts = ["<h1>amg eval</h1>", f"<p>{len(per_image)} images.</p>", _tables(scorer.scores())]
    parts.append(_plots(scorer, [per_image[case.file_name][name] for case in known], name))
    for title, cases in shown.items():
        parts.append(f"<h2>{title}, by {name}</h2><p>The image, the truth, the masks.</p>")
        for case in cases:
            picture = _side_by_side(image_of(case), _true_rles(case), masks_of(case))
            caption = f"{case.file_name}: {per_image[case.file_name][name]:.3f}"
            parts.append(_figure(picture, "jpeg", caption))
    head = f"<!doctype html><meta charset=utf-8><title>amg eval</title><style>{STYLE}</style>"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(head + "\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise OutputError(folder, error.strerror or str(error), "check --report") from error


def _tables(scores: Mapping[str, Mapping[str, float]]) -> str:
    tables = []
    for group, figures in scores.items():
        rows = (
            f"<tr><td>{html.escape(name)}</td><td>{f'{value:.4g}'.replace('nan', '–')}</td></tr>"
            for name, value in figures.items()
        )
        tables.append(f"<table><caption>{html.escape(group)}</caption>{''.join(rows)}</table>")
    return "".join(tables)


def _plots(scorer: Scorer, by_image: Sequence[float], name: str) -> str:
    """Recall against IoU by size where segments are known, and how the images' figures spread."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        remedy = "pip install 'amg-cli[eval]'"
        raise InputError("--report", "plots are drawn by matplotlib", remedy) from error
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, 3 if isinstance(scorer, CocoScorer) else 1, squeeze=False)[0]
    if isinstance(scorer, CocoScorer):
        recall = scorer.quality.recall
        for size in SIZES:
            axes[0].plot(IOU_THRESHOLDS, recall.curve(size), label=size, marker=".")
        axes[0].set(xlabel="IoU", ylabel="recall, at most 1,000 masks", ylim=(0, 1))
        axes[0].legend()
        axes[1].bar(SIZES, [float(np.mean(recall.curve(size))) for size in SIZES])
        axes[1].set(xlabel="size of the segment", ylabel="AR@1000", ylim=(0, 1))
    axes[-1].hist(by_image, bins=20, range=(0, 1))
    axes[-1].set(xlabel=name, ylabel="images")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _figure(buffer.getvalue(), "png", "")


def _figure(data: bytes, kind: str, caption: str) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    told = html.escape(caption)
    return f'<figure><img src="{source}" alt="{told}"><figcaption>{told}</figcaption></figure>'


def _side_by_side(
    image_rgb: NDArray[np.uint8], truth: Sequence[Rle], masks: Sequence[Mask]
) -> bytes:
    """The image, with its truth, and with its masks, as JPEG."""
    painted = [_painted(image_rgb, rles) for rles in (truth, [mask.rle for mask in masks])]
    scale = PICTURE_WIDTH_PX / image_rgb.shape[1]
    small = [
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for picture in (image_rgb, *painted)
    ]
    row = cv2.cvtColor(np.hstack(small), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", row, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _painted(image_rgb: NDArray[np.uint8], rles: Sequence[Rle]) -> NDArray[np.uint8]:
    """Each mask in a colour of its own, small ones over large ones."""
    painted = image_rgb.copy()
    colours = np.random.default_rng(0).integers(0, 256, (len(rles), 3))
    for i in sorted(range(len(rles)), key=lambda i: -rle_codec.area(rles[i])):
        mask = rle_codec.decode(rles[i])
        painted[mask] = (0.4 * image_rgb[mask] + 0.6 * colours[i]).astype(np.uint8)
    return painted


def _true_rles(case: Any) -> list[Rle]:
    """A case's segments, or the regions of its first annotator."""
    if not isinstance(case, BsdsImage):
        return [segment.rle for segment in case.segments]
    labels = read_bsds(case.path)[0]
    return [rle_codec.encode(labels == label) for label in np.unique(labels)]
