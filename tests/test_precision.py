"""16 bits: what they may change, and what they are refused for."""

import pytest
import torch

from amg_cli import GenerationConfig, generate, load_model
from amg_cli.core.errors import DeviceError
from amg_cli.evaluate.compare import compare
from amg_cli.models.devices import find_precision
from tests.conftest import photo, shared

CPU = torch.device("cpu")


def test_auto_is_exact():
    assert find_precision("auto", CPU) == torch.float32
    assert find_precision("bf16", CPU) == torch.bfloat16
    assert find_precision("fp16", torch.device("cuda")) == torch.float16


def test_fp16_is_refused_on_a_cpu_before_the_weights_are_read(tmp_path):
    with pytest.raises(DeviceError, match="precision fp16: slow on a CPU; use fp32 or bf16"):
        load_model(tmp_path / "no.pt", device="cpu", precision="fp16")


def test_a_tiny_model_scores_nearly_the_same(random_checkpoint, noise):
    exact = load_model(random_checkpoint, device="cpu")
    coarse = load_model(random_checkpoint, device="cpu", precision="bf16")
    config = GenerationConfig(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    a, b = (generate(noise, model, config) for model in (exact, coarse))
    assert a
    assert max(mask.pred_iou for mask in a) == pytest.approx(
        max(mask.pred_iou for mask in b), rel=0.05
    )
    assert [m.pred_iou for m in a] != [m.pred_iou for m in b]


@pytest.mark.weights
def test_bf16_finds_the_masks_of_fp32(real_checkpoint, real_model):
    image = photo(shared("data/samples/groceries.jpg"))
    config = GenerationConfig(points_per_side=8)
    coarse = load_model(real_checkpoint, device="cpu", precision="bf16")
    found = compare(generate(image, coarse, config), generate(image, real_model, config))
    assert found.share(0.9) >= 0.9
