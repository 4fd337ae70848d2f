"""Record what the published SAM-HQ answers to seeded inputs and photographs, at a tiny size.

Run it in an environment with the published code (`pip install segment-anything-hq timm`), from this
repository's root:

    python -m tests.goldens.make_hq

The weights are `seeded.weight` by its keys, which `hq/shapes.json` lists with their shapes, of
`hq_vit` and of `hq_light`. In `hq/parity.npz`, NAME holds a sample by `prompted.few`, and
`NAME.shape` the array's shape:

    early.I, embedding            (2, 32, 8, 8) of the I-th global block, and (2, 128, 8, 8)
    features                      (1, 16, 32, 32), of the first image
    maskfeature                   (1, 16, 32, 32), of `pixels`
    decoder.KIND.OUT.logits, .scores       (5, 1, 32, 32) and (5, 1), on the first image; OUT is
                                           `multi` or `single`, and `.hq` after it for
                                           `hq_token_only`
    light.…                       the same of the Light one, of `seeded.image` and the kind `point`

and `predictor.…`, on a photograph by `SamPredictor`, prompt by prompt, of `prompted.prompts`:

    predictor.KIND.OUT.masks, .scores, .low_res   (3, 1, H, W) logits, (3, 1), (3, 1, 32, 32)

`hq/runs.json` is what `SamAutomaticMaskGenerator` finds in a part of a photograph.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from segment_anything_hq import SamAutomaticMaskGenerator, SamPredictor
from segment_anything_hq.modeling import (
    ImageEncoderViT,
    MaskDecoderHQ,
    PromptEncoder,
    Sam,
    TinyViT,
    TwoWayTransformer,
)
from torch import Tensor

from tests.goldens import seeded
from tests.goldens.few import Few

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "examples/images/chelsea.jpg"
SIZE, LIGHT = seeded.TINY_HQ, seeded.TINY_LIGHT_HQ
# Random weights give ragged masks of the whole image, of which few are stable.
RUNS: dict[str, dict[str, Any]] = {
    "all": {
        "points_per_side": 3,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    },
    "thresholds": {
        "points_per_side": 5,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.3,
        "box_nms_thresh": 1.0,
    },
    "small": {
        "points_per_side": 6,
        "pred_iou_thresh": 0.2,
        "stability_score_thresh": 0.05,
        "mask_threshold": 5.0,
        "box_nms_thresh": 0.95,
    },
    "single": {
        "points_per_side": 3,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
        "multimask_output": False,
    },
    "crops": {
        "points_per_side": 4,
        "pred_iou_thresh": 0.2,
        "stability_score_thresh": 0.05,
        "mask_threshold": 5.0,
        "box_nms_thresh": 0.95,
        "crop_nms_thresh": 0.9,
        "crop_n_layers": 1,
        "crop_n_points_downscale_factor": 2,
    },
}


def tiny_model() -> Any:
    """HQ-SAM of a ViT, with seeded weights."""
    side, channels = SIZE["image_size"], SIZE["d_model"]
    encoder = ImageEncoderViT(
        depth=SIZE["nb_blocks"],
        embed_dim=SIZE["embed_dim"],
        img_size=side,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=SIZE["nb_heads"],
        patch_size=SIZE["patch_size"],
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=SIZE["global_blocks"],
        window_size=SIZE["window_size"],
        out_chans=channels,
    )
    return whole(encoder, side, channels, SIZE["embed_dim"], mlp_channels=2048)


def light_model() -> Any:
    """Light HQ-SAM, with seeded weights."""
    encoder = TinyViT(
        img_size=seeded.IMAGE_SIZE,
        in_chans=3,
        num_classes=10,
        embed_dims=list(LIGHT["embed_dims"]),
        depths=list(LIGHT["depths"]),
        num_heads=list(LIGHT["num_heads"]),
        window_sizes=[7, 7, 14, 7],
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        layer_lr_decay=0.8,
    )
    early = LIGHT["embed_dims"][2]
    return whole(encoder, seeded.IMAGE_SIZE, 256, early, LIGHT["mlp_channels"])


def whole(encoder: Any, side: int, channels: int, early: int, mlp_channels: int) -> Any:
    """A model around an encoder."""
    prompt_encoder = PromptEncoder(
        embed_dim=channels,
        image_embedding_size=(side // 16, side // 16),
        input_image_size=(side, side),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(
        depth=2, embedding_dim=channels, mlp_dim=mlp_channels, num_heads=8
    )
    decoder = MaskDecoderHQ(
        num_multimask_outputs=3,
        transformer=transformer,
        transformer_dim=channels,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
        vit_dim=early,
    )
    model = Sam(image_encoder=encoder, prompt_encoder=prompt_encoder, mask_decoder=decoder)
    for key, tensor in model.state_dict().items():
        if seeded.is_seeded(key):
            tensor.copy_(torch.from_numpy(seeded.weight(key, tuple(tensor.shape))))
    return model.eval()  # in which TinyViT keeps the biases that it has by then


def encode(record: Few, model: Any) -> tuple[Tensor, list[Tensor]]:
    """Record an encoder's levels, and the features. -> those of the first image."""
    shape = (2, 3, SIZE["image_size"], SIZE["image_size"])
    images = torch.from_numpy(seeded.rng("input.sam2").standard_normal(shape, dtype=np.float32))
    embedding, early = model.image_encoder(images)
    for i, level in enumerate(early):
        record.add(f"early.{i}", level.permute(0, 3, 1, 2))
    record.add("embedding", embedding)
    decoder = model.mask_decoder
    first = early[0].permute(0, 3, 1, 2)[:1]
    features = decoder.embedding_encoder(embedding[:1]) + decoder.compress_vit_feat(first)
    record.add("features", features)
    pixels = seeded.rng("pixels").standard_normal((1, 16, 32, 32), dtype=np.float32)
    record.add("maskfeature", decoder.embedding_maskfeature(torch.from_numpy(pixels)))
    return embedding[:1], [level[:1] for level in early]


