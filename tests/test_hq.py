"""SAM-HQ against the published code: goldens made by `make_hq.py`."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from amg_cli import Prompts, encode_image, generate, predict
from amg_cli.core.errors import ConfigError, WeightsError
from amg_cli.models import devices
from amg_cli.models.compiled import compile_model
from amg_cli.models.configs import (
    HqTwoWayConfig,
    SamConfig,
    TinyVitConfig,
    TwoWayConfig,
    VitConfig,
)
from amg_cli.models.decoders.two_way import FastCanvas
from amg_cli.models.fast.upscaling import UNDRAWN
from amg_cli.models.hq_token import with_hq_token_only
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from amg_cli.models.sam import Sam
from amg_cli.segment_anything import SamPredictor
from amg_cli.weights.layouts import to_official
from amg_cli.weights.loading import load_model
from amg_cli.weights.zoo import ZOO, KnownModel
from tests.command import FEW_POINTS, amg
from tests.comparing import assert_same_masks
from tests.conftest import GOLDENS
from tests.goldens import seeded
from tests.published import (
    KINDS_BY_HAND,
    assert_by_hand,
    assert_draws_what_is_asked_for,
    assert_nearly_same_in,
    assert_run,
    assert_same,
    images,
    prompts_of,
)
from tests.stand_ins import settings

FOLDER = GOLDENS / "hq"
SIZE, LIGHT = seeded.TINY_HQ, seeded.TINY_LIGHT_HQ
SIDE = SIZE["image_size"]
TINY_HQ = SamConfig(
    encoder=VitConfig(
        patch_size=SIZE["patch_size"],
        grid_hw=(SIDE // SIZE["patch_size"],) * 2,
        embed_dim=SIZE["embed_dim"],
        nb_blocks=SIZE["nb_blocks"],
        nb_heads=SIZE["nb_heads"],
        window_size=SIZE["window_size"],
        global_blocks=SIZE["global_blocks"],
        early_level=True,
    ),
    decoder=HqTwoWayConfig(early_channels=SIZE["embed_dim"]),
    input_size=(SIDE, SIDE),
    embed_dim=SIZE["d_model"],
)
TINY_LIGHT_HQ = SamConfig(
    encoder=TinyVitConfig(
        embed_dims=LIGHT["embed_dims"],
        depths=LIGHT["depths"],
        num_heads=LIGHT["num_heads"],
        early_level=True,
    ),
    decoder=HqTwoWayConfig(
        early_channels=LIGHT["embed_dims"][2], mlp_channels=LIGHT["mlp_channels"]
    ),
)


@pytest.fixture(scope="module")
def golden():
    return np.load(FOLDER / "parity.npz")


def state_of(name):
    """A checkpoint as it is published."""
    shapes = json.loads((FOLDER / "shapes.json").read_text())[name]
    return {
        key: torch.from_numpy(seeded.weight(key, tuple(shape)))
        if seeded.is_seeded(key)
        else torch.zeros(shape)
        for key, shape in shapes.items()
    }


def loaded(config, state):
    model = Sam(config)
    model.load_state_dict(to_official(state), strict=True)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def state():
    return state_of("hq_vit")


@pytest.fixture(scope="module")
def model(state):
    return loaded(TINY_HQ, state)


@pytest.fixture(scope="module")
def light():
    return loaded(TINY_LIGHT_HQ, state_of("hq_light"))


@pytest.fixture(scope="module")
def hq_only(model):
    """The same model, whose masks are those of the finer features alone."""
    return with_hq_token_only(model)


# The token alone


def test_a_model_without_sams_part_shares_its_parameters(model, noise):
    only = with_hq_token_only(model)
    assert not model.config.decoder.hq_token_only
    assert not model.mask_decoder.config.hq_token_only
    assert only.config.decoder.hq_token_only
    pairs = zip(only.parameters(), model.parameters(), strict=True)
    assert all(ours is theirs for ours, theirs in pairs)
    encoded = encode_image(model, noise)
    asked = Prompts(np.array([[[30.0, 20.0]]]), np.array([[1]]))
    whole, part = (predict(each, encoded, asked) for each in (model, only))
    assert np.array_equal(whole.scores, part.scores)
    assert not np.array_equal(whole.low_res, part.low_res)


def test_the_predictor_has_the_argument_of_the_published_one(model, tiny_model, noise):
    point, label = np.array([[30.0, 20.0]]), np.array([1])
    predictor = SamPredictor(model)
    predictor.set_image(noise)
    wanted = predict(
        with_hq_token_only(model), encode_image(model, noise), Prompts(point[None], label[None])
    )
    _, _, low_res = predictor.predict(point, label, hq_token_only=True)
    assert np.array_equal(low_res, wanted.low_res[0])
    in_input = torch.from_numpy(predictor.transform.apply_coords(point, noise.shape[:2]))[None]
    of_torch = predictor.predict_torch(in_input, torch.ones(1, 1), hq_token_only=True)
    np.testing.assert_allclose(of_torch[2][0], wanted.low_res[0], atol=1e-4)
    _, _, whole = predictor.predict(point, label)
    assert not np.array_equal(whole, low_res)
    other = SamPredictor(tiny_model)
    other.set_image(noise)
    with pytest.raises(ConfigError, match="hq token only: the model has no HQ token; leave it out"):
        other.predict(point, label, hq_token_only=True)


# Parts


def test_the_levels_are_the_embedding_and_the_first_global_block(golden, model):
    embedding, early = model.image_encoder(images())
    assert_same(golden, "embedding", embedding)
    assert_same(golden, "early.0", early)
    with pytest.raises(AssertionError):
        assert_same(golden, "early.1", early)


def test_the_features_of_an_image_and_of_pixels_are_the_published_ones(golden, model):
    decoder = model.mask_decoder
    assert_same(golden, "features", decoder._features(model.encode(images()[:1])))
    pixels = seeded.rng("pixels").standard_normal((1, 16, 32, 32), dtype=np.float32)
    assert_same(golden, "maskfeature", decoder.embedding_maskfeature(torch.from_numpy(pixels)))


# Prompts in the model's input


@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", seeded.PROMPT_KINDS)
@pytest.mark.parametrize("way", ["plain", "fast"])
def test_every_kind_of_prompt_is_answered_as_published(golden, model, kind, out, way):
    assert_answers(golden, model, kind, out, way, f"decoder.{kind}.{out}")


@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", seeded.PROMPT_KINDS)
@pytest.mark.parametrize("way", ["plain", "fast"])
def test_masks_of_the_finer_features_alone_are_the_published_ones(golden, hq_only, kind, out, way):
    assert_answers(golden, hq_only, kind, out, way, f"decoder.{kind}.{out}.hq")


def assert_answers(golden, model, kind, out, way, name):
    with torch.inference_mode():
        embedding = model.encode(images()[:1])
        if way == "fast":
            embedding = model.prepare(embedding)
        decoded = model.decode(embedding, prompts_of(kind), multimask=out == "multi")
        logits = decoded.logits().unflatten(0, decoded.scores.shape)
    assert isinstance(decoded.canvas, FastCanvas) == (way == "fast")
    assert_same(golden, f"{name}.scores", decoded.scores)
    assert_same(golden, f"{name}.logits", logits)


@pytest.mark.parametrize("way", ["plain", "fast"])
@torch.inference_mode()
def test_the_light_network_is_the_published_one(golden, light, way):
    embedding = light.encode(torch.from_numpy(seeded.image()))
    for name, level in zip(("embedding", "early"), embedding.levels, strict=True):
        assert_same(golden, f"light.{name}", level)
    if way == "fast":
        embedding = light.prepare(embedding)
    parts = {part: torch.from_numpy(x) for part, x in seeded.prompt("point").items()}
    for out, multimask in (("multi", True), ("single", False)):
        asked = InputPrompts(parts["points"], parts["labels"])
        decoded = light.decode(embedding, asked, multimask)
        assert_same(golden, f"light.point.{out}.scores", decoded.scores)
        logits = decoded.logits().unflatten(0, decoded.scores.shape)
        assert_same(golden, f"light.point.{out}.logits", logits)


def test_a_folded_light_encoder_gives_the_same_levels(golden):
    model = loaded(TINY_LIGHT_HQ, state_of("hq_light"))
    model.image_encoder.fold()
    with torch.inference_mode():
        embedding, early = model.image_encoder(torch.from_numpy(seeded.image()))
    assert_same(golden, "light.embedding", embedding)
    assert_same(golden, "light.early", early)


# Photographs


@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", KINDS_BY_HAND)
def test_prompts_by_hand_are_answered_as_published(golden, model, kind, out):
    assert_by_hand(golden, model, kind, out)


@pytest.mark.parametrize("name", ["all", "thresholds", "small", "crops"])
def test_runs_find_the_published_masks(model, name, monkeypatch):
    assert assert_run(model, FOLDER / "runs.json", name, monkeypatch) >= 4


# What is its own


def test_the_best_of_an_ambiguous_prompts_masks_differs_from_prompt_to_prompt(model):
    """So that the goldens tell whether it is chosen rightly."""
    with torch.inference_mode():
        embedding = model.encode(images()[:1])
        chosen = [model.decode(embedding, prompts_of(k)).chosen for k in seeded.PROMPT_KINDS]
    assert len(torch.cat(chosen).unique()) >= 2
    assert torch.cat(chosen).min() >= 1


def test_no_prompts_have_no_masks(model):
    none = InputPrompts(torch.zeros(0, 1, 2), torch.zeros(0, 1))
    for embedding in (model.encode(images()[:1]), model.prepare(model.encode(images()[:1]))):
        for multimask in (True, False):
            decoded = model.decode(embedding, none, multimask)
            assert decoded.scores.shape == (0, 1)
            assert decoded.logits().shape == (0, 32, 32)


@pytest.mark.parametrize("used_hw", [(128, 40), (70, 128), (33, 65), (64, 64)])
def test_what_is_not_padding_is_drawn_as_in_the_whole(model, used_hw):
    with torch.inference_mode():
        embedding = model.encode(images()[:1])
        whole = model.decode(model.prepare(embedding), prompts_of("point")).logits()
        partly = model.decode(model.prepare(embedding, used_hw), prompts_of("point")).logits()
    # The last pixel of an image lies between two logits.
    height, width = (min(32, -(-side // 4) + 1) for side in used_hw)
    torch.testing.assert_close(
        partly[:, :height, :width], whole[:, :height, :width], rtol=0, atol=1e-4
    )
    assert (partly == UNDRAWN).any()


def test_only_the_masks_asked_for_are_drawn(model):
    assert_draws_what_is_asked_for(model)


def test_all_prompts_at_once_are_drawn_as_one_by_one(model, monkeypatch):
    """As they are where there is no small cache."""
    with torch.inference_mode():
        embedding = model.prepare(model.encode(images()[:1]))
        one_by_one = model.decode(embedding, prompts_of("all"))
        monkeypatch.setattr("amg_cli.models.fast.image.CELLS_AT_A_TIME", 64 * seeded.PROMPTS)
        at_once = model.decode(embedding, prompts_of("all"))
    assert len(at_once.canvas.images) == 1
    torch.testing.assert_close(at_once.logits(), one_by_one.logits(), rtol=0, atol=1e-4)


def test_a_compiled_model_gives_the_same_masks(state, model, noise, monkeypatch):
    """By torch's tracer and without its code generator, which needs a compiler."""
    monkeypatch.setattr(devices, "CPUS", ())  # as on a GPU, for which this is made
    compiled = loaded(TINY_HQ, state)
    compile_model(compiled, backend="eager")
    config = settings(points_per_side=2)
    try:
        found = generate(noise, compiled, config)
    finally:
        torch.compiler.reset()
    assert_same_masks(found, generate(noise, model, config))


