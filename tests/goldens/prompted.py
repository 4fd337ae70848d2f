"""Images and prompts by hand: made here, never stored, for `make_predictor.py` and the tests.

Shapes: N prompts (`PROMPTS`), P points a prompt; coordinates are float64 pixels of the image, XY.
Needs numpy only.
"""

from typing import Any

import numpy as np

from tests.goldens import seeded

PROMPTS = 3
# What each kind of prompt is made of. A first answer's logits come back as `masks`.
KINDS: dict[str, tuple[str, ...]] = {
    "point": ("points", "labels"),
    "points": ("points", "labels"),
    "box": ("boxes",),
    "points_box": ("points", "labels", "boxes"),
    "mask": ("masks",),
    "point_mask": ("points", "labels", "masks"),
    "box_mask": ("boxes", "masks"),
    "all": ("points", "labels", "boxes", "masks"),
    "nothing": (),
}
SHAPES = ("wide", "tall")
# An encoder with an odd number of patches and windows that need padding; one block is global.
ODD_VIT = {
    "patch_size": 8,
    "grid_size": 9,
    "embed_dim": 24,
    "nb_blocks": 3,
    "nb_heads": 3,
    "window_size": 4,
    "global_block": 1,
    "out_channels": 32,
}


def turned(image: np.ndarray, shape: str) -> np.ndarray:
    """A wide image, or the same on its side. (H, W, 3) uint8."""
    return image if shape == "wide" else np.ascontiguousarray(np.rot90(image))


def small_image() -> np.ndarray:
    """What `ODD_VIT` is prompted on. (50, 83, 3) uint8, with areas of one colour."""
    coarse = seeded.rng("prompted.image").integers(0, 256, (5, 9, 3), dtype=np.uint8)
    return coarse.repeat(10, axis=0).repeat(10, axis=1)[:, :83].copy()


def few(name: str, array: np.ndarray) -> np.ndarray:
    """Some 200 values of `seeded.sample`, as there are many arrays."""
    sample = seeded.sample(name, array)
    return sample[:: max(1, len(sample) // 200)]


def prompts(kind: str, size_hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """The N prompts of one of `KINDS` on an image; parts the kind does not have are absent.

    points (N, P, 2); labels (N, P) int, P being 3 for `points`, `points_box` and `all`, else 1;
    boxes (N, 4). `masks` are the first answers to the `point` kind, which the caller has.
    """
    height, width = size_hw
    random = seeded.rng(f"prompted.{kind}.{height}x{width}")
    nb_points = 3 if kind in ("points", "points_box", "all") else 1
    labels = np.array([[1, 0, 1], [1, 1, 0], [1, 1, -1]])[:, :nb_points]
    points = random.uniform(0, 1, (PROMPTS, nb_points, 2)) * (width, height)
    corners = np.sort(random.uniform(0, 1, (PROMPTS, 2, 2)), axis=1) * (width, height)
    parts: dict[str, Any] = {
        "points": points,
        "labels": labels,
        "boxes": corners.reshape(PROMPTS, 4),
    }
    return {part: parts[part] for part in KINDS[kind] if part in parts}
