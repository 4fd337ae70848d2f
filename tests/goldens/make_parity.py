"""Record what each part of the published MobileSAM network answers to seeded inputs.

Run it in an environment with the published code (`pip install mobilesam-mirror timm torch
torchvision opencv-python-headless`), from this repository's root:

    python -m tests.goldens.make_parity --shared ../shared            # write parity/*.npz
    python -m tests.goldens.make_parity --shared ../shared --check    # compare with those there

Two sets of weights: `real`, the checkpoint, and `random`, made by `seeded.weights`. The batch norms
of the checkpoint are identities: only `random` can tell whether batch norm is right.

In `parity/SET.npz`, NAME holds `seeded.sample(NAME, array)`, and `NAME.shape` the array's shape:

    input.image; input.KIND.points, .labels, .boxes, .masks
                                            the inputs themselves, to tell a changed generator of
                                            random numbers from a changed network
    weights.sums                            float64 sum of each tensor with `seeded.is_seeded(key)`,
                                            in sorted order of the keys; for the same purpose
    encoder.patch_embed                     (1, 64, 256, 256)
    encoder.layers.0 … .3                   (1, L, C) tokens, rows first, after the stage's
                                            downsampling: L = 128², 64², 64², 64², C = 128, 160,
                                            320, 320. (The third downsampling keeps the size.)
    encoder.embedding                       (1, 256, 64, 64) after the neck
    dense_pe                                (1, 256, 64, 64)
    prompt.KIND.sparse                      (5, T, 256), T = 0 for a mask alone
    prompt.KIND.dense                       (5, 256, 64, 64)
    decoder.KIND.OUT.low_res_logits         (5, M, 256, 256); OUT is `multi`, M = 3 (multimask
    decoder.KIND.OUT.iou_predictions        (5, M)            outputs), or `single`, M = 1
    decoder.point.hs, decoder.point.src     (5, 7, 256) and (5, 4096, 256), of the transformer
    photo.original_u8, photo.input_u8       `real` only: dog.jpg decoded, (534, 800, 3), and
                                            resized, (684, 1024, 3), both RGB uint8
    photo.input, photo.embedding            normalised and padded, (1, 3, 1024, 1024); its encoding
    photo.decoder.…                         as decoder.…, on that embedding
"""

import argparse
from pathlib import Path
from typing import Any

import mobile_sam
import numpy as np
import torch
from mobile_sam.modeling import Sam
from mobile_sam.utils.transforms import ResizeLongestSide
from torch import Tensor

from tests.goldens import seeded
from tests.goldens.make_runs import CHECKPOINT, THREADS, read_image
from tests.goldens.recorder import Recorder

PARITY = Path(__file__).parent / "parity"
PHOTO = Path("data/samples/dog.jpg")
RELATIVE_TOLERANCE = 1e-6


def build(state: dict[str, Tensor]) -> Sam:
    """The published network with these weights; keys `state` lacks keep their initial values.

    `eval` must follow `load_state_dict`: it gathers the encoder's attention biases into a buffer,
    and the published builder, which calls it before, leaves them at zero.
    """
    model = mobile_sam.sam_model_registry["vit_t"]()
    model.load_state_dict({**model.state_dict(), **state}, strict=True)
    return model.eval()


def random_state() -> dict[str, Tensor]:
    """The weights of the `random` set, by official key."""
    own = mobile_sam.sam_model_registry["vit_t"]().state_dict()
    made = seeded.weights({key: tuple(value.shape) for key, value in own.items()})
    return {key: torch.from_numpy(value) for key, value in made.items()}


def record_inputs(record: Recorder, state: dict[str, Tensor]) -> None:
    """Record the seeded inputs, and a sum of every tensor of the weights."""
    record.add("input.image", seeded.image())
    for kind in seeded.PROMPT_KINDS:
        for part, values in seeded.prompt(kind).items():
            record.add(f"input.{kind}.{part}", values)
    keys = sorted(filter(seeded.is_seeded, state))
    record.add("weights.sums", np.array([state[key].double().sum().item() for key in keys]))


def record_encoder(record: Recorder, model: Sam) -> Tensor:
    """Record the encoder's stages on the seeded image; return its embedding."""
    encoder = model.image_encoder
    watched = {f"encoder.layers.{i}": layer for i, layer in enumerate(encoder.layers)}
    watched["encoder.patch_embed"] = encoder.patch_embed
    with record.watching(watched):
        embedding = encoder(torch.from_numpy(seeded.image()))
    record.add("encoder.embedding", embedding)
    return embedding


