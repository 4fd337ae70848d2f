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
        name = result.file_name.encode("utf-8", "replace")
        task = {"data": {"image": URL + quote(name)}, "predictions": [prediction]}
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
    ends = np.append(changes, len(rows)).astype(np.int64)
    runs = 4 * np.diff(ends, prepend=0)
    values = rows[np.append(0, changes)]
    head = [(len(rows) * 4, 32), (WORD_BITS - 1, 5), *((size - 1, 4) for size in SIZES_BITS)]
    longest = 1 << SIZES_BITS[-1]
    bits = [_bits(number, width) for number, width in head]
    for run, value in zip(runs.tolist(), values.tolist(), strict=True):
        byte = 255 if value else 0
        whole, rest = divmod(run, longest)
        if whole:
            bits.append(np.tile(_run_bits(longest, byte), whole))
        if rest:
            bits.append(_run_bits(rest, byte))
    packed: list[int] = np.packbits(np.concatenate(bits)).tolist()
    return packed


def _run_bits(count: int, byte: int) -> NDArray[np.uint8]:
    """Of a run of equal bytes, at most as many as the longest count has."""
    place = next(i for i, size in enumerate(SIZES_BITS) if count <= 1 << size)
    size = SIZES_BITS[place]
    number = ((1 << 2 | place) << size | count - 1) << WORD_BITS | byte
    return _bits(number, 3 + size + WORD_BITS)


def _bits(number: int, width: int) -> NDArray[np.uint8]:
    """The last `width` bits of a number, the highest first."""
    return (number >> np.arange(width - 1, -1, -1, dtype=np.int64) & 1).astype(np.uint8)


FORMAT = RunFormat(
    file_name="labelstudio.json",
    open=_Writer,
    options=("category", "polygons", "polygon_tolerance"),
)
