"""Label Studio tasks: `labelstudio.json` of a whole run, each image with the masks as a prediction.

Masks are brush strokes in Label Studio's own RLE or, with `polygons`, outlines in parts of 100,
without holes, whose parts share their `meta`. A labelling interface takes them that has

    <Image name="image" value="$image"/> and <BrushLabels name="brush" toName="image"> (or
    <PolygonLabels name="polygon" toName="image">) with the categories as labels.

`image` is `/data/local-files/?d=` and the image's path in the run: serve that folder as Label
Studio's local storage.
Source: https://labelstud.io/guide/predictions and `brush.decode_rle` of label-studio-sdk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.core.version import __version__
from amg_cli.formats.format import FormatOptions, Output, RunFormat
from amg_cli.formats.outlines import parts_of
from amg_cli.formats.result import Result
from amg_cli.formats.text import whole_text

URL = "/data/local-files/?d="
# Label Studio's RLE: bits of a word, and of the four lengths a run's count may have.
WORD_BITS, SIZES_BITS = 8, (3, 4, 8, 16)


class _Writer:
    """Writes a task as its image comes."""

    def __init__(self, output: Output) -> None:
        self._options = output.options
        self._file = output.path.open("x", encoding="ascii", newline="\n")
        self._file.write("[")
        self._before = "\n"

    def add(self, result: Result) -> None:
        """Its task."""
        scores = [mask.score for _, mask in result.numbered]
        prediction = {
            "model_version": f"amg {__version__}",
            "score": sum(scores) / len(scores) if scores else 0.0,
            "result": list(_regions(result, self._options)),
        }
        name = quote(whole_text(result.file_name))
        task = {"data": {"image": URL + name}, "predictions": [prediction]}
        self._file.write(self._before + json.dumps(task))
        self._before = ",\n"

    def close(self) -> None:
        """The end of the list."""
        self._file.write("\n]\n")
        self._file.close()


def _regions(result: Result, options: FormatOptions) -> Iterator[dict[str, Any]]:
    height, width = result.image_hw
    for number, mask in result.numbered:
        category = options.category_of(mask)
        region = {
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": mask.score,
            "meta": {"id": number, **_known(mask)},
        }
        if not options.polygons:
            value = {"format": "rle", "rle": brush_rle(mask), "brushlabels": [category]}
            brush = {"type": "brushlabels", "from_name": "brush", "value": value}
            yield {"id": str(number), **brush, **region}
            continue
        for place, part in enumerate(parts_of(mask, options.polygon_tolerance)):
            points: list[Any] = (part.outer * 100 / np.array([width, height])).round(4).tolist()
            corners = {"points": points, "closed": True, "polygonlabels": [category]}
            outline = {"type": "polygonlabels", "from_name": "polygon", "value": corners}
            yield {"id": f"{number}-{place}", **outline, **region}


def _known(mask: Mask) -> dict[str, Any]:
    values = {
        "predicted_iou": mask.pred_iou,
        "stability_score": mask.stability_score,
        "parent": mask.parent,
    }
    return {name: value for name, value in values.items() if value is not None}


def brush_rle(mask: Mask) -> list[int]:
    """Label Studio's RLE of a mask: bytes, whose bits are a head and then runs.

    Of the image as four bytes a pixel, row by row, 255 in the mask. The head has the number of
    those bytes in 32 bits, a word's bits less 1 in 5, and the four lengths of counts, less 1, in 4
    each. A run is a 1, the number of its count's length in 2 bits, its count less 1, and the byte.
    """
    rows = rle_codec.decode(mask.rle).ravel()
    changes = np.flatnonzero(rows[1:] != rows[:-1]) + 1
    runs = 4 * np.diff(changes, prepend=0, append=len(rows))
    values = rows[np.append(0, changes)]
    # Longer runs are several.
    longest = 1 << SIZES_BITS[-1]
    pieces = -(-runs // longest)
    counts = np.full(pieces.sum(), longest)
    counts[pieces.cumsum() - 1] = runs - (pieces - 1) * longest
    bytes_ = np.where(np.repeat(values, pieces), 255, 0)
    head = [(len(rows) * 4, 32), (WORD_BITS - 1, 5), *((size - 1, 4) for size in SIZES_BITS)]
    head_bits = [_bits(np.array([number]), width)[0] for number, width in head]
    packed: list[int] = np.packbits(
        np.concatenate([*head_bits, _run_bits(counts, bytes_)])
    ).tolist()
    return packed


def _run_bits(counts: NDArray[np.int64], bytes_: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Of runs of equal bytes, (N,), none longer than the longest count."""
    places = np.searchsorted([1 << size for size in SIZES_BITS], counts)
    widths = np.array([3 + size + WORD_BITS for size in SIZES_BITS])[places]
    starts = widths.cumsum() - widths
    bits = np.empty(widths.sum(), dtype=np.uint8)
    for place, size in enumerate(SIZES_BITS):
        of_size = places == place
        head = (1 << 2 | place) << size
        numbers = (head | counts[of_size] - 1) << WORD_BITS | bytes_[of_size]
        width = 3 + size + WORD_BITS
        bits[starts[of_size][:, None] + np.arange(width)] = _bits(numbers, width)
    return bits


def _bits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """The last `width` bits of each number, the highest first. (N,) -> (N, width)"""
    return (numbers[:, None] >> np.arange(width - 1, -1, -1) & 1).astype(np.uint8)


FORMAT = RunFormat(
    file_name="labelstudio.json",
    open=_Writer,
    options=("category", "polygons", "polygon_tolerance"),
)
