"""Prompts by hand: how many at a time, what of them is held, and what none gives."""

import numpy as np
import pytest
import torch

from amg_cli.core.frame import Frame
from amg_cli.generation import predict
from amg_cli.generation.predict import encode_image, predict_boxes, predict_points
from tests.test_propose import Discs

POINTS = np.array([[10.0, 10], [40, 30], [80, 50], [5, 55], [60, 20], [33, 33]])
BOXES = np.concatenate([POINTS - 5, POINTS + 8], axis=1)


def masks_of(predictions):
    return torch.cat([prediction.masks for prediction in predictions])


@pytest.fixture
def encoded(tiny_model, noise):
    return encode_image(tiny_model, noise)


@pytest.fixture
def drawn(monkeypatch):
    """How many masks are brought to the image's size in each call."""
    calls, draw = [], Frame.to_image_logits

    def counted(frame, low_res):
        calls.append(len(low_res))
        return draw(frame, low_res)

    monkeypatch.setattr(Frame, "to_image_logits", counted)
    return calls


@pytest.mark.parametrize("ask", ["points", "boxes"])
@pytest.mark.parametrize(("masks", "calls"), [(1, [1] * 18), (2, [2] * 9), (100, [12, 6])])
def test_few_masks_are_at_full_size_at_a_time_and_are_the_same(
    tiny_model, encoded, drawn, monkeypatch, ask, masks, calls
):
    predict_ask, given = {"points": (predict_points, POINTS), "boxes": (predict_boxes, BOXES)}[ask]
    wanted = masks_of(predict_ask(tiny_model, encoded, given))
    drawn.clear()
    input_px = 96 * 96  # which is more than the image's
    monkeypatch.setattr(predict, "PIXELS_AT_A_TIME", masks * input_px)
    assert torch.equal(masks_of(predict_ask(tiny_model, encoded, given)), wanted)
    assert drawn == calls


@pytest.mark.parametrize(("prompts", "sizes"), [(0.5, [1] * 6), (2, [2] * 3), (100, [4, 2])])
def test_a_prediction_has_fewer_prompts_where_the_image_is_large(
    tiny_model, encoded, monkeypatch, prompts, sizes
):
    monkeypatch.setattr(predict, "PIXELS_RETURNED", int(prompts * 3 * 60 * 90))
    for ask, given in ((predict_points, POINTS), (predict_boxes, BOXES)):
        found = list(ask(tiny_model, encoded, given))
        assert [len(prediction.pred_iou) for prediction in found] == sizes
        assert [prediction.masks.shape for prediction in found] == [(n, 3, 60, 90) for n in sizes]


@pytest.mark.parametrize("none", [np.zeros((0, 2)), np.zeros((0, 4)), np.zeros(0), []])
def test_no_prompts_give_nothing_and_ask_the_model_nothing(noise, none):
    model = Discs()
    encoded = encode_image(model, noise)
    assert list(predict_points(model, encoded, none)) == []
    assert list(predict_boxes(model, encoded, none)) == []
    assert model.nb_prompts == []


def test_prompts_may_be_lists_of_whole_numbers(tiny_model, encoded):
    for ask, given in ((predict_points, POINTS), (predict_boxes, BOXES)):
        wanted = masks_of(ask(tiny_model, encoded, given))
        lists = given.astype(int).tolist()
        assert torch.equal(masks_of(ask(tiny_model, encoded, lists)), wanted)


def test_prompts_of_another_shape_are_refused(tiny_model, encoded):
    with pytest.raises(ValueError, match=r"^points_xy: \(N, 2\) is wanted, not \(6, 4\)$"):
        list(predict_points(tiny_model, encoded, BOXES))
    with pytest.raises(ValueError, match=r"^boxes_xyxy: \(N, 4\) is wanted, not \(6, 2\)$"):
        list(predict_boxes(tiny_model, encoded, POINTS))
