"""Record what the published ViT models of Segment Anything answer to seeded inputs.

Run it in an environment with the published code (`pip install segment-anything torch torchvision`),
from this repository's root; ViT-H needs 12 GB of memory and some minutes:

    python -m tests.goldens.make_parity_vit [--only vit_b]

The weights are `seeded.weights`, as nobody can commit 2.5 GB. In `parity/SET.npz`, NAME holds
`seeded.sample(NAME, array)`, and `NAME.shape` the array's shape:

    weights.sums                     float64 sum of each tensor, in sorted order of the keys
    encoder.patch_embed              (B, h, w, C)
    encoder.blocks.I                 after block I: the first (windows), the first global, the last
    encoder.embedding                (B, 256, h, w)
    decoder.point.low_res_logits     `vit_b`, `vit_l`, `vit_h`: the whole network
    decoder.point.iou_predictions

`vit_tiny` is an encoder of the same code at the sizes in `seeded.TINY_VIT`, for a batch of two.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from tests.goldens import seeded
from tests.goldens.recorder import Recorder

PARITY = Path(__file__).parent / "parity"
FULL_SIZE = ("vit_b", "vit_l", "vit_h")


def load_seeded(module: nn.Module, prefix: str = "") -> np.ndarray:
    """Give a module its seeded weights. -> the sum of each tensor, in sorted order of the keys."""
    state = module.state_dict()
    for key, tensor in state.items():
        tensor.copy_(torch.from_numpy(seeded.weight(prefix + key, tuple(tensor.shape))))
    module.eval()
    return np.array([state[key].double().sum().item() for key in sorted(state)])


def encode(record: Recorder, encoder: nn.Module, image: Tensor) -> Tensor:
    """Run an encoder, and record its stages."""
    blocks: Any = encoder.blocks
    first_global = next(i for i, block in enumerate(blocks) if block.window_size == 0)
    stages = {f"encoder.blocks.{i}": blocks[i] for i in (0, first_global, len(blocks) - 1)}
    stages["encoder.patch_embed"] = encoder.patch_embed
    with record.watching({**stages, "encoder.embedding": encoder}):
        return encoder(image)


def make_full_size(name: str) -> Recorder:
    """The goldens of one of `FULL_SIZE`."""
    model = sam_model_registry[name]()
    record = Recorder()
    record.add("weights.sums", load_seeded(model))
    embedding = encode(record, model.image_encoder, torch.from_numpy(seeded.image()))
    prompts = seeded.prompt("point")
    points = torch.from_numpy(prompts["points"]), torch.from_numpy(prompts["labels"])
    sparse, dense = model.prompt_encoder(points=points, boxes=None, masks=None)
    logits, scores = model.mask_decoder(
        embedding, model.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True
    )
    record.add("decoder.point.low_res_logits", logits)
    record.add("decoder.point.iou_predictions", scores)
    return record


def make_tiny() -> Recorder:
    """The goldens of `vit_tiny`."""
    size = seeded.TINY_VIT
    encoder = ImageEncoderViT(
        img_size=size["grid_size"] * size["patch_size"],
        patch_size=size["patch_size"],
        embed_dim=size["embed_dim"],
        depth=size["nb_blocks"],
        num_heads=size["nb_heads"],
        out_chans=size["out_channels"],
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=size["window_size"],
        global_attn_indexes=(size["global_block"],),
    )
    record = Recorder()
    record.add("weights.sums", load_seeded(encoder, "image_encoder."))
    encode(record, encoder, torch.from_numpy(seeded.tiny_images()))
    return record


@torch.no_grad()
def main() -> None:
    """Write the files asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("vit_tiny", *FULL_SIZE))
    only = parser.parse_args().only
    for name in ("vit_tiny", *FULL_SIZE):
        if only in (None, name):
            arrays: Any = (make_tiny() if name == "vit_tiny" else make_full_size(name)).arrays
            np.savez_compressed(PARITY / f"{name}.npz", **arrays)
            print(f"{name}: {len(arrays)} arrays")


if __name__ == "__main__":
    main()