def decode(
    record: Few,
    name: str,
    model: Any,
    levels: tuple[Tensor, list[Tensor]],
    parts: dict[str, Tensor],
) -> None:
    """Record masks and scores of one kind of prompt."""
    embedding, early = levels
    points = (parts["points"], parts["labels"]) if "points" in parts else None
    sparse, dense = model.prompt_encoder(points, parts.get("boxes"), parts.get("masks"))
    for out, multimask in (("multi", True), ("single", False)):
        for only in (False, True):
            logits, scores = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
                hq_token_only=only,
                interm_embeddings=early,
            )
            of = f"{name}.{out}.hq" if only else f"{name}.{out}"
            record.add(f"{of}.logits", logits)
            record.add(f"{of}.scores", scores)


def tensors(parts: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays as tensors."""
    return {part: torch.from_numpy(x) for part, x in parts.items()}


def run(model: Any, photo: np.ndarray, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a generator."""
    given = dict(settings)
    model.mask_threshold = given.pop("mask_threshold", 0.0)
    multimask = given.pop("multimask_output", True)
    generator = SamAutomaticMaskGenerator(model, output_mode="coco_rle", **given)
    return generator.generate(photo, multimask)


@torch.no_grad()
def main() -> None:
    """Write the three files."""
    torch.set_num_threads(2)
    model, light = tiny_model(), light_model()
    shapes = {
        name: {key: list(tensor.shape) for key, tensor in each.state_dict().items()}
        for name, each in (("hq_vit", model), ("hq_light", light))
    }
    (HERE / "hq").mkdir(exist_ok=True)
    (HERE / "hq/shapes.json").write_text(json.dumps(shapes) + "\n")
    record = Few()
    levels = encode(record, model)
    for kind in seeded.PROMPT_KINDS:
        decode(record, f"decoder.{kind}", model, levels, tensors(seeded.tiny_prompt(kind)))
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    record.by_hand(SamPredictor(model), photo)
    embedding, early = light.image_encoder(torch.from_numpy(seeded.image()))
    record.add("light.embedding", embedding)
    record.add("light.early", early[0].permute(0, 3, 1, 2))
    decode(record, "light.point", light, (embedding, early), tensors(seeded.prompt("point")))
    arrays: Any = record.arrays
    np.savez_compressed(HERE / "hq/parity.npz", **arrays)
    part = np.ascontiguousarray(photo[60:180, 90:250])
    runs = {
        name: {"options": settings, "masks": run(model, part, settings)}
        for name, settings in RUNS.items()
    }
    (HERE / "hq/runs.json").write_text(json.dumps(runs) + "\n")
    for name, found in runs.items():
        print(name, len(found["masks"]))


if __name__ == "__main__":
    main()
