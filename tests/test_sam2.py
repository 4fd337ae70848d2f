"""SAM 2 against the published code: goldens made by `make_sam2.py`."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from amg_cli import GenerationConfig, Prompts, encode_image, generate, predict
from amg_cli.core.errors import WeightsError
from amg_cli.core.frame import Frame
from amg_cli.formats.reference_record import reference_record
from amg_cli.models.configs import FineTwoWayConfig, HieraConfig, SamConfig
from amg_cli.models.decoders.two_way import FastCanvas
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from amg_cli.models.sam import Sam
from amg_cli.weights.layouts import to_official
from tests.comparing import RELATIVE_TOLERANCE
from tests.conftest import GOLDENS, REPOSITORY, photo
from tests.goldens import prompted, seeded

FOLDER = GOLDENS / "sam2"
SIZE = seeded.TINY_SAM2
SIDE = SIZE["image_size"]
TINY_SAM2 = SamConfig(
    encoder=HieraConfig(
        embed_dim=SIZE["embed_dim"],
        nb_heads=SIZE["nb_heads"],
        depths=SIZE["depths"],
        window_sizes=SIZE["window_sizes"],
        global_blocks=(SIZE["global_block"],),
        position_hw=(SIZE["position_size"], SIZE["position_size"]),
    ),
    decoder=FineTwoWayConfig(),
    input_size=(SIDE, SIDE),
    stretched=True,
    embed_dim=SIZE["d_model"],
    pad_boxes=True,
    logit_bound=32.0,
)


@pytest.fixture(scope="module")
def golden():
    return np.load(FOLDER / "parity.npz")


@pytest.fixture(scope="module")
def state():
    """A checkpoint as it is published, its video part included."""
    shapes = json.loads((FOLDER / "shapes.json").read_text())
    return {
        key: torch.from_numpy(seeded.sam2_weight(key, tuple(shape)))
        for key, shape in shapes.items()
    }


def loaded(state):
    model = Sam(TINY_SAM2)
    model.load_state_dict(to_official({"model": state}), strict=True)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(state):
    return loaded(state)


@pytest.fixture(scope="module")
def folded(state):
    model = loaded(state)
    model.image_encoder.fold()
    return model


def images():
    shape = (2, 3, SIDE, SIDE)
    return torch.from_numpy(seeded.rng("input.sam2").standard_normal(shape, dtype=np.float32))


def assert_same(golden, name, found, bound=RELATIVE_TOLERANCE):
    """`found` has the golden's shape and, at the sampled places, its values."""
    found = np.asarray(found)
    assert found.shape == tuple(golden[f"{name}.shape"])
    ours, published = prompted.few(name, found), golden[name]
    worst = np.abs(ours.astype(np.float64) - published).max() / np.abs(published).max()
    assert worst <= bound, f"{name}: off by {worst:.1e} of its largest value"


# The encoder


def test_every_stage_and_level_is_the_published_one(golden, model):
    encoder = model.image_encoder
    for i, stage in enumerate(encoder.trunk(images())):
        assert_same(golden, f"trunk.{i}", stage)
    for name, level in zip(("embedding", "half", "quarter"), encoder(images()), strict=True):
        assert_same(golden, name, level)


def test_a_folded_encoder_gives_the_same_levels_by_fewer_convolutions(golden, folded):
    assert isinstance(folded.image_encoder.conv_s0, torch.nn.Identity)
    levels = folded.image_encoder(images())
    for name, level in zip(("embedding", "half", "quarter"), levels, strict=True):
        assert_same(golden, name, level)


# Prompts in the model's input


@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", seeded.PROMPT_KINDS)
@pytest.mark.parametrize("way", ["plain", "fast"])
def test_every_kind_of_prompt_is_answered_as_published(golden, model, kind, out, way):
    parts = {part: torch.from_numpy(x) for part, x in seeded.tiny_prompt(kind).items()}
    asked = InputPrompts(
        parts.get("points"), parts.get("labels"), parts.get("boxes"), parts.get("masks")
    )
    with torch.inference_mode():
        embedding = model.encode(images()[:1])
        if way == "fast":
            embedding = model.prepare(embedding)
        decoded = model.decode(embedding, asked, multimask=out == "multi")
        logits = decoded.logits().unflatten(0, decoded.scores.shape)
    if out == "multi":
        assert isinstance(decoded.canvas, FastCanvas) == (way == "fast")
    assert_same(golden, f"decoder.{kind}.{out}.scores", decoded.scores)
    assert_same(golden, f"decoder.{kind}.{out}.logits", logits)


# Photographs


def chelsea():
    return photo(REPOSITORY / "examples/images/chelsea.jpg")


@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", [kind for kind, parts in prompted.KINDS.items() if parts])
def test_prompts_by_hand_are_answered_as_published(golden, model, kind, out):
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


@pytest.mark.parametrize("name", ["all", "thresholds", "crops"])
def test_runs_find_the_published_masks(model, name, monkeypatch):
    run = json.loads((FOLDER / "runs.json").read_text())[name]
    options = dict(run["options"])
    config = dataclasses.replace(TINY_SAM2, mask_threshold=options.pop("mask_threshold", 0.0))
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
