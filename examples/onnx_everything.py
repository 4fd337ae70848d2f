"""Everything in a photograph by the graphs of `amg export`, with onnxruntime and numpy alone.

    amg export --output graphs
    python examples/onnx_everything.py graphs photo.ppm out

Writes out/metadata.csv, and 0.png, 1.png, … as amg does by the reference's settings.
"""

import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

PER_SIDE, PRED_IOU, STABILITY, OFFSET, NMS = 32, 0.88, 0.95, 1.0, 0.7
PIXELS_AT_A_TIME = 2e7  # of masks at the size of the image: 1 GB in all
COLUMNS = "id area bbox_x0 bbox_y0 bbox_w bbox_h point_input_x point_input_y predicted_iou "
COLUMNS += "stability_score crop_box_x0 crop_box_y0 crop_box_w crop_box_h"


def png(mask: np.ndarray) -> bytes:
    rows = np.pad(mask * np.uint8(255), ((0, 0), (1, 0))).tobytes()
    head = struct.pack(">2I5B", *mask.shape[::-1], 8, 0, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + data))
        whole += struct.pack(">I", len(data)) + kind + data + check
    return whole


def nms(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    x0, y0, x1, y1 = boxes.T.astype(float)
    areas, order, kept = (x1 - x0) * (y1 - y0), np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        across = np.minimum(x1[best], x1[order]) - np.maximum(x0[best], x0[order])
        down = np.minimum(y1[best], y1[order]) - np.maximum(y0[best], y0[order])
        both = across.clip(0) * down.clip(0)
        order = order[both <= NMS * (areas[best] + areas[order] - both)]
    return kept


graphs, photo, out = map(Path, sys.argv[1:4])
encoder, grid, drawing = (
    onnxruntime.InferenceSession(graphs / f"{name}.onnx") for name in ("encoder", "grid", "masks")
)
head = re.sub(rb"#[^\n]*", b"", photo.read_bytes()[2:999])  # without comments
width, height = map(int, re.findall(rb"\d+", head)[:2])
image = np.fromfile(photo, np.uint8)[-3 * width * height :].reshape(height, width, 3)
size = {"orig_im_size": np.array([height, width], np.float32)}
(embeddings,) = encoder.run(None, {"image": image})
along = (np.arange(PER_SIDE, dtype=np.float32) + 0.5) / PER_SIDE
points = np.stack(np.meshgrid(along * width, along * height), axis=-1).reshape(-1, 2)
given = {"image_embeddings": embeddings, "stability_offset": np.array([OFFSET], np.float32)}
found = []
step = int(np.clip(PIXELS_AT_A_TIME / (3 * width * height), 1, 16))
for some in np.split(points, range(step, len(points), step)):
    columns = grid.run(None, given | size | {"points": some})
    scores, stability, areas = columns[:3]
    prompt, mask = np.nonzero((scores > PRED_IOU) & (stability >= STABILITY) & (areas > 0))
    found.append([some[prompt], *(column[prompt, mask] for column in columns)])
points, scores, stability, areas, boxes, low_res = map(np.concatenate, zip(*found, strict=True))
out.mkdir(parents=True, exist_ok=True)
lines = [COLUMNS.replace(" ", ",")]
for number, i in enumerate(nms(boxes, scores)):
    (masks,) = drawing.run(None, size | {"low_res_masks_kept": low_res[[i]]})
    (out / f"{number}.png").write_bytes(png(masks[0]))
    box_xywh = (*boxes[i, :2], *(boxes[i, 2:] - boxes[i, :2]))
    row = (number, areas[i], *box_xywh, *points[i], scores[i], stability[i], 0, 0, width, height)
    lines.append(",".join(map(str, row)))
(out / "metadata.csv").write_text("\n".join(lines) + "\n")
