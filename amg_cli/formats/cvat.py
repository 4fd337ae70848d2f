"""CVAT for images 1.1: a run's masks or, by `polygons`, outlines in one XML file, `cvat.xml`.

A mask's `rle` has the runs of its box, row by row, the first of pixels outside. Of an outline's
holes there is nothing; its parts share a group. Scores are attributes.
Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

import numpy as np

from amg_cli.core.mask import Mask
from amg_cli.formats.aside import Aside
from amg_cli.formats.categories import Categories
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.outlines import parts_of
from amg_cli.formats.result import Result

ATTRIBUTES = ("predicted_iou", "stability_score", "category_score", "parent")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Writer:
    """Keeps the images aside until the categories, which come first, are known."""

    def __init__(self, output: Output) -> None:
        self._options = output.options
        self._categories = Categories(output.options)
        self._file = output.path.open("x", encoding="utf-8", newline="\n")
        self._images = Aside(output.path.parent, "utf-8")
        self._nb_images = 0

    def add(self, result: Result) -> None:
        """An image with its shapes."""
        self._categories.add(result.categories)
        height, width = result.image_hw
        named = f"id={_quoted(result.number - 1)} name={_quoted(result.file_name)}"
        size = f"width={_quoted(width)} height={_quoted(height)}"
        self._images.write(f"  <image {named} {size}>\n")
        for number, mask in result.numbered:
            for shape in self._shapes(number, mask):
                self._images.write(shape)
        self._images.write("  </image>\n")
        self._nb_images += 1

    def close(self) -> None:
        """The head with the categories, then the images."""
        with self._file, self._images:
            self._file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            self._file.write("  <version>1.1</version>\n  <meta>\n    <task>\n")
            self._file.write(f"      <size>{self._nb_images}</size>\n      <labels>\n")
            for name in self._categories.names:
                self._file.write(_label(name))
            self._file.write("      </labels>\n    </task>\n  </meta>\n")
            self._images.copy_to(self._file)
            self._file.write("</annotations>\n")

    def _shapes(self, number: int, mask: Mask) -> Iterator[str]:
        self._categories.number_of(mask)
        label = f"label={_quoted(self._options.category_of(mask))}"
        common = f'{label} source="auto" occluded="0" z_order="0"'
        attributes = "".join(_attributes(mask))
        if not self._options.polygons:
            yield f"    <mask {common} {_pixels(mask)}>\n{attributes}    </mask>\n"
            return
        for part in parts_of(mask, self._options.polygon_tolerance):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in part.outer.tolist())
            grouped = f'{common} group_id="{number + 1}" points="{points}"'
            yield f"    <polygon {grouped}>\n{attributes}    </polygon>\n"


def _pixels(mask: Mask) -> str:
    x0, y0, x1, y1 = mask.box_xyxy
    flat = mask.window().ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(changes, prepend=0, append=len(flat)).tolist()
    if flat[0]:
        runs = [0, *runs]
    rle = ", ".join(map(str, runs))
    return f'rle="{rle}" left="{x0}" top="{y0}" width="{x1 - x0 + 1}" height="{y1 - y0 + 1}"'


def _attributes(mask: Mask) -> Iterator[str]:
    values = (mask.pred_iou, mask.stability_score, mask.category_score, mask.parent)
    for name, value in zip(ATTRIBUTES, values, strict=True):
        if value is not None:
            yield f'      <attribute name="{name}">{value}</attribute>\n'


def _label(name: str) -> str:
    text = _escaped(name)
    attributes = "".join(
        f"<attribute><name>{attribute}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for attribute in ATTRIBUTES
    )
    return f"        <label><name>{text}</name><attributes>{attributes}</attributes></label>\n"


def _quoted(value: str | int) -> str:
    """As an attribute's value, with its quotation marks; line ends survive a reader."""
    return quoteattr(_legal(str(value)), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _escaped(text: str) -> str:
    return _legal(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _legal(text: str) -> str:
    """XML has no place for control characters, and UTF-8 none for halves of characters."""
    return _NO_XML.sub("\ufffd", text)


FORMAT = RunFormat(
    file_name="cvat.xml", open=_Writer, options=("category", "polygons", "polygon_tolerance")
)
