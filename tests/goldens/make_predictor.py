"""Record what the published `SamPredictor` answers to prompts by hand of every kind.

Run it in an environment with the published code (`pip install mobilesam-mirror segment-anything
timm torch torchvision opencv-python-headless`), from this repository's root:

    python -m tests.goldens.make_predictor --shared ../shared

`vit_t` is MobileSAM's predictor with the real weights, on dog.jpg and on dog.jpg on its side;
`odd_vit` segment-anything's, of a model at the sizes of `prompted.ODD_VIT` with seeded weights, on
`prompted.small_image`. In `predictor/SET.npz`, for each SHAPE and KIND of `prompted`, OUT (`multi`
or `single`), and HOW (`one`, the first prompt by `predict`, or `batch`, all by `predict_torch`; of
`nothing` there is only `one`):

    SHAPE.KIND.OUT.HOW.masks    np.packbits of (N, K, H, W) or (K, H, W) bool
    SHAPE.KIND.OUT.HOW.scores   (N, K) or (K,)
    SHAPE.KIND.OUT.HOW.low_res  `prompted.few` of (N, K, H', W') or (K, H', W')
    SHAPE.KIND.OUT.HOW.logits   `prompted.few` of the masks with return_logits

The masks that prompts begin from are the `single` answers to the kind `point`.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import mobile_sam
import numpy as np
import segment_anything
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from tests.goldens import prompted
from tests.goldens.make_parity import PHOTO, build
from tests.goldens.make_parity_vit import load_seeded
from tests.goldens.make_runs import CHECKPOINT, THREADS, read_image

FOLDER = Path(__file__).parent / "predictor"


def odd_vit() -> Sam:
    """A whole model at the sizes of `ODD_VIT`, with seeded weights."""
    size = prompted.ODD_VIT
    side, channels = size["patch_size"] * size["grid_size"], size["out_channels"]
    model = Sam(
        ImageEncoderViT(
            img_size=side,
            patch_size=size["patch_size"],
            embed_dim=size["embed_dim"],
            depth=size["nb_blocks"],
            num_heads=size["nb_heads"],
            out_chans=channels,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=size["window_size"],
            global_attn_indexes=(size["global_block"],),
        ),
        PromptEncoder(channels, (size["grid_size"], size["grid_size"]), (side, side), 16),
        MaskDecoder(
            transformer_dim=channels,
            transformer=TwoWayTransformer(2, channels, num_heads=8, mlp_dim=2048),
        ),
    )
    load_seeded(model)
    return model


def record(predictor: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """All answers on one image, by KIND.OUT.HOW.PART."""
    predictor.set_image(image)
    size_hw = image.shape[:2]
    first = ask(predictor, prompted.prompts("point", size_hw), multimask_output=False)[2]
    found: dict[str, np.ndarray] = {}
    for kind, parts in prompted.KINDS.items():
        given = prompted.prompts(kind, size_hw)
        if "masks" in parts:
            given["masks"] = first.numpy()
        for out, multimask in (("multi", True), ("single", False)):
            add(found, f"{kind}.{out}.one", partial(ask_one, predictor, given), multimask)
            if given:
                add(found, f"{kind}.{out}.batch", partial(ask, predictor, given), multimask)
    return found


def add(found: dict[str, np.ndarray], name: str, asked: Any, multimask: bool) -> None:
    """Record one question's answers, as masks and as logits."""
    masks, scores, low_res = map(np.asarray, asked(multimask_output=multimask))
    logits, _, _ = map(np.asarray, asked(multimask_output=multimask, return_logits=True))
    found[f"{name}.masks"] = np.packbits(masks)
    found[f"{name}.scores"] = scores
    found[f"{name}.low_res"] = prompted.few(name, low_res)
    found[f"{name}.logits"] = prompted.few(name, logits)


def ask(predictor: Any, given: dict[str, np.ndarray], **options: bool) -> Any:
    """All prompts at once."""
    size_hw = predictor.original_size
    tensors = {part: torch.from_numpy(values) for part, values in given.items()}
    points = boxes = None
    if "points" in given:
        points = predictor.transform.apply_coords_torch(tensors["points"], size_hw).float()
    if "boxes" in given:
        boxes = predictor.transform.apply_boxes_torch(tensors["boxes"], size_hw).float()
    return predictor.predict_torch(
        points, tensors.get("labels"), boxes, tensors.get("masks"), **options
    )


def ask_one(predictor: Any, given: dict[str, np.ndarray], **options: bool) -> Any:
    """The first prompt alone."""
    names = {
        "points": "point_coords",
        "labels": "point_labels",
        "boxes": "box",
        "masks": "mask_input",
    }
    asked = {names[part]: values[0] for part, values in given.items()}
    return predictor.predict(**asked, **options)


@torch.no_grad()
def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    shared = parser.parse_args().shared
    torch.set_num_threads(THREADS)
    photo = read_image(shared / PHOTO)
    real = build(torch.load(shared / CHECKPOINT, map_location="cpu", weights_only=True))
    sets = {
        "vit_t": (mobile_sam.SamPredictor(real), photo),
        "odd_vit": (segment_anything.SamPredictor(odd_vit()), prompted.small_image()),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, (predictor, image) in sets.items():
        arrays: Any = {
            f"{shape}.{part}": values
            for shape in prompted.SHAPES
            for part, values in record(predictor, prompted.turned(image, shape)).items()
        }
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
        print(f"{name}: {len(arrays)} arrays")


if __name__ == "__main__":
    main()
