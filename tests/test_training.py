"""The training of nano: that it learns, goes on where it stopped, and exports what loads."""

import copy
import dataclasses
import time

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from amg_cli.batch.reading import read_image
from amg_cli.core.config import GenerationConfig
from amg_cli.generation.everything import generate
from amg_cli.generation.propose import propose
from amg_cli.models.sam import Sam
from amg_cli.weights.cache import sha256_of
from amg_cli.weights.checkpoints import read_checkpoint
from amg_cli.weights.loading import load_checkpoint, load_model
from tests.conftest import REPOSITORY
from training import calibrate as calibration
from training import nano
from training.calibrate import ALL, DEFAULTS, calibrate
from training.data import all_views, read_view
from training.export import averaged, export
from training.losses import dice, focal, iou
from training.prepare import ARRAYS, Models, prepare
from training.recipe import STUDENT, Recipe
from training.refit import refit
from training.student import embed, features_of, learnt, new_student
from training.train import Run, learning_rate, take_step, train

# Minutes, of code that users do not run.
pytestmark = pytest.mark.slow

RECIPE = dataclasses.replace(
    Recipe(),
    points=4,
    boxes=2,
    views=2,
    views_a_part=2,
    batch_views=2,
    batch_prompts=3,
    refit_steps=60,
    refit_tokens=32,
    steps=4,
    warm_up=1,
)
FOREVER = float("inf")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name, size in (("a", (60, 90)), ("b", (80, 50))):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(coarse, size[::-1]))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def parts(photographs, random_vit_t, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    models = Models(random_vit_t, new_student(random_vit_t).eval())
    assert not prepare(photographs, models, folder, RECIPE, until=time.monotonic())
    assert prepare(photographs, models, folder, RECIPE, FOREVER)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    assert prepare(photographs, models, folder, RECIPE, FOREVER)  # nothing is done twice
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    return sorted(folder.iterdir())


def new_run(random_vit_t, recipe=RECIPE, seed=0):
    torch.manual_seed(seed)
    return Run(new_student(random_vit_t).eval(), recipe)


def test_parts_hold_every_view_once(parts):
    arrays = [{name: np.load(part / f"{name}.npy") for name in ARRAYS} for part in parts]
    assert [len(part["features"]) for part in arrays] == [2, 2]
    for part in arrays:
        assert part["features"].shape == (2, 160, 32, 32)
        assert part["points"].shape == (2, 4, 2)
        assert part["boxes"].shape == (2, 2, 4)
        assert part["masks"].shape == (2, 6, 3, 128, 16)
        assert part["scores"].shape == (2, 6, 3)
        assert ((part["points"] >= 0) & (part["points"] <= 512)).all()
        assert (part["boxes"][..., 2:] >= part["boxes"][..., :2]).all()
    whole = [tuple(row) for part in arrays for row in part["used"]]
    assert {(86, 128), (128, 80)} <= set(whole)  # of 60 x 90 and of 80 x 50 pixels


def test_it_goes_on_as_if_it_had_not_stopped(random_vit_t, parts, tmp_path):
    views, saved = all_views(parts), tmp_path / "training.pt"
    whole = new_run(random_vit_t)
    assert train(whole, parts, tmp_path / "whole.pt", FOREVER)
    stopped = new_run(random_vit_t)
    for _ in range(2):
        take_step(stopped, views)
    stopped.save(saved)
    resumed = new_run(random_vit_t, seed=1)
    resumed.load(saved)
    assert not train(resumed, parts, saved, until=0)
    assert train(resumed, parts, saved, FOREVER)
    assert resumed.step == whole.step == RECIPE.steps
    found, wanted = resumed.student.state_dict(), whole.student.state_dict()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(resumed.average, whole.average, rtol=0, atol=1e-4)


def test_it_learns_and_leaves_the_encoder_alone(random_vit_t, parts):
    run = new_run(random_vit_t, dataclasses.replace(RECIPE, steps=40, learning_rate=2e-3))
    before = {name: tensor.clone() for name, tensor in run.student.state_dict().items()}
    views = all_views(parts)
    losses = [take_step(run, views) for _ in range(12)]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:3])
    changed = {k for k, v in run.student.state_dict().items() if not torch.equal(v, before[k])}
    assert changed <= learnt(run.student).keys()
    assert "mask_decoder.mask_tokens.weight" in changed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is here")
def test_steps_on_a_gpu_are_those_on_a_cpu(random_vit_t, parts, tmp_path):
    here, there = new_run(random_vit_t), new_run(random_vit_t)
    there.save(tmp_path / "start.pt")
    moved = Run(new_student(random_vit_t).eval().cuda(), RECIPE)
    moved.load(tmp_path / "start.pt")
    views = all_views(parts)
    found = [take_step(moved, views) for _ in range(3)]
    assert found == pytest.approx([take_step(here, views) for _ in range(3)], rel=1e-2)
    assert averaged(moved).device.type == "cuda"


