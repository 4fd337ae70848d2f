"""Checkpoints as people hold them: wrapped, prefixed, of another library, in another format."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amg_cli import load_model
from amg_cli.core.errors import ConfigError, WeightsError
from amg_cli.models.configs import SamConfig, TwoWayConfig, VitConfig
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from amg_cli.weights.checkpoints import read_checkpoint
from amg_cli.weights.layouts import to_official
from amg_cli.weights.loading import load_checkpoint
from tests.comparing import assert_same
from tests.conftest import GOLDENS
from tests.goldens import seeded

TINY_OF_TRANSFORMERS = SamConfig(
    encoder=VitConfig(
        grid_hw=(4, 4), embed_dim=32, nb_blocks=2, nb_heads=2, window_size=3, global_blocks=(1,)
    ),
    decoder=TwoWayConfig(nb_heads=4, mlp_channels=64, iou_head_hidden_dim=48),
    input_size=(64, 64),
    embed_dim=32,
)


def same_tensors(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[key], expected[key]) for key in expected
    )


@pytest.fixture
def state(random_vit_t):
    return dict(random_vit_t.state_dict())


def test_the_official_layout_stays_as_it_is(state):
    assert same_tensors(to_official(state), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"model.{key}": value for key, value in state.items()},
        lambda state: {"model": {f"module.sam.{key}": v for key, v in state.items()}},
    ],
    ids=["state_dict", "model", "nested", "module.", "model.", "all"],
)
def test_wrappers_and_prefixes_are_taken_off(wrap, state):
    assert same_tensors(to_official(wrap(state)), state)


def test_a_wrapped_file_loads(state, tmp_path, random_vit_t):
    path = tmp_path / "fine_tune.pth"
    torch.save({"model": {f"module.{key}": v for key, v in state.items()}, "epoch": 7}, path)
    assert same_tensors(load_checkpoint(path).state_dict(), state)


def test_half_precision_weights_load_as_floats(state, tmp_path):
    path = tmp_path / "half.pt"
    torch.save({key: v.half() if v.is_floating_point() else v for key, v in state.items()}, path)
    model = load_model(path, device="cpu")
    assert next(model.parameters()).dtype == torch.float32


def test_safetensors_load_and_a_cut_file_is_named(state, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    assert same_tensors(read_checkpoint(path), state)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged or cut off"):
        read_checkpoint(path)


def test_without_the_safetensors_library_the_error_says_what_to_install(
    state, tmp_path, monkeypatch
):
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(WeightsError, match=re.escape("pip install 'amg-cli[safetensors]'")):
        read_checkpoint(path)


def test_the_transformers_layout_gives_that_librarys_answers():
    shapes = json.loads((GOLDENS / "parity/transformers.json").read_text())
    theirs = {}
    for key, shape in shapes.items():
        name = "shared_image_embedding.positional_embedding" if "shared_" in key else key
        theirs[key] = torch.from_numpy(seeded.weight(name, tuple(shape)))
    model = Sam(TINY_OF_TRANSFORMERS).eval().requires_grad_(False)
    model.load_state_dict(to_official(theirs), strict=True)

    golden = np.load(GOLDENS / "parity/transformers.npz")
    embedding = model.encode(torch.from_numpy(seeded.image()[..., :64, :64]))
    assert_same(golden, "embedding", embedding.features)
    points = torch.from_numpy(seeded.prompt("point")["points"] * (64 / seeded.IMAGE_SIZE))
    decoded = model.decode(embedding, Prompts(points, torch.ones(len(points), 1)))
    assert_same(golden, "scores", decoded.scores)
    assert_same(golden, "logits", decoded.logits().unflatten(0, decoded.scores.shape))


def test_a_wrapper_without_weights_is_no_checkpoint(tmp_path):
    path = tmp_path / "nothing.pt"
    torch.save({"model": {"epoch": 3}}, path)
    with pytest.raises(WeightsError, match="not a checkpoint of tensors by name"):
        read_checkpoint(path)


def test_another_image_size_needs_no_other_weights(random_checkpoint, noise):
    small = load_model(random_checkpoint, device="cpu", image_size=256)
    assert small.config.input_size == (256, 256)
    assert small.encode(torch.zeros(1, 3, 256, 256)).features.shape == (1, 256, 16, 16)
    assert small.config.fixed_input_size  # as vit_t's own
    loose = load_model(random_checkpoint, device="cpu", image_size=256, fixed_input_size=False)
    assert not loose.config.fixed_input_size
    assert loose.encode(torch.zeros(1, 3, 176, 256)).features.shape == (1, 256, 11, 16)


@pytest.mark.parametrize("size", [0, 8, 1000, -16])
def test_an_image_size_of_broken_patches_is_refused(size, random_checkpoint):
    with pytest.raises(ConfigError, match="is not a multiple of 16 pixels"):
        load_model(random_checkpoint, device="cpu", image_size=size)
