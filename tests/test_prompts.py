"""Prompts to tokens: what labels mean, which are refused, and what no prompts are."""

import dataclasses

import pytest
import torch

from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from tests.conftest import TINY, with_seeded_weights
from tests.test_fast_decoder import embedding_of, wide_model

BOXES = torch.tensor([[5.0, 6, 40, 50], [0, 0, 96, 96], [70, 3, 71, 90]])
CORNERS = BOXES.view(-1, 2, 2)
INPUT_HW = (96, 96)


@pytest.fixture(scope="module")
def unpadded():
    """A model that adds no padding point."""
    return with_seeded_weights(Sam(dataclasses.replace(TINY, pad_points=False)))


def labels_of(*labels):
    return torch.tensor(labels).expand(len(BOXES), -1)


def tokens_of(model, prompts):
    return model.prompt_encoder(prompts, INPUT_HW)[0]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
def test_two_corners_by_their_labels_are_a_box(unpadded, dtype):
    found = tokens_of(unpadded, Prompts(CORNERS, labels_of(2, 3).to(dtype)))
    assert torch.equal(found, tokens_of(unpadded, Prompts(boxes_xyxy=BOXES)))


def test_points_then_corners_are_points_beside_a_box(unpadded):
    points = torch.rand(len(BOXES), 2, 2, generator=torch.Generator().manual_seed(0)) * 96
    together = Prompts(torch.cat([points, CORNERS], dim=1), labels_of(1, 0, 2, 3))
    beside = Prompts(points, labels_of(1, 0), BOXES)
    assert torch.equal(tokens_of(unpadded, together), tokens_of(unpadded, beside))


def test_the_padding_point_comes_last_where_boxes_are_given_by_their_corners(tiny_model):
    found = tokens_of(tiny_model, Prompts(CORNERS, labels_of(2, 3)))
    box = tokens_of(tiny_model, Prompts(boxes_xyxy=BOXES))
    padding = tiny_model.prompt_encoder.not_a_point_embed.weight
    assert torch.equal(found, torch.cat([box, padding.expand(len(BOXES), 1, -1)], dim=1))


def test_labels_of_points_add_their_own_embedding_to_the_position(unpadded):
    """Background, foreground, and padding, whose position is ignored."""
    encoder = unpadded.prompt_encoder
    located = encoder.pe_layer((CORNERS[:, :1] + 0.5) / 96)
    for label in (0, 1):
        found = tokens_of(unpadded, Prompts(CORNERS[:, :1], labels_of(label)))
        assert torch.equal(found, located + encoder.point_embeddings[label].weight)
    found = tokens_of(unpadded, Prompts(CORNERS[:, :1], labels_of(-1)))
    assert torch.equal(found, encoder.not_a_point_embed.weight.expand_as(found))


def test_tokens_of_your_own_come_last_and_leave_the_padding_point_as_it_is(tiny_model):
    own = torch.randn(len(BOXES), 2, TINY.embed_dim, generator=torch.Generator().manual_seed(0))
    points = CORNERS[:, :1], labels_of(1)
    for given in ({}, {"boxes_xyxy": BOXES}):
        found = tokens_of(tiny_model, Prompts(*points, **given, tokens=own))
        wanted = torch.cat([tokens_of(tiny_model, Prompts(*points, **given)), own], dim=1)
        assert torch.equal(found, wanted)
    assert torch.equal(tokens_of(tiny_model, Prompts(tokens=own)), own)
    half = tokens_of(tiny_model, Prompts(tokens=own.bfloat16()))
    assert torch.equal(half, own.bfloat16().float())


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize("has_masks", [True, False])
def test_tokens_that_are_a_boxs_have_the_boxs_masks(is_prepared, has_masks):
    """Also where the image is in factors."""
    model = wide_model()
    embedding = embedding_of(model, 96)
    embedding = model.prepare(embedding) if is_prepared else embedding
    masks = torch.randn(len(BOXES), 1, 24, 24, generator=torch.Generator().manual_seed(0))
    beside = {"masks": masks} if has_masks else {}
    with torch.inference_mode():
        tokens = tokens_of(model, Prompts(boxes_xyxy=BOXES))
        found = model.decode(embedding, Prompts(tokens=tokens, **beside))
        wanted = model.decode(embedding, Prompts(boxes_xyxy=BOXES, **beside))
        assert torch.equal(found.scores, wanted.scores)
        assert torch.equal(found.logits(), wanted.logits())


@pytest.mark.parametrize(
    ("tokens", "kind", "words"),
    [
        (torch.zeros(3, 2), ValueError, r"tokens: \(N, M4, C\) is wanted, not \(3, 2\)"),
        (torch.zeros(3, 2, 32).long(), TypeError, "tokens: float embeddings are wanted, not torch"),
        (
            torch.zeros(2, 2, 32),
            ValueError,
            "points, boxes, masks and tokens: give the same number",
        ),
    ],
)
def test_tokens_that_are_none_are_refused(tokens, kind, words):
    with pytest.raises(kind, match=f"^{words}"):
        Prompts(boxes_xyxy=BOXES, tokens=tokens)


@pytest.mark.parametrize("label", [-2, 4, 255, 0.5, float("nan")])
def test_a_label_without_a_meaning_is_refused(label):
    with pytest.raises(ValueError, match=rf"^labels: 1 foreground, .*; not {label}$"):
        Prompts(CORNERS, labels_of(1.0 if isinstance(label, float) else 1, label))


def test_labels_on_a_device_are_not_waited_for():
    """Tensors of the meta device have no values: whoever asks for one gets an error."""
    Prompts(CORNERS.to("meta"), labels_of(1, 9).to("meta"))


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize(
    "none",
    [
        Prompts(torch.zeros(0, 1, 2), torch.zeros(0, 1)),
        Prompts(boxes_xyxy=torch.zeros(0, 4)),
        Prompts(torch.zeros(0, 1, 2), torch.zeros(0, 1), torch.zeros(0, 4)),
        Prompts(masks=torch.zeros(0, 1, 24, 24)),
        Prompts(tokens=torch.zeros(0, 1, 64)),
    ],
    ids=["points", "boxes", "both", "masks", "tokens"],
)
def test_no_prompts_have_no_masks(none, is_prepared, multimask):
    model = wide_model()
    embedding = embedding_of(model, 96)
    embedding = model.prepare(embedding) if is_prepared else embedding
    with torch.inference_mode():
        decoded = model.decode(embedding, none, multimask)
        nb_masks = 3 if multimask else 1
        assert decoded.scores.shape == (0, nb_masks)
        assert decoded.logits().shape == (0, 24, 24)
        assert decoded.logits(torch.zeros(0, nb_masks, dtype=torch.bool)).shape == (0, 24, 24)
