"""What tests of models have in common that are held against published code, at a tiny size.

Their goldens are kept by `tests.goldens.few`; inputs are 128 pixels, of `seeded.tiny_prompt`.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from amg_cli import GenerationConfig, Prompts, encode_image, generate, predict
from amg_cli.formats.reference_record import reference_record
from amg_cli.models.modes import Modes
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from tests import comparing
from tests.conftest import REPOSITORY, photo
from tests.goldens import prompted, seeded

SIDE = seeded.TINY_SAM2["image_size"]
KINDS_BY_HAND = [kind for kind, parts in prompted.KINDS.items() if parts]


def images():
    shape = (2, 3, SIDE, SIDE)
    return torch.from_numpy(seeded.rng("input.sam2").standard_normal(shape, dtype=np.float32))


def prompts_of(kind):
    parts = {part: torch.from_numpy(x) for part, x in seeded.tiny_prompt(kind).items()}
    return InputPrompts(
        parts.get("points"), parts.get("labels"), parts.get("boxes"), parts.get("masks")
    )


def chelsea():
    return photo(REPOSITORY / "examples/images/chelsea.jpg")


def assert_same(golden, name, found):
    """`found` has the golden's shape and, at the sampled places, its values."""
    assert golden[name].size
    comparing.assert_same(golden, name, found, prompted.few)


def assert_by_hand(golden, model, kind, out):
    """Prompts on a photograph are answered as the published predictor answers them."""
    image = chelsea()
    encoded = encode_image(model, image)
    first = prompted.prompts("point", image.shape[:2])
    low_res = predict(model, encoded, Prompts(first["points"], first["labels"]), multimask=False)
    given = prompted.prompts(kind, image.shape[:2])
    asked = Prompts(
        given.get("points"),
        given.get("labels"),
        given.get("boxes"),
        low_res.low_res if "masks" in prompted.KINDS[kind] else None,
    )
    found = predict(model, encoded, asked, multimask=out == "multi", return_logits=True)
    for name in ("masks", "scores", "low_res"):
        assert_same(golden, f"predictor.{kind}.{out}.{name}", getattr(found, name))


def assert_run(model, path, name, monkeypatch):
    """`generate` finds the masks of a run of the published generator. -> how many"""
    run = json.loads(path.read_text())[name]
    options = dict(run["options"])
    config = dataclasses.replace(model.config, mask_threshold=options.pop("mask_threshold", 0.0))
    monkeypatch.setattr(model, "config", config)
    image = np.ascontiguousarray(chelsea()[60:180, 90:250])
    found = [reference_record(m) for m in generate(image, model, GenerationConfig(**options))]
    assert len(found) == len(run["masks"])
    for ours, theirs in zip(found, run["masks"], strict=True):
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-5)
        assert ours["stability_score"] == pytest.approx(theirs["stability_score"], abs=2e-3)
        assert ours["point_coords"][0] == pytest.approx(theirs["point_coords"][0])
        assert ours["bbox"] == theirs["bbox"]
        assert ours["crop_box"] == theirs["crop_box"]
        a, b = (coco_mask.decode(each["segmentation"]) for each in (ours, theirs))
        assert np.count_nonzero(a != b) <= 2
    return len(found)


def assert_draws_what_is_asked_for(model):
    """Masks that are drawn for some alone are those drawn for all, plainly and in factors."""
    for embedding in (model.encode(images()[:1]), model.prepare(model.encode(images()[:1]))):
        for multimask in (True, False):
            with torch.inference_mode():
                decoded = model.decode(embedding, prompts_of("box"), multimask)
                keep = torch.arange(decoded.scores.numel()).view(decoded.scores.shape) % 2 == 0
                every = decoded.logits().unflatten(0, decoded.scores.shape)
                torch.testing.assert_close(decoded.logits(keep), every[keep])


def assert_nearly_same_in(precision, model, monkeypatch, scores_within):
    """In 16 bits 97 % of the pixels are as in single precision."""
    with torch.inference_mode():
        exact = model.decode(model.prepare(model.encode(images()[:1])), prompts_of("point"))
        monkeypatch.setattr(model, "modes", Modes(precision=precision))
        coarse = model.decode(model.prepare(model.encode(images()[:1])), prompts_of("point"))
        assert (exact.scores - coarse.scores).abs().max() < scores_within
        assert ((exact.logits() > 0) == (coarse.logits() > 0)).float().mean() > 0.97