@pytest.mark.parametrize("precision", [torch.bfloat16])
def test_in_16_bits_masks_are_nearly_the_same(model, precision, monkeypatch):
    assert_nearly_same_in(precision, model, monkeypatch, scores_within=0.05)


def test_every_parameter_of_its_own_learns(state):
    model = loaded(TINY_HQ, state).train().requires_grad_(True)
    decoded = model.decode(model.encode(images()[:1]), prompts_of("point"), multimask=False)
    decoded.logits().square().mean().backward()
    own = ("hf_", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature")
    grads = {k: p.grad for k, p in model.mask_decoder.named_parameters() if k.startswith(own)}
    assert len(grads) == 1 + 6 + 3 * 6
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())


# Checkpoints


@pytest.fixture
def row(monkeypatch):
    known = KnownModel("hq_tiny", TINY_HQ, "https://host/hq_tiny.pth", 1, "", "none")
    monkeypatch.setitem(ZOO, "hq_tiny", known)
    plain = dataclasses.replace(
        TINY_HQ,
        encoder=dataclasses.replace(TINY_HQ.encoder, early_level=False),
        decoder=TwoWayConfig(),
    )
    other = KnownModel("plain_tiny", plain, "https://host/plain_tiny.pth", 1, "", "none")
    monkeypatch.setitem(ZOO, "plain_tiny", other)


