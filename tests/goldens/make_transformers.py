"""Record what the `transformers` library's SAM answers to seeded inputs, at a tiny size.

Run it in an environment with that library (`pip install transformers torch`), from this
repository's root:

    python -m tests.goldens.make_transformers

Its weights are `seeded.weight` by *its* keys, which `parity/transformers.json` lists with their
shapes: a test that renames those keys wrongly gets other answers. In `parity/transformers.npz`,
`seeded.sample` of:

    embedding                     (1, 32, 4, 4)
    scores, logits                (5, 3) and (5, 3, 16, 16), for the points of `seeded.prompt`,
                                  scaled to the input of 64 pixels
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import SamConfig, SamModel

from tests.goldens import seeded
from tests.goldens.recorder import Recorder

PARITY = Path(__file__).parent / "parity"
SIDE = 64


def tiny_model() -> SamModel:
    """A SamModel with seeded weights. Its decoder's epsilon is set to the published code's."""
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 16,
            "mlp_dim": 128,
            "output_channels": 32,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 48,
            "layer_norm_eps": 1e-5,
        },
    )
    model = SamModel(config)
    state = model.state_dict()
    for key, tensor in state.items():
        # The library keeps one matrix under two keys.
        name = "shared_image_embedding.positional_embedding" if "shared_" in key else key
        tensor.copy_(torch.from_numpy(seeded.weight(name, tuple(tensor.shape))))
    return model.eval()


@torch.no_grad()
def main() -> None:
    """Write both files."""
    model = tiny_model()
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    (PARITY / "transformers.json").write_text(json.dumps(shapes))
    image = torch.from_numpy(seeded.image()[..., :SIDE, :SIDE])
    points = torch.from_numpy(seeded.prompt("point")["points"] * (SIDE / seeded.IMAGE_SIZE))
    labels = torch.ones(1, seeded.PROMPTS, 1, dtype=torch.int)
    embedding = model.get_image_embeddings(image)
    answer = model(image_embeddings=embedding, input_points=points[None], input_labels=labels)
    record = Recorder()
    record.add("embedding", embedding)
    record.add("scores", answer.iou_scores[0])
    record.add("logits", answer.pred_masks[0])
    arrays: Any = record.arrays
    np.savez_compressed(PARITY / "transformers.npz", **arrays)


if __name__ == "__main__":
    main()
