"""Every part of the network against the published code: goldens made by `make_parity.py`."""

import numpy as np
import pytest
import torch

from amg_cli.core.frame import Frame
from amg_cli.models.decoders.transformer import PlainImage
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.weights.loading import load_checkpoint
from tests.comparing import assert_same
from tests.conftest import GOLDENS, photo, shared
from tests.goldens import seeded

KINDS = list(seeded.PROMPT_KINDS)


@pytest.fixture(params=["random", "real"])
def weights(request):
    return request.param


@pytest.fixture
def golden(weights):
    return np.load(GOLDENS / "parity" / f"{weights}.npz")


@pytest.fixture
def model(weights, request):
    if weights == "random":
        return request.getfixturevalue("random_vit_t")
    return load_checkpoint(request.getfixturevalue("real_checkpoint")).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embeddings():
    return {}


@pytest.fixture
def embedding(model, weights, embeddings):
    if weights not in embeddings:
        embeddings[weights] = model.encode(torch.from_numpy(seeded.image()))
    return embeddings[weights]


def prompts_of(kind):
    parts = {part: torch.from_numpy(values) for part, values in seeded.prompt(kind).items()}
    return Prompts(parts.get("points"), parts.get("labels"), parts.get("boxes"), parts.get("masks"))


def tokens_of(cells):
    return cells.flatten(2).transpose(1, 2)


def test_seeded_weights_are_those_the_goldens_were_made_with(golden, model):
    state = model.state_dict()
    keys = sorted(key for key in state if seeded.is_seeded(key))
    sums = np.array([state[key].double().sum().item() for key in keys])
    np.testing.assert_allclose(sums, golden["weights.sums"], rtol=1e-9, atol=1e-6)


def test_seeded_inputs_are_those_the_goldens_were_made_with(golden):
    assert_same(golden, "input.image", seeded.image())
    for kind in KINDS:
        for part, values in seeded.prompt(kind).items():
            assert_same(golden, f"input.{kind}.{part}", values)


def test_each_stage_of_the_encoder_is_the_published_one(golden, model):
    encoder = model.image_encoder
    x = encoder.patch_embed(torch.from_numpy(seeded.image()))
    assert_same(golden, "encoder.patch_embed", x)
    for i, stage in enumerate(encoder.layers):
        x = stage(x)
        assert_same(golden, f"encoder.layers.{i}", tokens_of(x))


def test_the_embedding_and_its_positions_are_the_published_ones(golden, embedding):
    assert_same(golden, "encoder.embedding", embedding.features)
    assert_same(golden, "dense_pe", embedding.positions)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_encoder_is_the_published_one(golden, model, kind):
    tokens, cells = model.prompt_encoder(prompts_of(kind), (1024, 1024))
    assert_same(golden, f"prompt.{kind}.sparse", tokens)
    shape = tuple(golden[f"prompt.{kind}.dense.shape"])
    per_cell = model.prompt_encoder.no_mask if cells is None else cells.projected()
    assert_same(golden, f"prompt.{kind}.dense", per_cell.expand(shape))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("output", "multimask"), [("multi", True), ("single", False)])
def test_scores_and_logits_are_the_published_ones(
    golden, model, embedding, kind, output, multimask
):
    decoded = model.decode(embedding, prompts_of(kind), multimask)
    name = f"decoder.{kind}.{output}"
    assert_same(golden, f"{name}.iou_predictions", decoded.scores)
    logits = decoded.logits().unflatten(0, decoded.scores.shape)
    assert_same(golden, f"{name}.low_res_logits", logits)


def test_the_transformer_is_the_published_one(golden, model, embedding):
    tokens, cells = model.prompt_encoder(prompts_of("point"), (1024, 1024))
    decoder = model.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(seeded.PROMPTS, -1, -1), tokens], dim=1)
    assert cells is None
    cells = tokens_of(embedding.features + embedding.no_mask).expand(seeded.PROMPTS, -1, -1)
    image = PlainImage(cells, tokens_of(embedding.positions))
    tokens, image = decoder.transformer(tokens, image, tokens.shape[1])
    assert_same(golden, "decoder.point.hs", tokens)
    assert_same(golden, "decoder.point.src", image.tokens)


@pytest.fixture(scope="module")
def dog():
    return photo(shared("data/samples/dog.jpg"))


@pytest.fixture(scope="module")
def real_golden():
    return np.load(GOLDENS / "parity" / "real.npz")


def test_a_photograph_is_resized_as_pillow_does_but_for_one_level(real_golden, dog):
    frame = Frame.fit((534, 800), (1024, 1024))
    ours = frame.resize(dog).permute(1, 2, 0).numpy()
    assert ours.shape == tuple(real_golden["photo.input_u8.shape"])
    sampled = seeded.sample("photo.input_u8", ours).astype(int)
    apart = np.abs(sampled - real_golden["photo.input_u8"])
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.002


def test_a_photograph_decodes_to_the_published_masks(real_golden, dog, real_model):
    frame = Frame.fit((534, 800), (1024, 1024))
    config = real_model.config
    embedding = real_model.encode(frame.model_input(dog, config.mean, config.std))
    for kind in KINDS:
        decoded = real_model.decode(embedding, prompts_of(kind))
        name = f"photo.decoder.{kind}.multi"
        np.testing.assert_allclose(
            decoded.scores.flatten(), real_golden[f"{name}.iou_predictions"], atol=1e-3
        )
        logits = decoded.logits().unflatten(0, decoded.scores.shape)
        ours = seeded.sample(f"{name}.low_res_logits", logits.numpy())
        published = real_golden[f"{name}.low_res_logits"]
        assert np.abs(ours - published).max() <= 1e-2 * np.abs(published).max()
        assert ((ours > 0) == (published > 0)).mean() >= 0.998