def test_the_command_goes_on_until_all_is_done(
    photographs, random_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(nano, "Recipe", lambda: dataclasses.replace(RECIPE, views=1, calibration=1))
    for name in ("ALL", "DEFAULTS"):  # of a few points: what it finds does not matter here
        few = dataclasses.replace(getattr(calibration, name), points_per_side=4)
        monkeypatch.setattr(calibration, name, few)
    given = ["--teacher", random_checkpoint, "--photographs", photographs[0].parent]
    command = [*map(str, given), "--work", str(tmp_path), "--steps", "2", "--minutes"]
    first = CliRunner().invoke(nano.main, [*command, "0"], catch_exceptions=False)
    assert first.output == "0 parts are prepared; run again\n"
    last = CliRunner().invoke(nano.main, [*command, "60"], catch_exceptions=False)
    assert "step 2 of 2; nano.pt: " in last.output
    assert "\npredicted IoU x " in last.output
    assert last.output.endswith("all is done\n")
    assert sha256_of(tmp_path / "nano.pt") in last.output
    assert load_checkpoint(tmp_path / "nano.pt").config == STUDENT
    again = CliRunner().invoke(nano.main, [*command, "60"], catch_exceptions=False)
    assert again.output == last.output.split("\n", 1)[1]  # but for the fit of the small MLPs


def test_small_mlps_are_fitted_to_the_teachers(random_vit_t, parts):
    student = new_run(random_vit_t).student
    views = [read_view(place) for place in all_views(parts)]
    hardly = dataclasses.replace(RECIPE, refit_steps=1, refit_rate=0.0)
    before = refit(student, random_vit_t, views, hardly)
    after = refit(student, random_vit_t, views, RECIPE)
    assert len(before) == len(after) == 2
    assert all(left < 0.8 * at_first for left, at_first in zip(after, before, strict=True))


def test_calibration_undoes_what_was_done_to_the_heads(monkeypatch):
    few, all_of_few = (
        dataclasses.replace(config, points_per_side=10) for config in (DEFAULTS, ALL)
    )
    monkeypatch.setattr(calibration, "DEFAULTS", few)
    monkeypatch.setattr(calibration, "ALL", all_of_few)
    teacher = load_model("nano", device="cpu", image_size=256)
    student = copy.deepcopy(teacher)
    decoder = student.mask_decoder
    last = decoder.iou_prediction_head.layers[-1]
    last.weight.mul_(0.5)
    last.bias.mul_(0.5).sub_(0.1)
    for mlp in decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight.mul_(0.5)
        mlp.layers[-1].bias.mul_(0.5)
    paths = sorted((REPOSITORY / "examples/images").glob("*.jpg"))
    candidates = [propose(teacher, read_image(path), all_of_few) for path in paths]
    scores = torch.cat([of_image.pred_iou for of_image in candidates])
    passing = float((scores > GenerationConfig().pred_iou_thresh).float().mean())
    found = calibrate(student, teacher, paths, passing)
    assert found.slope == pytest.approx(2, rel=0.01)
    assert found.added == pytest.approx(0.2, abs=0.01)
    # As many masks are left, of so few at more than one scale.
    assert found.scale == pytest.approx(2, rel=0.25)
    left = [
        sum(len(generate(read_image(path), model, few)) for path in paths)
        for model in (student, teacher)
    ]
    assert left[0] == pytest.approx(left[1], abs=1)
    name = "iou_prediction_head.layers.2.bias"
    ours, theirs = (model.mask_decoder.get_parameter(name) for model in (student, teacher))
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.01)


def test_losses_of_perfect_and_of_opposite_masks():
    target = torch.zeros(1, 2, 8, 8)
    target[0, 0, 2:6, 2:6] = 1
    used = torch.ones(8, 8)
    sure = 20 * (2 * target - 1)
    assert focal(sure, target, used).max() < 1e-6
    assert dice(sure, target, used)[0, 0] < 1e-3
    assert iou(sure, target, used).tolist() == [[1.0, 1.0]]
    assert focal(-sure, target, used).min() > 1
    assert dice(-sure, target, used)[0, 0] > 0.9
    assert iou(-sure, target, used).tolist() == [[0.0, 0.0]]


def test_padding_does_not_count():
    target, used = torch.zeros(1, 1, 8, 8), torch.zeros(8, 8)
    used[:4] = 1
    wrong_outside = torch.full_like(target, -20.0)
    wrong_outside[..., 4:, :] = 20
    assert focal(wrong_outside, target, used).item() < 1e-6
    assert iou(wrong_outside, target, used).item() == 1
    assert dice(wrong_outside, target, used).item() < 1e-3


def test_the_learning_rate_rises_then_falls_to_nothing():
    recipe = Recipe()
    rates = [learning_rate(step, recipe) for step in range(recipe.steps + 1)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[0] < rates[100] < rates[recipe.warm_up - 1]
    assert rates[-1] == 0
    assert rates[recipe.warm_up :] == sorted(rates[recipe.warm_up :], reverse=True)


def test_what_is_exported_can_be_loaded_and_is_small(random_vit_t, tmp_path):
    run = new_run(random_vit_t)
    run.average["mask_decoder.mask_tokens.weight"] += 1
    export(averaged(run), tmp_path / "nano.pt")
    assert (tmp_path / "nano.pt").stat().st_size < 16e6
    state = read_checkpoint(tmp_path / "nano.pt")
    model = Sam(STUDENT)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    wanted = run.average["mask_decoder.mask_tokens.weight"]
    found = model.mask_decoder.mask_tokens.weight.data
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    for name, wanted in random_vit_t.image_encoder.patch_embed.state_dict().items():
        found = model.image_encoder.patch_embed.state_dict()[name]
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_the_frozen_and_the_learnt_part_are_the_encoder(random_vit_t):
    student = new_student(random_vit_t).eval()
    image = torch.randn(1, 3, 512, 320, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = embed(student, features_of(student, image)), student.encode(image)
        torch.testing.assert_close(found.features, wanted.features)
        torch.testing.assert_close(found.positions, wanted.positions)
    assert found.input_hw == wanted.input_hw
    frozen = {name for name, _ in student.named_parameters()} - learnt(student).keys()
    assert all(name.startswith(("image_encoder.patch", "image_encoder.layers")) for name in frozen)
