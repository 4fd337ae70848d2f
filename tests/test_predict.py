"""Prompts by hand: of every kind, batched or not; what is held of them; what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli.core.frame import Frame
from amg_cli.generation import predict as predict_module
from amg_cli.generation.predict import encode_image, predict, predictions
from amg_cli.generation.prompts import Prompts

POINTS = np.array([[10.0, 10], [40, 30], [80, 50], [5, 55], [60, 20], [33, 33]])
BOXES = np.concatenate([POINTS - 5, POINTS + 8], axis=1)
ONE_POINT = Prompts(POINTS[:, None])
KINDS = ["points", "boxes", "masks", "all", "several of each", "nothing"]


@pytest.fixture
def encoded(tiny_model, noise):
    return encode_image(tiny_model, noise)


def prompts_of(kind, count=3):
    rng = np.random.default_rng(5)
    points = rng.uniform(0, 60, (count, 4, 2))
    labels = rng.integers(-1, 2, (count, 4))
    boxes = np.concatenate([points[:, :2] - 5, points[:, :2] + 9], axis=2)
    masks = rng.normal(0, 5, (count, 2, 24, 24)).astype(np.float32)
    return {
        "points": Prompts(points, labels),
        "boxes": Prompts(boxes_xyxy=boxes[:, 0]),
        "masks": Prompts(masks=masks[:, :1]),
        "all": Prompts(points[:, :1], labels[:, :1], boxes[:, :1], masks[:, :1]),
        "several of each": Prompts(points, labels, boxes, masks),
        "nothing": Prompts(),
    }[kind]


def assert_close(found, wanted):
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    np.testing.assert_allclose(found.low_res, wanted.low_res, atol=1e-4)
    assert (found.masks != wanted.masks).mean() < 1e-4


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_prompts_of_every_kind_have_masks_alone_and_together(tiny_model, encoded, kind, multimask):
    prompts = prompts_of(kind)
    found = predict(tiny_model, encoded, prompts, multimask=multimask)
    nb_masks = 3 if multimask else 1
    assert len(prompts) == (1 if kind == "nothing" else 3)
    assert found.masks.shape == (len(prompts), nb_masks, 60, 90)
    assert found.scores.shape == (len(prompts), nb_masks)
    assert found.low_res.shape == (len(prompts), nb_masks, 24, 24)
    assert (found.masks.dtype, found.scores.dtype, found.low_res.dtype) == (bool, "f4", "f4")
    for i in range(len(prompts)):
        alone = predict(tiny_model, encoded, prompts[i : i + 1], multimask=multimask)
        np.testing.assert_allclose(alone.scores[0], found.scores[i], atol=1e-5)
        np.testing.assert_allclose(alone.low_res[0], found.low_res[i], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_what_the_masks_are_cut_from(tiny_model, encoded, kind):
    found = predict(tiny_model, encoded, prompts_of(kind))
    logits = predict(tiny_model, encoded, prompts_of(kind), return_logits=True)
    np.testing.assert_array_equal(logits.low_res, found.low_res)
    unsure = np.abs(logits.masks) < 1e-4
    np.testing.assert_array_equal((logits.masks > 0)[~unsure], found.masks[~unsure])
    flat = torch.from_numpy(found.low_res).flatten(0, 1)
    wanted = encoded.frame.to_image_logits(flat).view(logits.masks.shape)
    np.testing.assert_allclose(logits.masks, wanted.numpy(), atol=1e-5)


def test_several_boxes_and_masks_are_joined_and_added_up(tiny_model, encoded):
    prompts = prompts_of("several of each")
    model = tiny_model
    input_hw = encoded.embedding.input_hw
    of_input = prompts.in_input(encoded.frame, (24, 24), model.device)
    tokens, cells = model.prompt_encoder(of_input, input_hw)
    parts = [
        model.prompt_encoder(
            Prompts(boxes_xyxy=prompts.boxes_xyxy[:, i], masks=prompts.masks[:, i]).in_input(
                encoded.frame, (24, 24), model.device
            ),
            input_hw,
        )
        for i in range(2)
    ]
    torch.testing.assert_close(tokens[:, 4:], torch.cat([part[0] for part in parts], dim=1))
    added = [part[1].projected() for part in parts]
    torch.testing.assert_close(cells.projected(), added[0] + added[1])


def test_none_of_a_kind_is_as_if_it_were_not_given(tiny_model, encoded):
    points = POINTS[:2, None]
    nothing = {"boxes_xyxy": np.zeros((2, 0, 4)), "masks": np.zeros((2, 0, 24, 24))}
    found = predict(tiny_model, encoded, Prompts(points, **nothing))
    assert_close(found, predict(tiny_model, encoded, Prompts(points)))
    found = predict(tiny_model, encoded, Prompts(np.zeros((1, 0, 2)), np.zeros((1, 0))))
    assert_close(found, predict(tiny_model, encoded, Prompts()))


def test_an_answer_can_be_given_as_the_next_prompts_mask(tiny_model, encoded):
    first = predict(tiny_model, encoded, ONE_POINT, multimask=False)
    again = Prompts(ONE_POINT.points_xy, masks=first.low_res)
    found = predict(tiny_model, encoded, again, multimask=False)
    assert found.masks.shape == first.masks.shape
    assert not np.allclose(found.scores, first.scores)


def test_low_resolution_logits_are_of_the_whole_input(tiny_model, encoded):
    """A wide image's padding too, where the program else draws nothing."""
    assert encoded.frame.resized_hw == (64, 96)
    found = predict(tiny_model, encoded, ONE_POINT)
    assert found.low_res[..., 16:, :].min() > -100


