"""Run the published mask generator with the real weights over a table of cases.

Run it in an environment with the published code (`pip install mobilesam-mirror timm torch
torchvision opencv-python-headless pycocotools`), from this repository's root; each case takes
minutes on a CPU:

    python -m tests.goldens.make_runs --shared ../shared                # every case
    python -m tests.goldens.make_runs --shared ../shared --only crops   # one

`runs/CASE.json` is an object of `case`; `image`, relative to `--shared`; `crop_xyxy`, the region of
the image that was used, or null for all of it; `options`, those that are not the default;
`versions`; and `masks`, the generator's own records, in its order, one a line, with the
segmentation as compressed COCO RLE.
"""

import argparse
import json
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import mobile_sam
import numpy as np
import torch
from mobile_sam.modeling import Sam

RUNS = Path(__file__).parent / "runs"
CHECKPOINT = Path("weights/mobile_sam.pt")
PACKAGES = ("mobilesam-mirror", "torch", "torchvision", "opencv-python-headless", "pycocotools")
THREADS = 2
COMPACT = (",", ":")


@dataclass(frozen=True)
class Case:
    """An image below `--shared`, the region of it that is used, and the generator's options."""

    image: str
    options: dict[str, float] = field(default_factory=dict)
    crop_xyxy: tuple[int, int, int, int] | None = None


CASES = {
    "crops": Case(
        "data/samples/truck.jpg",
        {"crop_n_layers": 1, "points_per_side": 16, "crop_n_points_downscale_factor": 2},
    ),
    "min_region": Case(
        "data/samples/groceries.jpg", {"points_per_side": 16, "min_mask_region_area": 100}
    ),
    "thresholds": Case(
        "data/samples/dog.jpg",
        {
            "points_per_side": 16,
            "pred_iou_thresh": 0.8,
            "stability_score_thresh": 0.9,
            "stability_score_offset": 0.5,
            "box_nms_thresh": 0.5,
            "points_per_batch": 50,
        },
    ),
    "portrait": Case("data/coco_dev/images/000000000436.jpg", {"points_per_side": 24}),
    "panorama": Case(
        "data/samples/truck.jpg", {"points_per_side": 24}, crop_xyxy=(0, 350, 1800, 950)
    ),
    "crops_min_region": Case(
        "data/samples/groceries.jpg",
        {
            "crop_n_layers": 2,
            "points_per_side": 8,
            "crop_n_points_downscale_factor": 1,
            "min_mask_region_area": 50,
            "crop_overlap_ratio": 0.3,
        },
    ),
}


def load_model(checkpoint: Path) -> Sam:
    """The published MobileSAM on the CPU.

    The second `eval` counts: it gathers the encoder's attention biases, which the builder leaves at
    zero, for it calls `eval` before it loads the checkpoint.
    """
    return mobile_sam.sam_model_registry["vit_t"](checkpoint=str(checkpoint)).eval()


def read_image(path: Path) -> np.ndarray:
    """The image as the published script reads it, (H, W, 3) RGB uint8."""
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path}: not there, or not an image; see --shared")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def run(model: Sam, case: Case, shared: Path) -> list[dict[str, Any]]:
    """The generator's records for one case."""
    image = read_image(shared / case.image)
    if case.crop_xyxy is not None:
        x0, y0, x1, y1 = case.crop_xyxy
        image = image[y0:y1, x0:x1]
    generator = mobile_sam.SamAutomaticMaskGenerator(model, output_mode="coco_rle", **case.options)
    return generator.generate(image)


def write(path: Path, name: str, case: Case, masks: list[dict[str, Any]]) -> None:
    """Write one case: a line for what was run, then a line a mask."""
    head = {
        "case": name,
        "image": case.image,
        "crop_xyxy": case.crop_xyxy,
        "options": case.options,
        "versions": {package: version(package) for package in PACKAGES},
    }
    opening = json.dumps(head, separators=COMPACT).removesuffix("}")
    lines = ",\n".join(json.dumps(mask, separators=COMPACT) for mask in masks)
    path.write_text(f'{opening},"masks":[\n{lines}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Run the cases asked for, and say how long each took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of weights and images")
    parser.add_argument("--only", choices=CASES, metavar="CASE", help="run this case alone")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    model = load_model(args.shared / CHECKPOINT)
    RUNS.mkdir(exist_ok=True)
    for name in [args.only] if args.only else CASES:
        start = time.perf_counter()
        masks = run(model, CASES[name], args.shared)
        elapsed_s = time.perf_counter() - start
        path = RUNS / f"{name}.json"
        write(path, name, CASES[name], masks)
        size = path.stat().st_size
        print(f"{name}: {len(masks)} masks, {elapsed_s:.0f} s, {size} bytes", flush=True)


if __name__ == "__main__":
    main()
