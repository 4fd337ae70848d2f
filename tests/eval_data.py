"""Small masks and truths for the tests of `amg eval`."""

import json

import numpy as np

from amg_cli.core import rle as rle_codec
from amg_cli.core.mask import Mask
from amg_cli.evaluate.truth import Segment, TrueImage


def block(size_hw, top, left, bottom, right):
    """A mask of the pixels of a box, bottom and right exclusive."""
    pixels = np.zeros(size_hw, bool)
    pixels[top:bottom, left:right] = True
    return pixels


def drawing(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def made(pixels, pred_iou=0.9, stability=0.95):
    """A mask of amg's of these pixels."""
    ys, xs = np.nonzero(pixels)
    box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())) if len(xs) else (0, 0, 0, 0)
    height, width = pixels.shape
    crop = (0, 0, width, height)
    return Mask(rle_codec.encode(pixels), box, pred_iou, stability, (0.5, 0.5), crop)


def segment(pixels, **kinds):
    """A true segment of these pixels, of their own area."""
    return Segment(rle_codec.encode(pixels), **({"area_px": float(pixels.sum())} | kinds))


def true_image(*segments, size_hw, image_id=1, file_name="a.jpg"):
    return TrueImage(image_id, file_name, size_hw, tuple(segments))


def coco_image(image_id, file_name, size_hw):
    return {"id": image_id, "file_name": file_name, "height": size_hw[0], "width": size_hw[1]}


def write_json(path, data):
    path.write_text(json.dumps(data))
    return path
