"""Parquet tables of a whole run: a folder that DuckDB, Polars, Spark or pandas read in one piece.

    masks/part-00000.parquet    a row a mask, in the order of the images; parts of a million rows
    images/part-00000.parquet   a row an image, those without masks too

`segmentation` is COCO's RLE, as `pycocotools.mask.decode` takes it; `bbox` is COCO's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amg_cli.core.mask import Mask
from amg_cli.formats.boxes import coco_box, inclusive_box
from amg_cli.formats.format import Output, RunFormat
from amg_cli.formats.result import Result
from amg_cli.formats.text import whole_text

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP, ROWS_A_PART = 8_192, 1_048_576
_MASKS, _IMAGES = "masks", "images"


class _Writer:
    """Writes both tables, some thousand rows at a time."""

    def __init__(self, output: Output) -> None:
        self._options = output.options
        self._masks = _Table(output.path / _MASKS, _mask_schema())
        self._images = _Table(output.path / _IMAGES, _image_schema())

    def add(self, result: Result) -> None:
        """An image's row, and its masks'."""
        height, width = result.image_hw
        self._images.add(
            {
                "image_id": result.number,
                "name": whole_text(result.name),
                "file_name": whole_text(result.file_name),
                "height": height,
                "width": width,
                "masks": len(result.masks),
            }
        )
        for number, mask in result.numbered:
            self._masks.add(self._row(result, number, mask))

    def close(self) -> None:
        """The rows that are left."""
        self._masks.close()
        self._images.close()

    def _row(self, result: Result, number: int, mask: Mask) -> dict[str, Any]:
        return {
            "image_id": result.number,
            "file_name": whole_text(result.file_name),
            "id": number,
            "segmentation": mask.rle,
            "bbox": coco_box(mask.box_xyxy),
            "area": mask.area_px,
            "predicted_iou": mask.pred_iou,
            "stability_score": mask.stability_score,
            "point": None if mask.point_xy is None else list(mask.point_xy),
            "crop_box_xyxy": None if mask.crop_box_xyxy is None else list(mask.crop_box_xyxy),
            "category": whole_text(self._options.category_of(mask)),
            "category_score": mask.category_score,
            "parent": mask.parent,
        }


class _Table:
    """A folder of parts, of which one is written at a time."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._nb_parts = self._nb_in_part = 0
        self._begin_part()

    def add(self, row: dict[str, Any]) -> None:
        """A row, by the names of the columns. Raises OSError."""
        self._rows.append(row)
        if len(self._rows) == ROWS_A_GROUP:
            self._write()

    def close(self) -> None:
        """The rows that are left, and the end of the part. Raises OSError."""
        self._write()
        self._end_part()

    def _write(self) -> None:
        import pyarrow as pa

        if self._nb_in_part + len(self._rows) > ROWS_A_PART:
            self._end_part()
            self._begin_part()
        self._part.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._nb_in_part += len(self._rows)
        self._rows = []

    def _begin_part(self) -> None:
        from pyarrow import parquet

        path = self._folder / f"part-{self._nb_parts:05}.parquet"
        self._nb_parts, self._nb_in_part = self._nb_parts + 1, 0
        # Not opened by pyarrow, whose errors have no number, and which leaves it open after one.
        self._file = path.open("xb")
        self._part = parquet.ParquetWriter(self._file, self._schema, compression="zstd")

    def _end_part(self) -> None:
        with self._file:
            self._part.close()


def _mask_schema() -> pa.Schema:
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.string())])
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("file_name", pa.string()),
            ("id", pa.int32()),
            ("segmentation", rle),
            ("bbox", pa.list_(pa.int32(), 4)),
            ("area", pa.int64()),
            ("predicted_iou", pa.float64()),
            ("stability_score", pa.float64()),
            ("point", pa.list_(pa.float64())),
            ("crop_box_xyxy", pa.list_(pa.int32())),
            ("category", pa.string()),
            ("category_score", pa.float64()),
            ("parent", pa.int32()),
        ]
    )


def _image_schema() -> pa.Schema:
    import pyarrow as pa

    whole = pa.int32()
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("name", pa.string()),
            ("file_name", pa.string()),
            ("height", whole),
            ("width", whole),
            ("masks", whole),
        ]
    )


def is_own(path: Path) -> bool:
    """Whether a folder has the two tables."""
    return all((path / table / "part-00000.parquet").is_file() for table in (_MASKS, _IMAGES))


def read(path: Path) -> Iterator[Result]:
    """The images of a folder of ours, in its order."""
    rows = _rows(path / _MASKS)
    row = next(rows, None)
    for image in _rows(path / _IMAGES):
        masks = []
        while row is not None and row["image_id"] == image["image_id"]:
            masks.append(_mask(row))
            row = next(rows, None)
        yield Result(
            number=image["image_id"],
            name=image["name"],
            file_name=image["file_name"],
            image_hw=(image["height"], image["width"]),
            masks=masks,
        )


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    for part in sorted(folder.glob("part-*.parquet")):
        with parquet.ParquetFile(part) as file:
            for batch in file.iter_batches(ROWS_A_GROUP):
                yield from batch.to_pylist()


def _mask(row: dict[str, Any]) -> Mask:
    names = ("stability_score", "category", "category_score", "parent", "id")
    point, crop = row["point"], row["crop_box_xyxy"]
    return Mask(
        rle=row["segmentation"],
        box_xyxy=inclusive_box(row["bbox"]),
        pred_iou=row["predicted_iou"],
        point_xy=None if point is None else (point[0], point[1]),
        crop_box_xyxy=None if crop is None else (crop[0], crop[1], crop[2], crop[3]),
        **{name: row[name] for name in names},
    )


FORMAT = RunFormat(
    file_name="parquet",
    open=_Writer,
    options=("category",),
    is_own=is_own,
    read=read,
    package="pyarrow",
    extra="parquet",
)
