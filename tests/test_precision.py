"""16 bits: what they may change, and what they are refused for."""

import dataclasses

import pytest
import torch

from amg_cli import GenerationConfig, generate, load_model
from amg_cli.core.errors import DeviceError
from amg_cli.evaluate.compare import compare
from amg_cli.models.devices import find_precision
from amg_cli.models.modes import Modes
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from tests.conftest import TINY, photo, shared, with_seeded_weights
from tests.stand_ins import TINY_VIT

CPU = torch.device("cpu")


def test_auto_is_exact():
    assert find_precision("auto", CPU) == torch.float32
    assert find_precision("bf16", CPU) == torch.bfloat16
    assert find_precision("fp16", torch.device("cuda")) == torch.float16


def test_fp16_is_refused_on_a_cpu_before_the_weights_are_read(tmp_path):
    with pytest.raises(DeviceError, match="precision fp16: slow on a CPU; use fp32 or bf16"):
        load_model(tmp_path / "no.pt", device="cpu", precision="fp16")


def test_scores_are_exact(noise):
    exact = load_model(device="cpu", image_size=256)
    coarse = load_model(device="cpu", image_size=256, precision="bf16")
    config = GenerationConfig(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    a, b = (generate(noise, model, config) for model in (exact, coarse))
    assert a
    assert [mask.pred_iou for mask in a] == [mask.pred_iou for mask in b]


def test_an_unknown_precision_is_refused_with_those_there_are():
    with pytest.raises(
        DeviceError, match="precision bfloat16: unknown; use auto, fp32, bf16, fp16"
    ):
        find_precision("bfloat16", CPU)


@pytest.fixture
def coarse_and_exact(random_checkpoint):
    return (
        load_model(random_checkpoint, device="cpu", precision=name) for name in ("bf16", "fp32")
    )


@pytest.mark.parametrize(("encoder", "in_16_bits"), [(TINY.encoder, False), (TINY_VIT, True)])
@torch.inference_mode()
def test_a_vit_encodes_images_in_16_bits(encoder, in_16_bits):
    config = dataclasses.replace(TINY, encoder=encoder)
    model = with_seeded_weights(Sam(config))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = model.encode(image).features
    model.modes = Modes(precision=torch.bfloat16)
    coarse = model.encode(image).features
    assert coarse.dtype == torch.float32
    apart = (coarse - exact).abs().max() / exact.abs().max()
    assert 1e-4 < apart < 0.1 if in_16_bits else apart == 0


@torch.inference_mode()
def test_masks_are_drawn_in_16_bits(coarse_and_exact):
    coarse, exact = coarse_and_exact
    image = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    embedding = exact.encode(image)
    asked = Prompts(torch.rand(3, 1, 2) * 256, torch.ones(3, 1, dtype=torch.int64))
    found = coarse.decode(coarse.prepare(embedding), asked)
    wanted = exact.decode(exact.prepare(embedding), asked)
    assert found.canvas.upscaling.sixteenths_bias.dtype == torch.bfloat16
    assert found.scores.dtype == found.logits().dtype == torch.float32
    assert torch.equal(found.scores, wanted.scores)
    bound = 0.05 * float(wanted.logits().abs().max())
    torch.testing.assert_close(found.logits(), wanted.logits(), rtol=0, atol=bound)


@pytest.mark.slow
@pytest.mark.weights
def test_bf16_finds_the_masks_of_fp32(real_checkpoint, real_model):
    image = photo(shared("data/samples/groceries.jpg"))
    config = GenerationConfig(points_per_side=8)
    coarse = load_model(real_checkpoint, device="cpu", precision="bf16")
    found = compare(generate(image, coarse, config), generate(image, real_model, config))
    assert found.share(0.9) >= 0.9
