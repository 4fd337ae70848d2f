"""`use_m2m`: every mask of a point prompts once more. Against the published code: `test_sam2`."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, Prompts, encode_image, generate, predict, propose, select
from amg_cli.core import rle as rle_codec
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.refining import refined
from amg_cli.generation.views import views
from amg_cli.models.fast.upscaling import UNDRAWN
from amg_cli.models.prompt_encoder import Prompts as InputPrompts
from amg_cli.segment_anything import SamAutomaticMaskGenerator
from amg_cli.tasks.edges import edges
from tests.command import FEW_POINTS, SMALL_MODEL, amg, files_under, save
from tests.comparing import assert_same_masks
from tests.stand_ins import settings, wide_model
from tests.test_propose import assert_identical


@pytest.fixture(scope="module")
def model():
    return wide_model()


def by_hand(model, image, point):
    """What each of a point's masks becomes as a prompt: masks (3, H, W) and scores (3,)."""
    encoded = encode_image(model, image)
    asked = {"points_xy": np.array([[point]]), "labels": np.array([[1]])}
    first = predict(model, encoded, Prompts(**asked))
    again = [
        predict(model, encoded, Prompts(**asked, masks=low_res[None, None]), multimask=False)
        for low_res in first.low_res[0]
    ]
    return np.concatenate([x.masks[0] for x in again]), np.concatenate([x.scores[0] for x in again])


@pytest.mark.parametrize("shape", [(60, 90), (90, 41)])
def test_the_masks_are_those_of_a_second_prompt_by_hand(model, noise, shape):
    """Of an image that the model pads: the padding's logits are part of such a prompt."""
    image = np.ascontiguousarray(np.resize(noise, (*shape, 3)))
    found = propose(model, image, settings(points_per_side=2, use_m2m=True))
    assert len(found) == 12
    for place in range(4):
        masks, scores = by_hand(model, image, found.points_xy[3 * place].tolist())
        for i, (mask, score) in enumerate(zip(masks, scores, strict=True)):
            assert float(found.pred_iou[3 * place + i]) == pytest.approx(float(score), abs=1e-5)
            ours = rle_codec.decode(found.rles[3 * place + i])
            assert np.count_nonzero(ours != mask) <= 2
    first = propose(model, image, settings(points_per_side=2))
    assert first.pred_iou.tolist() != found.pred_iou.tolist()


def test_padding_is_drawn_of_masks_that_prompt_and_of_no_others(model, noise):
    (view,) = views(noise.shape[:2], settings(points_per_side=2))
    crop = EncodedView.of(model, noise, view, use_m2m=True)
    asked = InputPrompts(crop.input_xy()[:, None], torch.ones(4, 1, dtype=torch.int64))
    with torch.inference_mode():
        first = model.decode(crop.embedding, asked)
        again = refined(model, crop.for_masks, asked, first)
        assert not (first.logits() == UNDRAWN).any()
        undrawn = again.logits() == UNDRAWN
    assert undrawn.any()
    assert (undrawn == undrawn[0]).all()
    assert EncodedView.of(model, noise, view).for_masks is None


def test_thresholds_go_by_the_second_score(model, noise):
    config = settings(points_per_side=4, use_m2m=True)
    every = propose(model, noise, config)
    middle = float(every.pred_iou.median()) + 1e-6
    some = propose(model, noise, dataclasses.replace(config, pred_iou_thresh=middle))
    assert 0 < len(some) < len(every)
    assert_identical(some, every[every.pred_iou > middle])


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_batches_change_nothing(model, noise, batch):
    config = settings(points_per_side=4, use_m2m=True)
    wanted = propose(model, noise, config)
    found = propose(model, noise, dataclasses.replace(config, points_per_batch=batch))
    assert_identical(found, wanted)


def test_edges_are_of_the_refined_masks(model, noise):
    config = settings(points_per_side=2)
    plain = edges(noise, model, config)
    found = edges(noise, model, dataclasses.replace(config, use_m2m=True))
    assert plain.any()
    assert found.any()
    assert not np.array_equal(plain, found)


def test_the_generator_of_segment_anything_takes_it(model, noise):
    given = dataclasses.asdict(settings(points_per_side=2, use_m2m=True))
    records = SamAutomaticMaskGenerator(model, output_mode="coco_rle", **given).generate(noise)
    wanted = generate(noise, model, GenerationConfig(**given))
    assert [each["predicted_iou"] for each in records] == [mask.pred_iou for mask in wanted]


def test_what_is_selected_is_what_generate_gives(model, noise):
    low = settings(points_per_side=3, crop_n_layers=1, use_m2m=True, box_nms_thresh=0.9)
    candidates = propose(model, noise, low)
    assert candidates.proposed_with.use_m2m
    middle = float(candidates.pred_iou.median())
    config = dataclasses.replace(low, pred_iou_thresh=middle, nms="mask")
    assert_same_masks(select(candidates, config), generate(noise, model, config))


def test_the_command_refines_keeps_and_selects(tmp_path, noise):
    save(tmp_path / "a.png", noise)
    run = ("--input", "a.png", *FEW_POINTS, *SMALL_MODEL, "--format", "rle")
    for name, options in (
        ("plain", ()),
        ("m2m", ("--use-m2m",)),
        ("kept", ("--use-m2m", "--save-candidates")),
    ):
        done = amg(*run, "--output", name, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, refined = (files_under(tmp_path / name) for name in ("plain", "m2m"))
    assert plain.keys() == refined.keys()
    assert plain != refined
    thresholds = FEW_POINTS[2:]
    done = amg("select", "kept", "--output", "of", *thresholds, "--format", "rle", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files_under(tmp_path / "of") == refined
    done = amg("select", "kept", "--output", "no", "--use-m2m", cwd=tmp_path)
    assert done.returncode == 2
    assert "--use-m2m cannot be changed in candidates" in done.stderr
    done = amg(*run, "--output", "m2m", cwd=tmp_path)
    assert done.returncode != 0
    assert "--use-m2m" in done.stderr