def test_a_file_with_hq_tokens_is_told_from_one_without(state, row, tmp_path, noise):
    torch.save(state, tmp_path / "a.pth")
    model = load_model(tmp_path / "a.pth", device="cpu")
    assert (model.name, model.config) == ("hq_tiny", TINY_HQ)
    assert generate(noise, model, settings(points_per_side=2))
    own = ("hf_", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature")
    sams = {k: v for k, v in state.items() if not k.removeprefix("mask_decoder.").startswith(own)}
    torch.save(sams, tmp_path / "b.pth")
    assert load_model(tmp_path / "b.pth", device="cpu").name == "plain_tiny"
    with pytest.raises(WeightsError, match="holds hq_tiny, but plain_tiny was asked for"):
        load_model(tmp_path / "a.pth", model_type="plain_tiny", device="cpu")


def test_other_input_sizes_need_no_other_weights(state, row, tmp_path, noise):
    torch.save(state, tmp_path / "a.pth")
    small = load_model(tmp_path / "a.pth", device="cpu", image_size=96, fixed_input_size=False)
    assert generate(noise, small, settings(points_per_side=2))


def test_graphs_are_refused_in_words(model, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from amg_cli.export.exporting import export

    with pytest.raises(ConfigError, match="draws on several levels, which no graph has yet"):
        list(export(model, tmp_path / "graphs"))
    assert not (tmp_path / "graphs").exists()


OTHERS = ("hq_vit_b", "hq_vit_l", "hq_vit_t", "tinysam", "medsam")


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_cannot_be_checked_is_not_downloaded(name, tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path))
    known = ZOO[name]
    (tmp_path / known.filename).touch()
    for offline in (False, True):
        with pytest.raises(WeightsError, match=r"not downloaded.*not known from two sources"):
            load_model(name, offline=offline)
    for command in ("pull", "verify"):
        done = amg("models", command, name, cwd=tmp_path)
        assert done.returncode == 1
        assert f"get it at {known.url}, and give it with --checkpoint" in done.stderr


def test_the_configs_are_those_of_sam_with_an_early_level():
    for size, channels in (("b", 768), ("l", 1024), ("h", 1280), ("t", 160)):
        config, sams = ZOO[f"hq_vit_{size}"].config, ZOO[f"vit_{size}"].config
        assert dataclasses.replace(config.encoder, early_level=False) == sams.encoder
        assert config.decoder.early_channels == channels
        assert dataclasses.replace(config, encoder=sams.encoder, decoder=sams.decoder) == sams
    assert ZOO["tinysam"].config == ZOO["vit_t"].config
    assert ZOO["medsam"].config.encoder == ZOO["vit_b"].config.encoder


def test_a_fine_tune_is_told_from_what_it_is_of_by_its_files_name_or_the_type(tmp_path):
    weights = Sam(ZOO["vit_t"].config).state_dict()
    torch.save(weights, tmp_path / "tinysam_42.3.pth")
    assert load_model(tmp_path / "tinysam_42.3.pth", device="cpu").name == "tinysam"
    (tmp_path / "tinysam_42.3.pth").rename(tmp_path / "mine.pth")
    assert load_model(tmp_path / "mine.pth", device="cpu").name == "vit_t"
    other = load_model(tmp_path / "mine.pth", model_type="tinysam", device="cpu")
    assert other.name == "tinysam"


def test_the_commands_take_an_official_file(tmp_path, noise):
    model = Sam(ZOO["hq_vit_t"].config)
    state = {
        key: torch.from_numpy(seeded.weight(key, tuple(tensor.shape)))
        if tensor.is_floating_point()
        else tensor
        for key, tensor in model.state_dict().items()
    }
    unused = {"image_encoder.norm_head.weight": torch.ones(320)}  # of TinyViT's classifier
    torch.save(state | unused, tmp_path / "sam_hq_vit_tiny.pth")
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    chosen = ("--checkpoint", "sam_hq_vit_tiny.pth", "--image-size", "256")
    run = ("--input", "a.png", "--output", "out", *FEW_POINTS)
    done = amg(*run, *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    point = ("predict", "a.png", "--point", "40,30", *chosen, "--model-type", "light-hq-sam")
    done = amg(*point, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    only = amg(*point, "--hq-token-only", cwd=tmp_path)
    assert only.returncode == 0, only.stderr
    assert only.stdout != done.stdout
    done = amg(*run, *chosen, "--hq-token-only", cwd=tmp_path)
    assert "what is in it was made with --hq-token-only false, now true" in done.stderr
    done = amg(*run[:3], "nano", "--hq-token-only", cwd=tmp_path)
    assert done.returncode == 2
    assert "nano has no HQ token; leave it out, or take a model of SAM-HQ" in done.stderr
    other = ("--input", "a.png", "--output", "other", *chosen, "--model-type", "vit_t")
    done = amg(*other, cwd=tmp_path)
    assert "holds hq_vit_t, but vit_t was asked for" in done.stderr
