"""Once for all steps: what the teacher answers, and what the student's frozen encoder sees.

A part is a folder of plain arrays, one row a view of a photograph:

    features.npy  (V, C, h, w) float16, of `features_of`; zeros beyond the photograph's cells
    points.npy    (V, P, 2) and boxes.npy (V, B, 4) float32, in pixels of the student's input
    masks.npy     (V, P + B, 3, 4h, 4w) bits, packed along the last axis: the teacher's masks
    scores.npy    (V, P + B, 3) float16: the teacher's predicted IoU
    used.npy      (V, 2) int16: low-resolution rows and columns that the photograph covers
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from amg_cli.batch.reading import read_image
from amg_cli.core.frame import Frame
from amg_cli.generation.predict import Encoded, encode_image
from amg_cli.models.prompt_encoder import FOREGROUND, Prompts
from amg_cli.models.sam import Sam
from training.recipe import Recipe
from training.student import features_of

ARRAYS = ("features", "points", "boxes", "masks", "scores", "used")
AT_A_TIME = 4  # prompts of the teacher
MAX_JITTERED_PX = 200  # the sides of larger boxes are not moved further than theirs


@dataclass(frozen=True)
class Models:
    """The teacher, as `load_model` gives it, and the student, whose encoder is used."""

    teacher: Sam
    student: Sam


def prepare(
    photographs: Sequence[Path], models: Models, folder: Path, recipe: Recipe, until: float
) -> bool:
    """Write the parts that are missing, until the clock says `until`. -> whether all are there."""
    shuffled = np.random.default_rng(recipe.seed).permutation(len(photographs) * recipe.views)
    shuffled = shuffled[: recipe.nb_views]
    parts = np.array_split(shuffled, math.ceil(len(shuffled) / recipe.views_a_part))
    for number, views in enumerate(parts):
        target = folder / f"part_{number:04d}"
        if target.exists():
            continue
        if time.monotonic() > until:
            return False
        rows = [_view(photographs, int(view), models, recipe) for view in views]
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", np.stack([row[name] for row in rows]))
        partial.rename(target)
    return True


def _view(
    photographs: Sequence[Path], view: int, models: Models, recipe: Recipe
) -> dict[str, NDArray[Any]]:
    """One view of one photograph, with the teacher's answers."""
    rng = np.random.default_rng((recipe.seed, view))
    image_rgb = read_image(photographs[view // recipe.views])
    if view % recipe.views:
        image_rgb = _crop(image_rgb, rng, recipe.min_crop)
    if rng.random() < 0.5:
        image_rgb = np.ascontiguousarray(image_rgb[:, ::-1])
    student = models.student
    config = student.config
    frame = Frame.fit((image_rgb.shape[0], image_rgb.shape[1]), config.input_size, config.stride)
    pixels = frame.model_input(image_rgb, config.mean, config.std)
    features = features_of(student, pixels.to(student.device))[0].cpu()
    with torch.inference_mode():
        encoded = encode_image(models.teacher, image_rgb, draw_padding=False)
        prompts, masks, scores = _answers(models.teacher, encoded, recipe, rng)
    cells = config.input_size[0] // config.stride
    padding = (0, cells - features.shape[2], 0, cells - features.shape[1])
    side = 4 * cells
    scale = config.input_size[0] / models.teacher.config.input_size[0]
    used = [math.ceil(px * side / config.input_size[0]) for px in frame.resized_hw]
    # The teacher draws whole cells, and so a little beyond the photograph.
    shown = _shrunk(masks, side)
    shown[..., used[0] :, :] = False
    shown[..., used[1] :] = False
    return {
        "features": F.pad(features, padding).half().numpy(),
        "points": prompts[: recipe.points, :2] * np.float32(scale),
        "boxes": prompts[recipe.points :] * np.float32(scale),
        "masks": np.packbits(shown.numpy(), axis=-1),
        "scores": scores.half().numpy(),
        "used": np.asarray(used, dtype=np.int16),
    }


def _crop(image: NDArray[np.uint8], rng: np.random.Generator, smallest: float) -> NDArray[np.uint8]:
    """A random part of an image, of its own proportions or near them."""
    scale = rng.uniform(smallest, 1)
    height, width = (
        min(side, max(16, round(side * scale * rng.uniform(0.8, 1.25)))) for side in image.shape[:2]
    )
    top = int(rng.integers(0, max(1, image.shape[0] - height + 1)))
    left = int(rng.integers(0, max(1, image.shape[1] - width + 1)))
    part = image[top : top + height, left : left + width]
    if rng.random() < 0.5:  # colours, as another camera would have them
        gain = rng.uniform(0.7, 1.3, 3)
        part = np.clip(part * gain, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.3, 1.2)).astype(np.uint8)
    return np.ascontiguousarray(part)


def _answers(
    teacher: Sam, encoded: Encoded, recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Tensor, Tensor]:
    """Ask the teacher at random points, and in boxes around some of its answers.

    -> prompts (P + B, 4), a point being its first two; logits (P + B, 3, h, w); scores (P + B, 3).
    """
    height, width = encoded.frame.resized_hw
    points = rng.random((recipe.points, 2), dtype=np.float32) * np.array(
        [width, height], np.float32
    )
    at_points = [_ask(teacher, encoded, part) for part in _parts(points)]
    masks, scores = (torch.cat(column) for column in zip(*at_points, strict=True))
    boxes = np.stack([_box(masks[i], rng, encoded.frame) for i in range(recipe.boxes)])
    in_boxes = [_ask(teacher, encoded, part) for part in _parts(boxes)]
    box_masks, box_scores = (torch.cat(column) for column in zip(*in_boxes, strict=True))
    padded = np.pad(points, ((0, 0), (0, 2)))
    return (
        np.concatenate([padded, boxes]),
        torch.cat([masks, box_masks]),
        torch.cat([scores, box_scores]),
    )


def _parts(prompts: NDArray[np.float32]) -> Iterator[Tensor]:
    yield from torch.split(torch.from_numpy(prompts), AT_A_TIME)


def _ask(teacher: Sam, encoded: Encoded, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Points (N, 2) or boxes (N, 4) -> logits (N, 3, h, w), scores (N, 3), on the CPU."""
    prompts = prompts.to(teacher.device)
    if prompts.shape[1] == 4:
        asked = Prompts(boxes_xyxy=prompts)
    else:
        asked = Prompts(
            prompts[:, None], torch.full((len(prompts), 1), FOREGROUND, device=teacher.device)
        )
    decoded = teacher.decode(encoded.embedding, asked)
    scores, logits = decoded.scores.cpu(), decoded.logits().cpu()
    return logits.view(*scores.shape, *logits.shape[1:]), scores


def _box(masks: Tensor, rng: np.random.Generator, frame: Frame) -> NDArray[np.float32]:
    """The box of one of a point's three masks, moved by up to a tenth; of all, if that is empty."""
    height, width = frame.resized_hw
    rows, columns = (masks[int(rng.integers(3))] > 0).nonzero().unbind(1)
    if len(rows) == 0:
        return np.array([0, 0, width, height], dtype=np.float32)
    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).numpy()
    box = box * (frame.input_hw[0] / masks.shape[1])
    size = np.tile(box[2:] - box[:2], 2)
    moved = box + rng.uniform(-0.1, 0.1, 4) * np.minimum(size, MAX_JITTERED_PX)
    return np.clip(moved, 0, [width, height, width, height]).astype(np.float32)


def _shrunk(logits: Tensor, side: int) -> Tensor:
    """Masks at the student's resolution. (N, M, h, w) logits -> (N, M, side, side) bool."""
    smaller = F.interpolate(logits.clamp(-32, 32), (side, side), mode="area")
    return smaller > 0
