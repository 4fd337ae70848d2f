"""Seeded weights, inputs and samples: made here, never stored, the same in every checkout.

Shared by `make_parity.py`, which runs the published network on them, and by the tests, which run
ours. Every array is drawn by a generator seeded with the CRC-32 of its name (`rng`), so it depends
on nothing but that name and its shape. Needs numpy only.

Shapes: N prompts (`PROMPTS`), P points a prompt; coordinates are float32 pixels, XY, in the
model's 1024 x 1024 input frame.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

IMAGE_SIZE = 1024
MASK_SIZE = 256
PROMPTS = 5
SAMPLES = 2_000
WHOLE = 4_000

HEAD = ("image_encoder.head.", "image_encoder.norm_head.")
EMBEDDINGS = (
    "_token.weight", "_tokens.weight", "_embed.weight", "pos_embed", "pos_embed_window",
    "no_mem_embed",
)  # fmt: skip

# What each kind of prompt is made of, as the published prompt encoder takes it.
PROMPT_KINDS: dict[str, tuple[str, ...]] = {
    "point": ("points", "labels"),
    "points": ("points", "labels"),
    "box": ("boxes",),
    "point_box": ("points", "labels", "boxes"),
    "mask": ("masks",),
    "point_mask": ("points", "labels", "masks"),
    "all": ("points", "labels", "boxes", "masks"),
}
ONE_LABEL = [[1]] * PROMPTS
THREE_LABELS = [[1, 0, -1], [1, 1, 0], [0, 1, 1], [-1, 1, 0], [1, 1, 1]]


def rng(name: str) -> np.random.Generator:
    """The generator that belongs to a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Float32 weights for the floating tensors of a MobileSAM state dict, by official key.

    Left out, so keep the model's own: the unused classifier head, and the integer
    `num_batches_tracked`. The order and the completeness of `shapes` do not matter.
    """
    return {key: weight(key, tuple(shape)) for key, shape in shapes.items() if is_seeded(key)}


def is_seeded(key: str) -> bool:
    """Whether `weights` makes a tensor of this key."""
    return not key.startswith(HEAD) and not key.endswith("num_batches_tracked")


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor, float32. Nothing is zero, one or equal to its neighbour: each value counts.

    The scales keep activations near 1 through the network; running variances are positive.
    """
    normal = rng(key).standard_normal(shape)
    if key.endswith("running_var"):
        values = np.exp(0.2 * normal)
    elif key.endswith(("bias", "running_mean")):
        values = 0.1 * normal
    elif key.endswith(("attention_biases", "gaussian_matrix")):
        values = normal
    elif key.endswith(EMBEDDINGS) or "point_embeddings." in key:
        values = 0.5 * normal
    elif len(shape) == 1:
        values = 1 + 0.2 * normal
    else:
        values = normal / np.sqrt(fan_in(key, shape))
    return values.astype(np.float32)


def fan_in(key: str, shape: tuple[int, ...]) -> int:
    """How many products add up to one output value of a linear or convolution weight.

    `output_upscaling` holds transposed convolutions, (C_in, C_out, 2, 2) with stride 2, so that
    each output pixel sees one tap of every input channel.
    """
    return shape[0] if "output_upscaling." in key else int(np.prod(shape[1:]))