@pytest.mark.parametrize(("masks", "calls"), [(1, [1] * 18), (2, [2] * 9), (100, [18])])
def test_few_logits_are_at_full_size_at_a_time_and_are_the_same(
    tiny_model, encoded, monkeypatch, masks, calls
):
    wanted = predict(tiny_model, encoded, ONE_POINT, return_logits=True)
    sizes, draw = [], Frame.to_image_logits

    def counted(frame, low_res):
        sizes.append(len(low_res))
        return draw(frame, low_res)

    monkeypatch.setattr(Frame, "to_image_logits", counted)
    input_px = 96 * 96  # which is more than the image's
    monkeypatch.setattr(predict_module, "PIXELS_AT_A_TIME", masks * input_px)
    found = predict(tiny_model, encoded, ONE_POINT, return_logits=True)
    np.testing.assert_allclose(found.masks, wanted.masks, atol=1e-5)
    assert sizes == calls


@pytest.mark.parametrize(("prompts", "sizes"), [(0.5, [1] * 6), (2, [2] * 3), (4, [4, 2])])
def test_a_prediction_has_fewer_prompts_where_the_image_is_large(
    tiny_model, encoded, monkeypatch, prompts, sizes
):
    wanted = predict(tiny_model, encoded, ONE_POINT)
    monkeypatch.setattr(predict_module, "PIXELS_RETURNED", int(prompts * 3 * 60 * 90))
    found = list(predictions(tiny_model, encoded, ONE_POINT))
    assert [len(prediction.scores) for prediction in found] == sizes
    assert [prediction.masks.shape for prediction in found] == [(n, 3, 60, 90) for n in sizes]
    assert_close(predict(tiny_model, encoded, ONE_POINT), wanted)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(
    "none",
    [
        Prompts(np.zeros((0, 1, 2))),
        Prompts(boxes_xyxy=np.zeros((0, 4))),
        Prompts(boxes_xyxy=[]),
        Prompts(masks=np.zeros((0, 1, 24, 24))),
        Prompts(masks=np.zeros((0, 24, 24))),
        Prompts(tokens=np.zeros((0, 2, 32))),
    ],
    ids=["points", "boxes", "empty list", "masks", "one mask each", "tokens"],
)
def test_no_prompts_have_no_masks(tiny_model, encoded, none, multimask):
    found = predict(tiny_model, encoded, none, multimask=multimask)
    nb_masks = 3 if multimask else 1
    assert found.masks.shape == (0, nb_masks, 60, 90)
    assert found.scores.shape == (0, nb_masks)
    assert found.low_res.shape == (0, nb_masks, 24, 24)


def test_tokens_alone_or_beside_others_are_prompts(tiny_model, encoded):
    """Of a box, as the prompt encoder makes them, they have its masks."""
    boxes, rng = BOXES[:3], np.random.default_rng(2)
    of_input = Prompts(boxes_xyxy=boxes).in_input(encoded.frame, (24, 24), tiny_model.device)
    tokens, _ = tiny_model.prompt_encoder(of_input, encoded.embedding.input_hw)
    masks = rng.normal(0, 5, (3, 1, 24, 24)).astype(np.float32)
    for beside in ({}, {"masks": masks}):
        wanted = predict(tiny_model, encoded, Prompts(boxes_xyxy=boxes, **beside))
        for given in (tokens, tokens.detach().numpy(), tokens.tolist()):
            prompts = Prompts(tokens=given, **beside)
            assert len(prompts) == 3
            found = predict(tiny_model, encoded, prompts)
            np.testing.assert_array_equal(found.low_res, wanted.low_res)
            np.testing.assert_array_equal(found.scores, wanted.scores)
            np.testing.assert_array_equal(found.masks, wanted.masks)
    rest = {"points_xy": POINTS[:3, None], "boxes_xyxy": boxes, "masks": masks}
    own = rng.normal(size=(3, 2, 32))
    together = predict(tiny_model, encoded, Prompts(**rest, tokens=own))
    assert not np.allclose(together.scores, predict(tiny_model, encoded, Prompts(**rest)).scores)
    alone = predict(tiny_model, encoded, Prompts(**rest, tokens=own)[1:2])
    np.testing.assert_allclose(alone.low_res[0], together.low_res[1], atol=1e-4)
    none = predict(tiny_model, encoded, Prompts(**rest, tokens=np.zeros((3, 0, 32))))
    assert_close(none, predict(tiny_model, encoded, Prompts(**rest)))


