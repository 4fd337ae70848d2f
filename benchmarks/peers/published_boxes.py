"""The published predictor on boxes.

    python published_boxes.py MODULE TYPE FILE IMAGES BOXES DATA_SET OUT

MODULE is mobile_sam or segment_anything, TYPE a key of its registry, FILE a checkpoint. BOXES is
COCO results or a COCO data set, DATA_SET names the images. Options: refine=1 for a second prompt by
the box and the first mask's logits; batch=16, how many boxes a call, 0 for all; first=8, only so
many images. Writes COCO results to OUT and prints seconds, of loading and of all images. keep=1
also appends each image's to OUT.kept, so that a run that was stopped goes on from there.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask


def boxes_by_image(path: str) -> dict[int, list[dict[str, Any]]]:
    """The records of each image, but crowds."""
    records = json.loads(Path(path).read_text())
    records = records if isinstance(records, list) else records["annotations"]
    found: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if not record.get("iscrowd"):
            found.setdefault(record["image_id"], []).append(record)
    return found


def results_of(predictor: Any, records: list[dict[str, Any]], size: int, refine: bool) -> Any:
    """COCO results of an image that the predictor has encoded."""
    boxes = torch.tensor([record["bbox"] for record in records], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    boxes = predictor.transform.apply_boxes_torch(boxes, predictor.original_size)
    for first in range(0, len(boxes), size or len(boxes)):
        part = slice(first, first + (size or len(boxes)))
        masks, scores, low_res = predictor.predict_torch(
            None, None, boxes[part], multimask_output=False
        )
        if refine:
            masks, scores, _ = predictor.predict_torch(
                None, None, boxes[part], mask_input=low_res, multimask_output=False
            )
        for record, mask, score in zip(records[part], masks[:, 0], scores[:, 0], strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
            yield {
                "image_id": record["image_id"],
                "category_id": record["category_id"],
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                "score": record.get("score", float(score)),
            }


def main() -> None:
    """Load, prompt, write."""
    module, model_type, checkpoint, images, boxes, data_set, out, *options = sys.argv[1:]
    given = {name: int(value) for name, value in (option.split("=") for option in options)}
    warnings.filterwarnings("ignore")
    start = time.perf_counter()
    published = importlib.import_module(module)
    predictor = published.SamPredictor(
        published.sam_model_registry[model_type](checkpoint=checkpoint).eval()
    )
    loaded = time.perf_counter()
    by_image = boxes_by_image(boxes)
    kept = Path(f"{out}.kept")
    lines = kept.read_text().splitlines() if given.get("keep") and kept.exists() else []
    results = [result for line in lines for result in json.loads(line)]
    done_before = {result["image_id"] for result in results}
    listed = json.loads(Path(data_set).read_text())["images"][: given.get("first")]
    with torch.inference_mode():
        for image in listed:
            if image["id"] not in by_image or image["id"] in done_before:
                continue
            bgr = cv2.imread(str(Path(images) / image["file_name"]))
            assert bgr is not None, image
            predictor.set_image(np.ascontiguousarray(bgr[..., ::-1]))
            size, refine = given.get("batch", 16), bool(given.get("refine"))
            found = list(results_of(predictor, by_image[image["id"]], size, refine))
            results += found
            if given.get("keep"):
                with kept.open("a") as file:
                    file.write(json.dumps(found) + "\n")
    done = time.perf_counter()
    Path(out).write_text(json.dumps(results))
    print(f"loaded in {loaded - start:.2f} s, {len(listed)} images in {done - loaded:.2f} s")


if __name__ == "__main__":
    main()
