"""The record that the reference generator returns for a mask, and both of its formats hold.

Source: `SamAutomaticMaskGenerator.generate` of segment-anything 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.core.rle import Rle
from amg_cli.formats.boxes import xywh, xyxy

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


def reference_record(mask: Mask, output_mode: OutputMode = "coco_rle") -> dict[str, Any]:
    """A mask as `SamAutomaticMaskGenerator.generate` returns it.

    `bbox` and `crop_box` are XYWH with the reference's width: x1 - x0, so `bbox` is one pixel less
    than COCO's, its right edge being inclusive.
    Raises ValueError for a mask without the point and the crop that it was found by.
    """
    if mask.point_xy is None or mask.crop_box_xyxy is None:
        raise ValueError("the reference's record needs a mask's point_xy and crop_box_xyxy")
    return {
        "segmentation": _segmentation(mask, output_mode),
        "area": mask.area_px,
        "bbox": xywh(mask.box_xyxy),
        "predicted_iou": mask.pred_iou,
        "point_coords": [list(mask.point_xy)],
        "stability_score": mask.stability_score,
        "crop_box": xywh(mask.crop_box_xyxy),
    }


def mask_of(rle: Rle, values: Mapping[str, Any]) -> Mask:
    """The mask of a record's values, ours or the reference's own, which writes some as floats.

    values: `bbox` and `crop_box` (XYWH), `point_coords`, `predicted_iou`, `stability_score`.
    Raises LookupError, TypeError or ValueError where they are no such values.
    """
    point_x, point_y = values["point_coords"][0]
    return Mask(
        rle=rle,
        box_xyxy=xyxy(values["bbox"]),
        pred_iou=float(values["predicted_iou"]),
        stability_score=float(values["stability_score"]),
        point_xy=(float(point_x), float(point_y)),
        crop_box_xyxy=xyxy(values["crop_box"]),
    )


def _segmentation(mask: Mask, output_mode: OutputMode) -> Any:
    if output_mode == "coco_rle":
        return {"size": list(mask.rle["size"]), "counts": mask.rle["counts"]}
    if output_mode == "binary_mask":
        return mask.array()
    if output_mode == "uncompressed_rle":
        return {"size": list(mask.rle["size"]), "counts": rle_codec.counts(mask.rle)}
    modes = "binary_mask, uncompressed_rle or coco_rle"
    raise ValueError(f"output_mode: {modes} are known, not {output_mode!r}")
