"""The reference's default output: a folder of PNGs, 0 and 255, with `metadata.csv`.

Source: `scripts/amg.py` of segment-anything 1.0.
"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from amg_cli.core import rle
from amg_cli.core.mask import Mask
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.reference_record import mask_of, reference_record
from amg_cli.formats.result import Result

TABLE = "metadata.csv"
BOX_PARTS = ("x0", "y0", "w", "h")
COLUMNS = (
    "id",
    "area",
    *(f"bbox_{part}" for part in BOX_PARTS),
    *("point_input_x", "point_input_y"),
    "predicted_iou",
    "stability_score",
    *(f"crop_box_{part}" for part in BOX_PARTS),
)


def is_own(folder: Path) -> bool:
    """Whether a folder has a `metadata.csv` with the reference's columns."""
    table = folder / TABLE
    if not table.is_file():
        return False
    header = ",".join(COLUMNS).encode("ascii")
    with table.open("rb") as file:
        return file.read(len(header) + 1).rstrip(b"\r\n") == header


def write(result: Result, output: Output) -> None:
    """`0.png`, `1.png`, … and `metadata.csv`, whose last line has no end, as in the reference."""
    folder = output.path
    folder.mkdir()
    lines = [",".join(COLUMNS)]
    for i, mask in enumerate(result.masks):
        record = reference_record(mask)
        # imencode and not imwrite, which reports a full disk by a return value alone.
        _, png = cv2.imencode(".png", mask.array().astype(np.uint8) * 255)
        (folder / f"{i}.png").write_bytes(png.tobytes())
        values = [
            i,
            record["area"],
            *record["bbox"],
            *record["point_coords"][0],
            record["predicted_iou"],
            record["stability_score"],
            *record["crop_box"],
        ]
        lines.append(",".join(str(value) for value in values))
    (folder / TABLE).write_text("\n".join(lines), encoding="ascii")


def read(folder: Path) -> list[Mask]:
    """The masks of such a folder, ours or the reference's own, in order."""
    with (folder / TABLE).open(newline="", encoding="ascii") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{folder}: metadata.csv has other columns")
        return [_mask(folder, row) for row in rows]


def _mask(folder: Path, row: dict[str, str]) -> Mask:
    png = np.frombuffer((folder / f"{row['id']}.png").read_bytes(), np.uint8)
    pixels = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(f"{folder}: {row['id']}.png is no image")
    values = {
        "bbox": [row[f"bbox_{part}"] for part in BOX_PARTS],
        "crop_box": [row[f"crop_box_{part}"] for part in BOX_PARTS],
        "point_coords": [(row["point_input_x"], row["point_input_y"])],
        "predicted_iou": row["predicted_iou"],
        "stability_score": row["stability_score"],
    }
    return mask_of(rle.encode(pixels > 0), values)


FORMAT = ImageFormat(suffix="", write=write, is_own=is_own, read=read)
