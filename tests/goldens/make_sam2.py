"""Record what the published SAM 2 answers to seeded inputs and photographs, at a tiny size.

Run it in an environment with the published code (`pip install sam2`), from this repository's root:

    python -m tests.goldens.make_sam2 [--full]

The weights are `seeded.sam2_weight` by its keys, which `sam2/shapes.json` lists with their shapes:
those of the video part too, which a checkpoint has. In `sam2/parity.npz`, NAME holds a sample by
`prompted.few`, and `NAME.shape` the array's shape:

    trunk.I                               (2, C, h, w), of stage I
    embedding, half, quarter              (2, 128, 8, 8), (2, 32, 16, 16), (2, 16, 32, 32)
    decoder.KIND.OUT.logits, .scores      (5, M, 32, 32) and (5, M), on the first image;
                                          OUT is `multi`, M = 3, or `single`, M = 1

and `predictor.…`, on a photograph by `SAM2ImagePredictor`, prompt by prompt, of `prompted.prompts`:

    predictor.KIND.OUT.masks, .scores, .low_res   (3, M, H, W) logits, (3, M), (3, M, 32, 32)

`m2m.logits`, `.scores`: (12, H, W), (12,), of the refined masks of 2 x 2 points in a part of it.

`sam2/runs.json` is what `SAM2AutomaticMaskGenerator` finds in a part of a photograph.

With --full it writes `sam2/full.npz` instead, of the four architectures at their size: MODEL.… as
above, of `seeded.image`, and for the kind `point` alone, all prompts at once. It takes minutes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor
from torch import Tensor

from tests.goldens import seeded
from tests.goldens.few import Few

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "examples/images/chelsea.jpg"
SIZE = seeded.TINY_SAM2
# Random weights give ragged masks of the whole image: at a high threshold there are small ones.
RUNS: dict[str, dict[str, Any]] = {
    "all": {
        "points_per_side": 2,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    },
    "thresholds": {
        "points_per_side": 6,
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.3,
        "mask_threshold": 13.0,
        "box_nms_thresh": 0.95,
    },
    "crops": {
        "points_per_side": 6,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.2,
        "mask_threshold": 14.0,
        "box_nms_thresh": 0.9,
        "crop_nms_thresh": 0.9,
        "crop_n_layers": 1,
        "crop_n_points_downscale_factor": 2,
    },
    "m2m": {
        "points_per_side": 2,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
        "use_m2m": True,
    },
    "m2m crops": {
        "points_per_side": 6,
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.2,
        "mask_threshold": 14.0,
        "box_nms_thresh": 0.9,
        "crop_nms_thresh": 0.9,
        "crop_n_layers": 1,
        "crop_n_points_downscale_factor": 2,
        "use_m2m": True,
    },
}


def tiny_model() -> Any:
    """SAM 2.1 with seeded weights, its video part included, which nothing here runs."""
    channels = [SIZE["embed_dim"] * 2**stage for stage in (3, 2, 1, 0)]
    position = SIZE["position_size"]
    trunk = {
        "embed_dim": SIZE["embed_dim"],
        "num_heads": SIZE["nb_heads"],
        "stages": list(SIZE["depths"]),
        "window_spec": list(SIZE["window_sizes"]),
        "global_att_blocks": [SIZE["global_block"]],
        "window_pos_embed_bkg_spatial_size": [position, position],
    }
    overrides = [
        f"++model.image_size={SIZE['image_size']}",
        "++model.memory_attention.num_layers=1",
        f"++model.image_encoder.neck.d_model={SIZE['d_model']}",
        f"++model.image_encoder.neck.backbone_channel_list={channels}",
        *(f"++model.image_encoder.trunk.{name}={value}" for name, value in trunk.items()),
    ]
    return seeded_model("t", overrides)


def seeded_model(size: str, overrides: list[str]) -> Any:
    """One of the published models, with seeded weights."""
    config = f"configs/sam2.1/sam2.1_hiera_{size}.yaml"
    model = build_sam2(config, device="cpu", hydra_overrides_extra=overrides)
    for key, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(seeded.sam2_weight(key, tuple(tensor.shape))))
    return model


def encode(record: Few, model: Any) -> tuple[Tensor, list[Tensor]]:
    """Record an encoder's stages. -> the embedding and the finer levels, of the first image."""
    images = torch.from_numpy(
        seeded.rng("input.sam2").standard_normal(
            (2, 3, SIZE["image_size"], SIZE["image_size"]), dtype=np.float32
        )
    )
    for i, stage in enumerate(model.image_encoder.trunk(images)):
        record.add(f"trunk.{i}", stage)
    quarter, half, coarse = model.forward_image(images)["backbone_fpn"]
    embedding = coarse + model.no_mem_embed.view(1, -1, 1, 1)
    for name, level in (("embedding", embedding), ("half", half), ("quarter", quarter)):
        record.add(name, level)
    return embedding[:1], [quarter[:1], half[:1]]


