"""A page of results that stands alone: figures, plots, and the best and the worst images."""

from __future__ import annotations

import base64
import colorsys
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
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.evaluate.partitions import read_bsds
from amg_cli.evaluate.recall import IOU_THRESHOLDS, SIZES
from amg_cli.evaluate.scorers import BsdsImage, CocoScorer, Scorer
from amg_cli.evaluate.segments import DUPLICATE_IOU

NB_SHOWN = 4  # images at either end
PICTURE_SIDE_PX = 480
RANKED_BY = ("mean best IoU", "covering mean")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff }
h2 { margin: 2.5rem 0 .5rem } p { max-width: 45rem; color: #555 }
.tables, .row { display: grid; gap: 1rem 2rem }
.tables { grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); align-items: start }
.row { grid-template-columns: repeat(3, 1fr); gap: .5rem; align-items: start }
.tables + .row { margin-top: 2rem }
table { border-collapse: collapse }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
td { padding: .1rem .8rem .1rem 0; border-top: 1px solid #ddd }
td + td { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0 }
figure { margin: 0 } figcaption { color: #555; font-size: .85rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere }
img { display: block; max-width: 100%; height: auto }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr } }
"""
HEAD = f"""<!doctype html><html lang=en><meta charset=utf-8><title>amg eval</title>
<meta name=viewport content="width=device-width"><style>{STYLE}</style>"""
COCO_TERMS = f"""AR@K: average recall, the share of true segments found by the first K masks of each
image, as a mean over the IoU thresholds 0.5, 0.55, … 0.95. A segment is small under 32² pixels, and
large over 96². Mean best IoU: of each segment with the mask that fits it best. Coverage: the share
of pixels in a mask. Duplicates: the share of masks with an IoU over {DUPLICATE_IOU} with a better
one. First, best of three: the IoU of the mask that the model ranks first and of the best of its
three, for one prompt a segment. – stands where there is no such segment."""
COLOURS = dict(zip(SIZES, ("#444444", "#d55e00", "#009e73", "#0072b2"), strict=True))
BSDS_TERMS = """The masks, made into regions that do not overlap, against those that people drew:
the best and the mean over annotators. Covering and Rand index are 1 at best; variation of
information, in bits, 0. The pictures show the first annotator's regions."""


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
    nb_worst = min(NB_SHOWN, (len(ranked) + 1) // 2)
    shown = {
        "The worst": ranked[:nb_worst],
        "The best": ranked[nb_worst:][-NB_SHOWN:][::-1],
    }
    terms = COCO_TERMS if isinstance(scorer, CocoScorer) else BSDS_TERMS
    parts = [HEAD, f"<h1>amg eval</h1><p>{_count(len(per_image), 'image')}. {terms}</p>"]
    parts.append(_tables(scorer.scores()))
    parts.append(_plots(scorer, [per_image[case.file_name][name] for case in known], name))
    for title, cases in shown.items():
        parts.append(f"<h2>{title} by {name}</h2>" if cases else "")
        for case in cases:
            parts.append(_caption(case, per_image[case.file_name][name]))
            parts.append(_pictures(image_of(case), _true_rles(case), masks_of(case)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise OutputError(folder, error.strerror or str(error), "check `report`") from error


def _caption(case: Any, figure: float) -> str:
    return f"<h3>{html.escape(case.file_name)}: {figure:.4f}</h3>"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _tables(scores: Mapping[str, Mapping[str, float]]) -> str:
    tables = []
    for group, figures in scores.items():
        rows = (
            f"<tr><td>{html.escape(name)}</td><td>{_figure_text(value)}</td></tr>"
            for name, value in figures.items()
        )
        tables.append(f"<table><caption>{html.escape(group)}</caption>{''.join(rows)}</table>")
    return f"<div class=tables>{''.join(tables)}</div>"


def _figure_text(value: float) -> str:
    if math.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _plots(scorer: Scorer, by_image: Sequence[float], name: str) -> str:
    """Recall against IoU by size where segments are known, and how the images' figures spread."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        remedy = "pip install 'amg-cli[eval]'"
        raise InputError("report", "plots are drawn by matplotlib", remedy) from error
    plots = []

    def plot(alt: str) -> Any:
        """Axes of one more plot."""
        figure = Figure(figsize=(4.2, 3.4), layout="constrained")
        plots.append((figure, alt))
        return figure.subplots()

    if isinstance(scorer, CocoScorer):
        curves = {size: scorer.quality.recall.curve(size) for size in SIZES}
        known = {size: curve for size, curve in curves.items() if not math.isnan(curve[0])}
        axes = plot("recall against IoU, by size")
        for size, curve in known.items():
            axes.plot(IOU_THRESHOLDS, curve, label=size, marker=".", color=COLOURS[size])
        axes.set(xlabel="IoU", ylabel="recall, at most 1,000 masks", ylim=(0, 1.02))
        if known:
            axes.legend()
        axes = plot("average recall by size")
        colours = [COLOURS[size] for size in known]
        axes.bar(list(known), [float(np.mean(curve)) for curve in known.values()], color=colours)
        axes.set(xlabel="size of the segment", ylabel="AR@1000", ylim=(0, 1.02))
    axes = plot(f"images by {name}")
    axes.hist(by_image, bins=20, range=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=name, ylabel="images")
    return _row([_picture(_png(figure), "png", alt, "") for figure, alt in plots])


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _row(pictures: Sequence[str]) -> str:
    return f"<div class=row>{''.join(pictures)}</div>"


def _picture(data: bytes, kind: str, alt: str, caption: str) -> str:
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{html.escape(alt)}">{below}</figure>'


def _pictures(image_rgb: NDArray[np.uint8], truth: Sequence[Rle], masks: Sequence[Mask]) -> str:
    """The image, its truth and its masks, side by side."""
    height, width = image_rgb.shape[:2]
    scale = min(1, PICTURE_SIDE_PX / max(height, width))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(image_rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    rows = {
        "image": small,
        f"truth: {_count(len(truth), 'segment')}": _painted(small, truth),
        _count(len(masks), "mask"): _painted(small, [mask.rle for mask in masks]),
    }
    return _row(
        [_picture(_jpeg(picture), "jpeg", caption, caption) for caption, picture in rows.items()]
    )


def _jpeg(image_rgb: NDArray[np.uint8]) -> bytes:
    image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _painted(image_rgb: NDArray[np.uint8], rles: Sequence[Rle]) -> NDArray[np.uint8]:
    """Each mask in a colour of its own with a white edge, small ones over large ones."""
    painted = image_rgb.copy()
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for i in sorted(range(len(rles)), key=lambda i: -rle_codec.area(rles[i])):
        pixels = rle_codec.decode(rles[i]).astype(np.uint8)
        mask = cv2.resize(pixels, image_rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        inner = cv2.erode(mask, cross, borderValue=0).astype(bool)
        hue = i * 0.618034 % 1  # the golden ratio keeps the hues of neighbours in the list apart
        colour = np.array(colorsys.hsv_to_rgb(hue, 0.9, 1 - 0.3 * (i % 2))) * 255
        painted[mask.astype(bool)] = 255
        painted[inner] = (0.45 * image_rgb[inner] + 0.55 * colour).astype(np.uint8)
    return painted


def _true_rles(case: Any) -> list[Rle]:
    """A case's segments, or the regions of its first annotator."""
    if not isinstance(case, BsdsImage):
        return [segment.rle for segment in case.segments]
    labels = read_bsds(case.path)[0]
    return [rle_codec.encode(labels == label) for label in np.unique(labels)]