def test_tokens_are_the_same_on_an_image_that_is_not_prepared(tiny_model, encoded):
    prompts = Prompts(tokens=np.random.default_rng(0).normal(size=(4, 3, 32)))
    plain = dataclasses.replace(encoded.embedding, shared=None)
    found = predict(tiny_model, dataclasses.replace(encoded, embedding=plain), prompts)
    assert_close(found, predict(tiny_model, encoded, prompts))


def test_tokens_of_another_number_of_channels_are_refused(tiny_model, encoded):
    words = r"^tokens: \(N, M4, 32\) is wanted, not \(1, 2, 33\)$"
    with pytest.raises(ValueError, match=words):
        predict(tiny_model, encoded, Prompts(tokens=np.zeros((1, 2, 33))))


def test_prompts_may_be_lists_of_whole_numbers_or_tensors(tiny_model, encoded):
    wanted = predict(tiny_model, encoded, ONE_POINT)
    lists = POINTS[:, None].astype(int).tolist()
    assert_close(predict(tiny_model, encoded, Prompts(lists, [[1]] * 6)), wanted)
    assert_close(predict(tiny_model, encoded, Prompts(torch.tensor(lists))), wanted)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"points_xy": POINTS}, ValueError, r"points_xy: \(N, M1, 2\) is wanted, not \(6, 2\)"),
        ({"points_xy": BOXES[:, None]}, ValueError, r"points_xy: .* not \(6, 1, 4\)"),
        ({"points_xy": [[[1, 2]], [[1]]]}, ValueError, "points_xy: .* lists of unequal lengths"),
        ({"points_xy": [[["a", "b"]]]}, TypeError, "points_xy: .* of numbers, not"),
        ({"points_xy": [[[np.nan, 1]]]}, ValueError, "points_xy: finite numbers are wanted"),
        ({"labels": [[1]]}, ValueError, "labels: are given without points_xy"),
        ({"points_xy": [[[1, 2]]], "labels": [1]}, ValueError, r"labels: \(N, M1\) is wanted"),
        ({"points_xy": [[[1, 2]]], "labels": [[1, 0]]}, ValueError, r"labels: \(1, 1\) is wanted"),
        ({"points_xy": [[[1, 2]]], "labels": [[2]]}, ValueError, "labels: 1 foreground.*; not 2"),
        ({"boxes_xyxy": POINTS}, ValueError, r"boxes_xyxy: \(N, 4\) or .* not \(6, 2\)"),
        ({"boxes_xyxy": BOXES, "points_xy": [[[1, 2]]]}, ValueError, "the same N is wanted"),
        ({"masks": np.ones((1, 1, 24, 24), bool)}, TypeError, "masks: .* float is wanted.* bool"),
        ({"masks": np.ones((1, 1, 24, 24), int)}, TypeError, "masks: .*: logits, not int64"),
        ({"masks": np.ones((24, 24), "f4")}, ValueError, r"masks: .* not \(24, 24\)"),
        ({"tokens": np.ones((1, 32), "f4")}, ValueError, r"tokens: \(N, M4, C\) .* not \(1, 32\)"),
        ({"tokens": np.ones((1, 2, 32), int)}, TypeError, "tokens: .*: embeddings, not int64"),
        ({"tokens": np.full((1, 2, 32), np.inf)}, ValueError, "tokens: finite numbers are wanted"),
        ({"tokens": np.ones((2, 1, 32)), "boxes_xyxy": BOXES}, ValueError, "same N is wanted"),
    ],
)
def test_what_is_no_prompt_is_refused_by_name(given, kind, words):
    with pytest.raises(kind, match=f"^.*{words}"):
        Prompts(**given)


def test_masks_of_another_size_than_the_models_are_refused(tiny_model, encoded):
    prompts = Prompts(masks=np.zeros((1, 1, 60, 90), np.float32))
    with pytest.raises(ValueError, match=r"^masks: \(N, M3, 24, 24\) float is wanted, not \(1, 1"):
        predict(tiny_model, encoded, prompts)
