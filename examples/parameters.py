"""Draw what settings do: `python parameters.py CHECKPOINT PICTURE`.

A row a setting, on coffee.jpg: at a low value, its default and a high one; and the masks there are.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import amg_cli
from amg_cli.core.config import settings_of_proposing

IMAGE = Path(__file__).parent / "images/coffee.jpg"
CELL_WH = (300, 200)
BAR_PX = 26
QUALITY = 50
CROPS = {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2}
# A setting, three values of it, and others that it needs to be seen.
ROWS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("points_per_side", (8, 32, 64), {}),
    ("pred_iou_thresh", (0.7, 0.88, 0.96), {}),
    ("stability_score_thresh", (0.8, 0.95, 0.98), {}),
    ("stability_score_offset", (0.3, 1.0, 2.0), {}),
    ("box_nms_thresh", (0.3, 0.7, 0.95), {}),
    ("crop_n_layers", (0, 1, 2), {"crop_n_points_downscale_factor": 2}),
    ("crop_nms_thresh", (0.2, 0.7, 0.95), CROPS),
    ("crop_overlap_ratio", (0.1, 512 / 1500, 0.6), CROPS),
    ("crop_n_points_downscale_factor", (1, 2, 4), {"crop_n_layers": 1}),
    ("min_mask_region_area", (0, 100, 2000), {}),
    ("nms", ("box", "mask", "off"), {}),
    ("min_area", (0.0, "0.5%", "5%"), {}),
    ("max_area", ("5%", "50%", "100%"), {}),
    ("containment_thresh", (0.3, 0.8, 1.0), {}),
    ("max_masks", (5, 15, 0), {}),
    ("smooth", (0, 3, 12), {}),
    ("largest_component", (False, True), {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.8}),
    ("drop_border", (False, True), {}),
    ("disjoint", ("off", "smallest", "largest"), {}),
    ("fill", (False, True), {"disjoint": "smallest"}),
]  # fmt: skip


def main(checkpoint: Path, picture_path: Path) -> None:
    """Generate the masks of each cell, and write the picture."""
    image_rgb = np.asarray(cv2.imread(str(IMAGE)), np.uint8)[..., ::-1]
    model = amg_cli.load_model(checkpoint)
    proposed: dict[amg_cli.GenerationConfig, amg_cli.Candidates] = {}
    rows = []
    for name, values, others in ROWS:
        cells = []
        for value in values:
            config = amg_cli.GenerationConfig(**(others | {name: value}))
            asked = _asked(config)
            if asked not in proposed:
                proposed[asked] = amg_cli.propose(model, image_rgb, asked)
            masks = amg_cli.select(proposed[asked], config)
            cells.append(cell(image_rgb, masks, name, value))
        cells += [np.full_like(cells[0], 255)] * (3 - len(cells))
        rows.append(np.hstack(cells))
    cv2.imwrite(str(picture_path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def _asked(config: amg_cli.GenerationConfig) -> amg_cli.GenerationConfig:
    """What candidates are proposed with: the same for all rows that do not turn the grid."""
    grid = {name: getattr(config, name) for name in settings_of_proposing()}
    default = amg_cli.GenerationConfig()
    if any(value != getattr(default, name) for name, value in grid.items()):
        return amg_cli.GenerationConfig(**grid)
    return amg_cli.GenerationConfig(pred_iou_thresh=0.7, stability_score_thresh=0.8)


def cell(
    image_rgb: NDArray[np.uint8], masks: list[amg_cli.Mask], name: str, value: Any
) -> NDArray[np.uint8]:
    """The masks over the image, small, below what it shows. -> (H, W, 3) BGR"""
    drawn = amg_cli.draw(image_rgb, masks)
    small = cv2.resize(drawn[..., ::-1], CELL_WH, interpolation=cv2.INTER_AREA)
    bar = np.full((BAR_PX, CELL_WH[0], 3), 255, np.uint8)
    shown = f"{value:.4g}" if isinstance(value, float) else value
    text = f"{name.replace('_', '-')} {shown}: {len(masks)}"
    cv2.putText(bar, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(np.vstack([bar, small]), np.uint8)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