def decode(record: Few, model: Any, embedding: Tensor, finer: list[Tensor]) -> None:
    """Record masks and scores of every kind of prompt."""
    for kind in seeded.PROMPT_KINDS:
        parts = {part: torch.from_numpy(x) for part, x in seeded.tiny_prompt(kind).items()}
        for out, multimask in (("multi", True), ("single", False)):
            answers = [
                model.sam_mask_decoder(
                    image_embeddings=embedding,
                    image_pe=model.sam_prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=multimask,
                    repeat_image=False,
                    high_res_features=finer,
                )
                for sparse, dense in (embed(model, parts, i) for i in range(seeded.PROMPTS))
            ]
            logits, scores = (torch.cat([answer[i] for answer in answers]) for i in range(2))
            record.add(f"decoder.{kind}.{out}.logits", logits)
            record.add(f"decoder.{kind}.{out}.scores", scores)


def embed(model: Any, parts: dict[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """The embeddings of one prompt, as `SAM2ImagePredictor` asks for them."""
    part = {name: values[number : number + 1] for name, values in parts.items()}
    coords, labels = part.get("points"), part.get("labels")
    if "boxes" in part:
        corners = part["boxes"].reshape(1, 2, 2)
        kinds = torch.tensor([[2, 3]], dtype=torch.int)
        coords = corners if coords is None else torch.cat([corners, coords], dim=1)
        labels = kinds if labels is None else torch.cat([kinds, labels], dim=1)
    points = None if coords is None else (coords, labels)
    return model.sam_prompt_encoder(points=points, boxes=None, masks=part.get("masks"))


def set_levels(predictor: SAM2ImagePredictor) -> None:
    """The sizes of the levels, which are written into the published code for 1024 pixels."""
    predictor._bb_feat_sizes = [(SIZE["image_size"] // s,) * 2 for s in (4, 8, 16)]


def run(model: Any, photo: np.ndarray, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a generator."""
    generator = SAM2AutomaticMaskGenerator(model, output_mode="coco_rle", **settings)
    set_levels(generator.predictor)
    return generator.generate(photo)


def refine(record: Few, model: Any, photo: np.ndarray) -> None:
    """Record masks that were prompted with once more."""
    generator = SAM2AutomaticMaskGenerator(model, points_per_side=2)
    predictor = generator.predictor
    set_levels(predictor)
    predictor.set_image(photo)
    height, width = photo.shape[:2]
    points = torch.from_numpy(generator.point_grids[0] * [width, height]).float()
    points = predictor._transforms.transform_coords(points, normalize=True, orig_hw=(height, width))
    labels = torch.ones(len(points), dtype=torch.int)
    _, scores, low_res = predictor._predict(points[:, None], labels[:, None], return_logits=True)
    repeated = (x.repeat_interleave(scores.shape[1], dim=0) for x in (points, labels))
    logits, scores = generator.refine_with_m2m(*repeated, low_res.flatten(0, 1), 5)
    record.add("m2m.logits", logits[:, 0])
    record.add("m2m.scores", scores[:, 0])


def full_size(record: Few, size: str) -> None:
    """Record one of the published models."""
    model = seeded_model(size, [])
    quarter, half, coarse = model.forward_image(torch.from_numpy(seeded.image()))["backbone_fpn"]
    embedding = coarse + model.no_mem_embed.view(1, -1, 1, 1)
    for name, level in (("embedding", embedding), ("half", half), ("quarter", quarter)):
        record.add(f"{size}.{name}", level)
    parts = {part: torch.from_numpy(x) for part, x in seeded.prompt("point").items()}
    sparse, dense = model.sam_prompt_encoder((parts["points"], parts["labels"]), None, None)
    logits, scores, *_ = model.sam_mask_decoder(
        image_embeddings=embedding,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=[quarter, half],
    )
    record.add(f"{size}.scores", scores)
    record.add(f"{size}.logits", logits)


@torch.no_grad()
def main() -> None:
    """Write the three files, or the one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the four published sizes")
    torch.set_num_threads(2)
    if parser.parse_args().full:
        whole = Few()
        for size in ("t", "s", "b+", "l"):
            full_size(whole, size)
        of_all: Any = whole.arrays
        np.savez_compressed(HERE / "sam2/full.npz", **of_all)
        return
    model = tiny_model()
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    (HERE / "sam2/shapes.json").write_text(json.dumps(shapes) + "\n")
    record = Few()
    decode(record, model, *encode(record, model))
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    predictor = SAM2ImagePredictor(model)
    set_levels(predictor)
    record.by_hand(predictor, photo)
    part = np.ascontiguousarray(photo[60:180, 90:250])
    refine(record, model, part)
    arrays: Any = record.arrays
    np.savez_compressed(HERE / "sam2/parity.npz", **arrays)
    runs = {
        name: {"options": settings, "masks": run(model, part, settings)}
        for name, settings in RUNS.items()
    }
    (HERE / "sam2/runs.json").write_text(json.dumps(runs) + "\n")
    for name, found in runs.items():
        print(name, len(found["masks"]))


if __name__ == "__main__":
    main()
