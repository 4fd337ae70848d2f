"""Record what the `transformers` library's SAM 2 answers to seeded inputs, at a tiny size.

Run it in an environment with that library (`pip install transformers torch`), from this
repository's root:

    python -m tests.goldens.make_transformers_sam2

Its weights are `seeded.sam2_weight` by *its* keys, which `sam2/transformers.json` lists with their
shapes: a test that renames those keys wrongly gets other answers. In `sam2/transformers.npz`,
samples by `prompted.few` of:

    embedding, half, quarter      (1, 128, 8, 8), (1, 32, 16, 16), (1, 16, 32, 32)
    KIND.scores, KIND.logits      (5, 3) and (5, 3, 32, 32), for the points and the boxes of
                                  `seeded.tiny_prompt`
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Sam2Config, Sam2Model

from tests.goldens import seeded
from tests.goldens.few import Few

FOLDER = Path(__file__).parent / "sam2"
SIZE = seeded.TINY_SAM2


def tiny_model() -> Sam2Model:
    """A Sam2Model with seeded weights."""
    channels = [SIZE["embed_dim"] * 2**stage for stage in range(4)]
    side, width = SIZE["image_size"], SIZE["d_model"]
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": SIZE["embed_dim"],
                "num_attention_heads": SIZE["nb_heads"],
                "image_size": [side, side],
                "blocks_per_stage": list(SIZE["depths"]),
                "embed_dim_per_stage": channels,
                "num_attention_heads_per_stage": [SIZE["nb_heads"] * 2**i for i in range(4)],
                "window_size_per_stage": list(SIZE["window_sizes"]),
                "window_positional_embedding_background_size": 2 * [SIZE["position_size"]],
                "global_attention_blocks": [SIZE["global_block"]],
            },
            "backbone_channel_list": channels[::-1],
            "backbone_feature_sizes": [[side // s, side // s] for s in (4, 8, 16)],
            "fpn_hidden_size": width,
        },
        prompt_encoder_config={"hidden_size": width, "image_size": side},
        mask_decoder_config={"hidden_size": width, "iou_head_hidden_dim": 256},
    )
    model = Sam2Model(config)
    for key, tensor in model.state_dict().items():
        # The library keeps one matrix under two keys.
        name = "shared_image_embedding.positional_embedding" if "shared_" in key else key
        tensor.copy_(torch.from_numpy(seeded.sam2_weight(name, tuple(tensor.shape))))
    return model.eval()


@torch.no_grad()
def main() -> None:
    """Write both files."""
    model = tiny_model()
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    (FOLDER / "transformers.json").write_text(json.dumps(shapes) + "\n")
    record = Few()
    image = torch.from_numpy(seeded.image()[..., : SIZE["image_size"], : SIZE["image_size"]])
    levels = model.get_image_embeddings(image)
    for name, level in zip(("quarter", "half", "embedding"), levels, strict=True):
        record.add(name, level)
    point = torch.from_numpy(seeded.tiny_prompt("point")["points"])
    box = torch.from_numpy(seeded.tiny_prompt("box")["boxes"])
    labels = torch.ones(1, seeded.PROMPTS, 1, dtype=torch.int)
    for kind, given in (
        ("point", {"input_points": point[None], "input_labels": labels}),
        ("box", {"input_boxes": box[None]}),
    ):
        answer = model(image_embeddings=levels, **given)
        record.add(f"{kind}.scores", answer.iou_scores[0])
        record.add(f"{kind}.logits", answer.pred_masks[0])
    arrays: Any = record.arrays
    np.savez_compressed(FOLDER / "transformers.npz", **arrays)


if __name__ == "__main__":
    main()
