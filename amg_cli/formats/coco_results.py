"""COCO results of a whole run, as `COCOeval` takes them: a list of a record a mask.

    {"image_id": 139, "category_id": 62, "segmentation": {"size": [426, 640], "counts": "…"},
     "bbox": [x, y, w, h], "score": 0.91}

Images and categories have the ids of the data set that they are of, and what is of no category
there has 0; without one, they have those that `coco` gives them.
"""

from __future__ import annotations

import json
from typing import Any

from amg_cli.core.mask import Mask
from amg_cli.formats.boxes import coco_box
from amg_cli.formats.categories import Categories
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.result import Result


class _Writer:
    """Writes a record a line."""

    def __init__(self, output: Output) -> None:
        self._categories = Categories(output.options)
        self._file = output.path.open("x", encoding="ascii", newline="\n")
        self._before = "["

    def add(self, result: Result) -> None:
        """Its masks."""
        self._categories.add(result.categories)
        for mask in result.masks:
            self._file.write(f"{self._before}\n{json.dumps(self._record(result, mask))}")
            self._before = ","

    def close(self) -> None:
        """The end of the list."""
        with self._file:
            self._file.write("[]\n" if self._before == "[" else "\n]\n")

    def _record(self, result: Result, mask: Mask) -> dict[str, Any]:
        image_id, category_id = result.data_set_id, mask.category_id
        if image_id is None:
            image_id, category_id = result.number, self._categories.number_of(mask) + 1
        return {
            "image_id": image_id,
            "category_id": category_id or 0,
            "segmentation": mask.rle,
            "bbox": coco_box(mask.box_xyxy),
            "score": mask.score,
        }


FORMAT = RunFormat(file_name="results.json", open=_Writer, options=("category",))
