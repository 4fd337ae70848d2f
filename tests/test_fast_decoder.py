"""The fast decoder against the plain one, which defines it: scores, logits, and whole runs."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amg_cli import GenerationConfig, generate
from amg_cli.core.frame import Frame
from amg_cli.models import devices
from amg_cli.models.decoders.two_way import FastCanvas
from amg_cli.models.fast.image import is_less_work
from amg_cli.models.fast.upscaling import UNDRAWN
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from amg_cli.weights.loading import load_model
from tests.conftest import TINY, photo, shared, with_seeded_weights
from tests.goldens import seeded
from tests.stand_ins import wide_model

CLOSE = 1e-4  # of the largest logit


def prompts(kind, side_px, count=5):
    """Random prompts of a kind, on an input of so many pixels a side."""
    draw = torch.Generator().manual_seed(7)

    def places(*shape):
        return torch.rand(*shape, 2, generator=draw) * side_px

    def masks(of_each):
        side = side_px // 4
        return 20 * torch.randn(count, of_each, side, side, generator=draw)

    boxes = places(count, 2).sort(dim=1).values.flatten(1)
    if kind == "box":
        return Prompts(boxes_xyxy=boxes)
    if "mask" in kind:
        given = masks(2 if kind == "two masks" else 1)
        return Prompts(boxes_xyxy=boxes if "box" in kind else None, masks=given)
    per_prompt = {"point": 1, "three points": 3, "many points": 40}[kind]
    labels = torch.ones(count, per_prompt, dtype=torch.int64)
    labels[:, 1:] = torch.randint(-1, 2, labels[:, 1:].shape, generator=draw)
    return Prompts(places(count, per_prompt), labels)


def embedding_of(model, side_px):
    image = torch.from_numpy(seeded.rng("fast").standard_normal((1, 3, side_px, side_px)))
    with torch.inference_mode():
        return model.encode(image.float())


def is_fast(decoded):
    return isinstance(decoded.canvas, FastCanvas)


def assert_equal_answers(model, embedding, asked, multimask=True):
    with torch.inference_mode():
        plain = model.decode(embedding, asked, multimask)
        fast = model.decode(model.prepare(embedding), asked, multimask)
        torch.testing.assert_close(fast.scores, plain.scores, rtol=0, atol=1e-5)
        wanted = plain.logits()
        bound = CLOSE * float(wanted.abs().max())
        torch.testing.assert_close(fast.logits(), wanted, rtol=0, atol=bound)
        keep = torch.rand(plain.scores.shape, generator=torch.Generator().manual_seed(1)) < 0.4
        torch.testing.assert_close(fast.logits(keep), plain.logits(keep), rtol=0, atol=bound)
        none = torch.zeros_like(keep)
        assert fast.logits(none).shape == plain.logits(none).shape == (0, *wanted.shape[1:])
    return fast


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["point", "three points", "box", "mask", "box and mask"])
def test_a_tiny_model_answers_the_same(tiny_model, kind, multimask):
    side_px = TINY.input_size[0]
    embedding = embedding_of(tiny_model, side_px)
    fast = assert_equal_answers(tiny_model, embedding, prompts(kind, side_px), multimask)
    of_prompt = {"point": 2, "three points": 4, "box": 2, "mask": 0, "box and mask": 2}[kind]
    nb_tokens = of_prompt + 5  # and the decoder's own
    assert is_fast(fast) == is_less_work(tiny_model.mask_decoder.transformer, nb_tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {"nb_blocks": 1},
        {"nb_blocks": 3},
        {"nb_heads": 2},
        {"nb_heads": 1, "attention_downsample_rate": 1},
        {"nb_multimask_outputs": 1},
        {"all_mask_tokens": False},
        {"last_block_updates_image": False},
        {"nb_blocks": 3, "last_block_updates_image": False, "all_mask_tokens": False},
    ],
)
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["point", "box and mask"])
def test_decoders_of_other_numbers_answer_the_same(changes, multimask, kind):
    model = wide_model(**changes)
    side_px = TINY.input_size[0]
    asked = prompts(kind, side_px)
    fast = assert_equal_answers(model, embedding_of(model, side_px), asked, multimask)
    assert is_fast(fast)


def test_without_all_mask_tokens_those_not_asked_for_change_nothing():
    model, other = (wide_model(all_mask_tokens=False) for _ in range(2))
    with torch.no_grad():
        other.mask_decoder.mask_tokens.weight[0] += 1
    embedding, asked = embedding_of(model, 64), prompts("point", 64)
    for multimask in (True, False):
        with torch.inference_mode():
            logits = [m.decode(embedding, asked, multimask).logits() for m in (model, other)]
        assert torch.equal(*logits) == multimask


def test_without_padding_a_point_is_one_token():
    model = with_seeded_weights(Sam(dataclasses.replace(TINY, pad_points=False)))
    for kind, nb_tokens in (("point", 1), ("three points", 3), ("box", 2)):
        tokens, _ = model.prompt_encoder(prompts(kind, 64), (64, 64))
        assert tokens.shape[1] == nb_tokens


@pytest.mark.parametrize(
    "kind", ["point", "three points", "box", "many points", "mask", "box and mask", "two masks"]
)
def test_random_weights_of_full_size_answer_the_same(random_vit_t, kind):
    embedding = embedding_of(random_vit_t, 1024)
    fast = assert_equal_answers(random_vit_t, embedding, prompts(kind, 1024, count=3))
    assert is_fast(fast) == (kind != "many points")  # whose mix is larger than the image


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["point", "three points", "box", "box and mask"])
def test_the_packaged_model_answers_the_same(kind, multimask):
    model = load_model("nano", device="cpu")
    asked = prompts(kind, 512, count=7)  # of which four are a part
    fast = assert_equal_answers(model, embedding_of(model, 512), asked, multimask)
    assert is_fast(fast)
    assert [len(image) for image in fast.canvas.images] == [4, 3]


@pytest.mark.parametrize("kind", ["point", "box", "box and mask"])
def test_all_prompts_at_once_answer_as_one_by_one(random_vit_t, monkeypatch, kind):
    monkeypatch.setattr(devices, "CPUS", ())  # as on a GPU
    embedding = embedding_of(random_vit_t, 1024)
    fast = assert_equal_answers(random_vit_t, embedding, prompts(kind, 1024, count=3))
    assert len(fast.canvas.images) == 1


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 64), st.integers(1, 64))
def test_all_that_an_image_draws_on_is_drawn(height, width):
    """And what is not drawn is in no pixel of the image: both drawings give the same pixels."""
    model = wide_model()
    embedding = embedding_of(model, 64)
    frame = Frame((3 * height, 3 * width), (height, width), (64, 64))
    asked = prompts("point", 64, count=1)
    with torch.inference_mode():
        whole = model.decode(model.prepare(embedding), asked).logits()
        partly = model.decode(model.prepare(embedding, (height, width)), asked).logits()
        assert partly.shape == whole.shape
        torch.testing.assert_close(
            frame.to_image_logits(partly), frame.to_image_logits(whole), rtol=0, atol=1e-4
        )


def test_padding_is_not_drawn():
    model = wide_model()
    with torch.inference_mode():
        prepared = model.prepare(embedding_of(model, 64), (64, 20))
        logits = model.decode(prepared, prompts("point", 64)).logits()
    drawn = (logits != UNDRAWN).all(dim=0).all(dim=0)
    # 20 of 64 pixels end in the fifth of sixteen logits, and draw on the sixth, in the second cell.
    assert drawn.tolist() == [True] * 8 + [False] * 8


def test_prompts_with_masks_and_without_can_follow_each_other():
    model = wide_model()
    embedding = embedding_of(model, 64)
    with torch.inference_mode():
        prepared = model.prepare(embedding)
        for kind in ("box", "mask", "box", "box and mask", "mask"):
            asked = prompts(kind, 64)
            wanted = model.decode(embedding, asked).logits()
            bound = CLOSE * float(wanted.abs().max())
            found = model.decode(prepared, asked).logits()
            torch.testing.assert_close(found, wanted, rtol=0, atol=bound)


def test_what_is_prepared_is_not_written_over(random_vit_t):
    with torch.inference_mode():
        prepared = random_vit_t.prepare(embedding_of(random_vit_t, 1024))
        asked = prompts("point", 1024, count=2)
        first = random_vit_t.decode(prepared, asked).logits()
        assert torch.equal(random_vit_t.decode(prepared, asked).logits(), first)


@pytest.mark.weights
def test_real_weights_answer_the_same_on_a_photograph(real_model):
    from amg_cli.generation.predict import encode_image

    embedding = encode_image(real_model, photo(shared("data/samples/dog.jpg"))).embedding
    plain = dataclasses.replace(embedding, shared=None)
    for kind in ("point", "three points", "box"):
        assert is_fast(assert_equal_answers(real_model, plain, prompts(kind, 683)))
    for kind in ("mask", "box and mask", "two masks"):
        assert is_fast(assert_equal_answers(real_model, plain, prompts(kind, 1024)))


@pytest.mark.slow
@pytest.mark.weights
def test_whole_runs_are_the_same(real_model, monkeypatch):
    image = photo(shared("data/samples/dog.jpg"))
    config = GenerationConfig(points_per_side=8)
    fast = generate(image, real_model, config)
    monkeypatch.setattr(Sam, "prepare", lambda _, embedding, __: embedding)
    plain = generate(image, real_model, config)
    assert [mask.box_xyxy for mask in fast] == [mask.box_xyxy for mask in plain]
    for a, b in zip(fast, plain, strict=True):
        assert np.count_nonzero(a.array() != b.array()) <= 2
        assert a.pred_iou == pytest.approx(b.pred_iou, abs=1e-5)
