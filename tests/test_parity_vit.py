"""The ViT models against the published code: goldens made by `make_parity_vit.py`."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli.models.encoders.vit import Vit
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from amg_cli.weights.zoo import ZOO
from tests.comparing import assert_same
from tests.conftest import GOLDENS, TINY, larger, with_seeded_weights
from tests.goldens import seeded
from tests.stand_ins import TINY_VIT


def golden_of(name):
    return np.load(GOLDENS / "parity" / f"{name}.npz")


def assert_same_stages(golden, encoder, image):
    """Every stage that was recorded, and the embedding. -> the embedding."""
    x = encoder.patch_embed(image)
    assert_same(golden, "encoder.patch_embed", x)
    x = x + encoder._positions(*x.shape[1:3])
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        if f"encoder.blocks.{i}" in golden:
            assert_same(golden, f"encoder.blocks.{i}", x)
    embedding = encoder.neck(x.permute(0, 3, 1, 2))
    assert_same(golden, "encoder.embedding", embedding)
    return embedding


def sums_of(module):
    state = module.state_dict()
    return np.array([state[key].double().sum().item() for key in sorted(state)])


@pytest.fixture(scope="module")
def tiny_vit():
    encoder = Vit(TINY_VIT, seeded.TINY_VIT["out_channels"])
    state = encoder.state_dict()
    for key, tensor in state.items():
        values = seeded.weight(f"image_encoder.{key}", tuple(tensor.shape))
        tensor.copy_(torch.from_numpy(values))
    return encoder.eval().requires_grad_(False)


def test_a_tiny_vit_is_the_published_one_at_every_stage(tiny_vit):
    golden = golden_of("vit_tiny")
    np.testing.assert_allclose(sums_of(tiny_vit), golden["weights.sums"], rtol=1e-9, atol=1e-6)
    images = torch.from_numpy(seeded.tiny_images())
    embedding = assert_same_stages(golden, tiny_vit, images)
    torch.testing.assert_close(tiny_vit(images)[0], embedding)


def test_an_image_of_another_size_gets_stretched_positions(tiny_vit):
    image = torch.from_numpy(seeded.tiny_images())
    assert tiny_vit(image[..., :20, :28])[0].shape == (2, 16, 5, 7)
    assert tiny_vit(torch.cat([image, image], dim=-1))[0].shape == (2, 16, 8, 16)


def with_positions(encoder, positions):
    """The same encoder, with other position embeddings."""
    state = encoder.state_dict() | {"pos_embed": positions.expand_as(encoder.pos_embed)}
    other = Vit(TINY_VIT, seeded.TINY_VIT["out_channels"])
    other.load_state_dict(state)
    return other


def test_a_stretched_constant_stays_constant(tiny_vit):
    constant = tiny_vit.pos_embed[:, :1, :1]
    found = with_positions(tiny_vit, constant)._positions(5, 11)
    torch.testing.assert_close(found, constant.expand(1, 5, 11, 32))


def test_a_stretched_slope_stays_a_slope_away_from_the_edges(tiny_vit):
    along = torch.arange(8.0)
    slope = (along[:, None] + 10 * along)[None, ..., None]
    found = with_positions(tiny_vit, slope)._positions(4, 4)[0, 1:3, 1:3, 0]
    at = 2 * torch.arange(1.0, 3) + 0.5  # the middle of the two cells that one is now
    torch.testing.assert_close(found, at[:, None] + 10 * at)


@pytest.mark.parametrize("side", [4, 5, 8, 13])
def test_distances_are_interpolated_linearly_between_the_trained_ones(side):
    from amg_cli.models.encoders.vit import distances

    trained = torch.arange(15.0)[:, None]  # grows evenly, so that any stretching stays a line
    found = distances(trained, side)[..., 0]
    assert found.shape == (side, side)
    torch.testing.assert_close(found.diagonal(), torch.full((side,), 7.0))
    steps = found.diff(dim=0)
    inner = steps[1:-1]
    torch.testing.assert_close(inner, inner[:1, :1].expand_as(inner), atol=0.5, rtol=0.5)
    assert (steps >= 0).all()


def test_a_vit_without_a_fixed_size_decodes_any_shape():
    config = dataclasses.replace(
        TINY, encoder=TINY_VIT, embed_dim=32, input_size=(32, 32), fixed_input_size=False
    )
    model = with_seeded_weights(Sam(config))
    embedding = model.encode(torch.zeros(1, 3, 20, 32))
    assert embedding.features.shape == (1, 32, 5, 8)
    points = torch.tensor([[[3.0, 4.0]], [[20.0, 10.0]]])
    decoded = model.decode(embedding, Prompts(points, torch.ones(2, 1)))
    assert decoded.logits().shape == (6, 20, 32)


def test_drop_rates_act_in_training_only():
    config = dataclasses.replace(TINY_VIT, drop_rate=0.5, attn_drop_rate=0.5, drop_path_rate=0.5)
    encoder = Vit(config, 16)
    image = torch.from_numpy(seeded.tiny_images())
    encoder.train()
    assert not torch.equal(encoder(image)[0], encoder(image)[0])
    encoder.eval()
    assert torch.equal(encoder(image)[0], encoder(image)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_b", *larger("vit_l", "vit_h")])
@torch.inference_mode()
def test_the_full_size_network_is_the_published_one(name):
    golden = golden_of(name)
    model = with_seeded_weights(Sam(ZOO[name].config))
    np.testing.assert_allclose(sums_of(model), golden["weights.sums"], rtol=1e-9, atol=1e-5)
    features = assert_same_stages(golden, model.image_encoder, torch.from_numpy(seeded.image()))
    prompts = {part: torch.from_numpy(values) for part, values in seeded.prompt("point").items()}

    embedding = model.embedding((features,), (1024, 1024))
    decoded = model.decode(embedding, Prompts(prompts["points"], prompts["labels"]))
    assert_same(golden, "decoder.point.iou_predictions", decoded.scores)
    logits = decoded.logits().unflatten(0, decoded.scores.shape)
    assert_same(golden, "decoder.point.low_res_logits", logits)