def image() -> np.ndarray:
    """What the image encoder is given, as if already normalised. (1, 3, 1024, 1024) float32."""
    return rng("input.image").standard_normal((1, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)


def prompt(kind: str) -> dict[str, np.ndarray]:
    """The N prompts of one of `PROMPT_KINDS`; parts the kind does not have are absent.

    points (N, P, 2) float32; labels (N, P) int32: 1 foreground, 0 background, -1 not a point;
    boxes (N, 4) float32, XYXY with X0 < X1 and Y0 < Y1; masks (N, 1, 256, 256) float32 logits.
    P is 3 for the kinds `points` and `all`, else 1.
    """
    labels = np.array(THREE_LABELS if kind in ("points", "all") else ONE_LABEL, dtype=np.int32)
    random = rng(f"input.{kind}")
    points = random.uniform(0, IMAGE_SIZE, (*labels.shape, 2)).astype(np.float32)
    corners = np.sort(random.uniform(0, IMAGE_SIZE, (PROMPTS, 2, 2)).astype(np.float32), axis=1)
    masks = 4 * random.standard_normal((PROMPTS, 1, MASK_SIZE, MASK_SIZE), dtype=np.float32)
    parts = {
        "points": points,
        "labels": labels,
        "boxes": corners.reshape(PROMPTS, 4),
        "masks": masks,
    }
    return {part: parts[part] for part in PROMPT_KINDS[kind]}


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """What a golden file keeps of an array: all of it up to 4,000 values, else 2,000. (n,).

    The array is read in C order; the places depend on the name and the size alone.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size <= WHOLE:
        return flat
    return flat[rng(name).integers(0, flat.size, SAMPLES)]


# A ViT encoder small enough for every test run; windows need padding, and one block is global.
TINY_VIT = {
    "patch_size": 4,
    "grid_size": 8,
    "embed_dim": 32,
    "nb_blocks": 3,
    "nb_heads": 4,
    "window_size": 3,
    "global_block": 1,
    "out_channels": 16,
}


def tiny_images() -> np.ndarray:
    """What the encoder of `TINY_VIT` is given. (2, 3, 32, 32) float32."""
    side = TINY_VIT["patch_size"] * TINY_VIT["grid_size"]
    return rng("input.tiny").standard_normal((2, 3, side, side), dtype=np.float32)


# A SAM 2 small enough for every test run: windows need padding, one block is global, and coarse
# positions are stretched. Its decoder is so wide that doing less pays.
TINY_SAM2: dict[str, Any] = {
    "image_size": 128,
    "embed_dim": 16,
    "nb_heads": 1,
    "depths": (1, 2, 3, 2),
    "window_sizes": (8, 4, 6, 3),
    "global_block": 4,
    "position_size": 5,
    "d_model": 128,
}


# A SAM-HQ small enough for every test run; two blocks are global, of which the first gives the
# early level. Its prompts are those of `TINY_SAM2`; its decoder is so wide that doing less pays.
TINY_HQ: dict[str, Any] = {
    "image_size": 128,
    "patch_size": 16,
    "embed_dim": 32,
    "nb_blocks": 4,
    "nb_heads": 4,
    "window_size": 3,
    "global_blocks": (1, 3),
    "d_model": 128,
}

# A Light HQ-SAM: its published code has an input of 1024 pixels, a neck of 256 channels, and a last
# stage that keeps the resolution only where it has 320.
TINY_LIGHT_HQ: dict[str, Any] = {
    "embed_dims": (8, 16, 24, 320),
    "depths": (1, 1, 2, 1),
    "num_heads": (1, 2, 3, 4),
    "mlp_channels": 64,
}


def sam2_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """As `weight`, by the key of a SAM 2 checkpoint.

    Logits are as large as they must be for some masks to be stable and others not.
    """
    kernels = "output_hypernetworks_mlps." in key and ".layers.2." in key
    return weight(key, shape) * np.float32(3 if kernels else 1)


def tiny_prompt(kind: str) -> dict[str, np.ndarray]:
    """As `prompt`, for the input of `TINY_SAM2`: pixels from 0 to 128, masks (N, 1, 32, 32)."""
    scale = TINY_SAM2["image_size"] / IMAGE_SIZE
    side = MASK_SIZE * TINY_SAM2["image_size"] // IMAGE_SIZE
    parts = prompt(kind)
    return {
        part: values[..., :side, :side]
        if part == "masks"
        else values
        if part == "labels"
        else (values * np.float32(scale))
        for part, values in parts.items()
    }