def embed_prompt(model: Sam, kind: str) -> tuple[Tensor, Tensor]:
    """Sparse (N, T, 256) and dense (N, 256, 64, 64) embeddings of the prompts of one kind."""
    parts = {part: torch.from_numpy(values) for part, values in seeded.prompt(kind).items()}
    points = (parts["points"], parts["labels"]) if "points" in parts else None
    return model.prompt_encoder(points=points, boxes=parts.get("boxes"), masks=parts.get("masks"))


def record_prompts(record: Recorder, model: Sam) -> None:
    """Record the prompt encoder's answers, which depend on no image."""
    record.add("dense_pe", model.prompt_encoder.get_dense_pe())
    for kind in seeded.PROMPT_KINDS:
        sparse, dense = embed_prompt(model, kind)
        record.add(f"prompt.{kind}.sparse", sparse)
        record.add(f"prompt.{kind}.dense", dense)


def record_decoder(record: Recorder, model: Sam, embedding: Tensor, prefix: str = "") -> None:
    """Record masks and scores for every kind of prompt on one image embedding."""
    for kind in seeded.PROMPT_KINDS:
        sparse, dense = embed_prompt(model, kind)
        for out, multimask in (("multi", True), ("single", False)):
            logits, ious = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=multimask,
            )
            record.add(f"{prefix}decoder.{kind}.{out}.low_res_logits", logits)
            record.add(f"{prefix}decoder.{kind}.{out}.iou_predictions", ious)


def record_transformer(record: Recorder, model: Sam, embedding: Tensor) -> None:
    """Record the decoder's transformer, tokens (hs) and image (src), for the kind `point`."""
    sparse, dense = embed_prompt(model, "point")
    answers: list[tuple[Tensor, Tensor]] = []
    handle = model.mask_decoder.transformer.register_forward_hook(
        lambda _module, _args, out: answers.append(out)
    )
    model.mask_decoder.predict_masks(embedding, model.prompt_encoder.get_dense_pe(), sparse, dense)
    handle.remove()
    ((hs, src),) = answers
    record.add("decoder.point.hs", hs)
    record.add("decoder.point.src", src)


def record_photo(record: Recorder, model: Sam, path: Path) -> None:
    """Record a photograph's way through the published preprocessing, encoder and decoder."""
    original = read_image(path)
    resized = ResizeLongestSide(seeded.IMAGE_SIZE).apply_image(original)
    prepared = model.preprocess(torch.from_numpy(resized).permute(2, 0, 1)[None])
    embedding = model.image_encoder(prepared)
    record.add("photo.original_u8", original)
    record.add("photo.input_u8", resized)
    record.add("photo.input", prepared)
    record.add("photo.embedding", embedding)
    record_decoder(record, model, embedding, prefix="photo.")


@torch.no_grad()
def record_set(state: dict[str, Tensor], photo: Path | None) -> dict[str, np.ndarray]:
    """All that one file holds, for one set of weights."""
    model = build(state)
    record = Recorder()
    record_inputs(record, state)
    embedding = record_encoder(record, model)
    record_prompts(record, model)
    record_decoder(record, model, embedding)
    record_transformer(record, model, embedding)
    if photo is not None:
        record_photo(record, model, photo)
    return record.arrays


def largest_difference(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> tuple[float, str]:
    """The largest difference within one array, relative to its largest value, and its name."""
    if old.keys() != new.keys():
        raise SystemExit(f"other names: {sorted(old.keys() ^ new.keys())}")
    worst = (0.0, "")
    for name, before in old.items():
        if before.shape != new[name].shape:
            raise SystemExit(f"{name}: other shape")
        if before.size:
            before, after = before.astype(np.float64), new[name].astype(np.float64)
            scale = np.abs(before).max() or 1.0
            worst = max(worst, (float(np.abs(before - after).max() / scale), name))
    return worst


def main() -> None:
    """Write the two files, or compare with them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of weights and images")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    real = torch.load(args.shared / CHECKPOINT, map_location="cpu", weights_only=True)
    PARITY.mkdir(exist_ok=True)
    for name, state, photo in (
        ("real", real, args.shared / PHOTO),
        ("random", random_state(), None),
    ):
        arrays: dict[str, Any] = record_set(state, photo)
        path = PARITY / f"{name}.npz"
        if args.check:
            with np.load(path) as stored:
                difference, where = largest_difference(dict(stored), arrays)
            print(f"{path.name}: differs by at most {difference:.1e} {where}")
            if difference > RELATIVE_TOLERANCE:
                raise SystemExit(1)
        else:
            np.savez_compressed(path, **arrays)
            print(f"{path.name}: {len(arrays) // 2} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
