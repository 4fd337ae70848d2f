"""Boxes to instances in Python: what the predictor gives, for as many boxes as there are."""

import dataclasses

import numpy as np
import pytest

import amg_cli
from amg_cli import Prompts, encode_image, load_model, predict, segment_boxes
from amg_cli.tasks import boxes as task
from amg_cli.weights.zoo import ZOO
from tests.conftest import REPOSITORY, photo

BOXES = [[150, 80, 450, 330], [10.5, 20, 60, 90.25], [-20, -10, 300, 200], [400, 200, 650, 420]]


@pytest.fixture(scope="module")
def coffee():
    return photo(REPOSITORY / "examples/images/coffee.jpg")  # 600 x 400


@pytest.fixture(scope="module")
def model():
    return load_model("nano", device="cpu", image_size=256)


def predicted(model, image, boxes, refine):
    encoded = encode_image(model, image)
    first = predict(model, encoded, Prompts(boxes_xyxy=boxes), multimask=False)
    if not refine:
        return first
    return predict(model, encoded, Prompts(boxes_xyxy=boxes, masks=first.low_res), multimask=False)


@pytest.mark.parametrize("refine", [False, True])
def test_an_instance_is_the_predictors_answer_to_its_box(coffee, model, refine):
    found = segment_boxes(coffee, model, BOXES, refine=refine)
    wanted = predicted(model, coffee, BOXES, refine)
    assert [instance.box_xyxy for instance in found] == [tuple(box) for box in BOXES]
    for instance, masks, scores in zip(found, wanted.masks, wanted.scores, strict=True):
        assert (instance.mask.array() != masks[0]).mean() < 1e-4
        assert instance.mask.pred_iou == pytest.approx(scores[0], abs=1e-4)


def test_refining_is_a_second_prompt(coffee, model):
    once, twice = (segment_boxes(coffee, model, BOXES, refine=refine) for refine in (False, True))
    assert any((a.mask.array() != b.mask.array()).any() for a, b in zip(once, twice, strict=True))


@pytest.mark.parametrize("refines", [False, True])
def test_without_a_word_the_model_says_whether_to_refine(coffee, refines):
    model = load_model("nano", device="cpu", image_size=256)
    model.refines_boxes = refines
    found, wanted = (segment_boxes(coffee, model, BOXES, refine=way) for way in (None, refines))
    for a, b in zip(found, wanted, strict=True):
        assert a.mask.rle == b.mask.rle


def test_what_a_model_says_is_of_its_row(random_checkpoint):
    assert load_model("nano", device="cpu").refines_boxes == ZOO["nano"].refines_boxes
    assert load_model(random_checkpoint, device="cpu").refines_boxes is False  # of vit_t


@pytest.mark.parametrize("refine", [False, True])
def test_a_boxs_mask_does_not_depend_on_the_others(coffee, model, refine, monkeypatch):
    rng = np.random.default_rng(0)
    many = np.sort(rng.uniform(0, 1, (37, 2, 2)), axis=1).reshape(-1, 4) * [600, 400, 600, 400]
    found = segment_boxes(coffee, model, many, refine=refine)
    monkeypatch.setattr(task, "BOXES_AT_A_TIME", 3)
    for together, alone in zip(
        found, segment_boxes(coffee, model, many, refine=refine), strict=True
    ):
        pixels = [0 if i.mask is None else i.mask.array() for i in (together, alone)]
        assert np.mean(pixels[0] != pixels[1]) < 1e-4


@pytest.mark.parametrize("none", [[], np.zeros((0, 4))])
def test_no_box_is_no_instance_and_needs_no_encoding(coffee, model, none, monkeypatch):
    monkeypatch.setattr(task, "encode_image", None)
    assert segment_boxes(coffee, model, none) == []


@pytest.mark.parametrize(
    ("boxes", "error", "words"),
    [
        ([[10, 10, 10, 50]], ValueError, "the box 10,10,10,50 has no area (number 0)"),
        ([BOXES[0], [700, 10, 800, 50]], ValueError,
         "the box 700,10,800,50 is outside an image of 600 x 400 pixels (number 1)"),
        ([[0, 0, float("nan"), 5]], ValueError, "boxes_xyxy: finite numbers are wanted"),
        ([[0, 0, 5]], ValueError, "boxes_xyxy: (N, 4)"),
        ([[[0, 0, 5, 5]]], ValueError, "boxes_xyxy: (N, 4) is wanted, a box each"),
        (None, ValueError, "boxes_xyxy: (N, 4) is wanted, a box each"),
        ([["a", 0, 5, 5]], TypeError, "boxes_xyxy: (N, 4)"),
    ],
)  # fmt: skip
def test_wrong_boxes_are_named(coffee, model, boxes, error, words):
    with pytest.raises(error) as raised:
        segment_boxes(coffee, model, boxes)
    assert words in str(raised.value)


def test_what_is_no_model_or_no_image_is_named(coffee, model):
    with pytest.raises(TypeError, match="model"):
        segment_boxes(coffee, "nano", BOXES)
    with pytest.raises((TypeError, ValueError), match="image"):
        segment_boxes("coffee.jpg", model, BOXES)


def test_a_box_without_a_pixel_of_a_mask_has_none(coffee):
    model = load_model("nano", device="cpu", image_size=256)
    model.config = dataclasses.replace(model.config, mask_threshold=1e6)  # over which no logit is
    (instance,) = segment_boxes(coffee, model, BOXES[:1])
    assert instance.mask is None


def test_it_is_public():
    assert amg_cli.segment_boxes is task.segment_boxes
    assert amg_cli.Instance is task.Instance
