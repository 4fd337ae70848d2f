"""The reference's default output: a folder of PNGs, 0 and 255, with `metadata.csv`.

Source: `scripts/amg.py` of segment-anything 1.0.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from amg_cli.core import rle
from amg_cli.core.masks import Mask
from amg_cli.formats.format import Format

TABLE = "metadata.csv"
COLUMNS = (
    "id",
    "area",
    *("bbox_x0", "bbox_y0", "bbox_w", "bbox_h"),
    *("point_input_x", "point_input_y"),
    "predicted_iou",
    "stability_score",
    *("crop_box_x0", "crop_box_y0", "crop_box_w", "crop_box_h"),
)


def is_own(folder: Path) -> bool:
    """Whether a folder has a `metadata.csv` with the reference's columns."""
    table = folder / TABLE
    if not table.is_file():
        return False
    header = ",".join(COLUMNS).encode("ascii")
    with table.open("rb") as file:
        return file.read(len(header) + 1).rstrip(b"\r\n") == header


def write(masks: Sequence[Mask], folder: Path) -> None:
    """`0.png`, `1.png`, … and `metadata.csv`, whose last line has no end, as in the reference."""
    folder.mkdir()
    lines = [",".join(COLUMNS)]
    for i, mask in enumerate(masks):
        record = mask.to_reference_dict("coco_rle")
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
    return Mask(
        rle=rle.encode(pixels > 0),
        box_xyxy=_box_xyxy(row, "bbox"),
        pred_iou=float(row["predicted_iou"]),
        stability_score=float(row["stability_score"]),
        point_xy=(float(row["point_input_x"]), float(row["point_input_y"])),
        crop_box_xyxy=_box_xyxy(row, "crop_box"),
    )


def _box_xyxy(row: dict[str, str], name: str) -> tuple[int, int, int, int]:
    # The reference writes some boxes as floats.
    x0, y0, width, height = (int(float(row[f"{name}_{part}"])) for part in ("x0", "y0", "w", "h"))
    return x0, y0, x0 + width, y0 + height


FORMAT = Format(suffix="", is_own=is_own, write=write, read=read)
