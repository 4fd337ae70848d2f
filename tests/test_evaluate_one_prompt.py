"""One prompt a segment: innermost points by hand, and the tiny random model's own masks."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from amg_cli.core.errors import InputError
from amg_cli.core.frame import Frame
from amg_cli.evaluate.one_prompt import (
    PromptedSegment,
    innermost_point,
    prompt_scores,
    prompt_segments,
)
from amg_cli.models.prompt_encoder import Prompts
from tests.eval_data import block, drawing, segment, true_image

SIZE_HW = (60, 90)  # of the noise


def plainly_innermost(mask):
    """By the distance of each pixel to each pixel outside, those around the image included."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded) - 1
    best, best_px2 = None, -1
    for y in range(height):
        for x in range(width):
            px2 = ((outside - (y, x)) ** 2).sum(axis=1).min() if mask[y, x] else 0
            if px2 > best_px2:
                best, best_px2 = (x + 0.5, y + 0.5), px2
    return best


@pytest.mark.parametrize(
    ("mask", "point"),
    [
        (drawing(".....", ".###.", ".###.", ".###.", "....."), (2.5, 2.5)),
        (drawing(".......", "..#....", ".....#."), (2.5, 1.5)),  # the first of two
        (drawing("###", "###", "###"), (1.5, 1.5)),  # the image's edge is boundary
        (drawing("#####", "#####", "#####", "....."), (1.5, 1.5)),  # the first of three
        (drawing("##..", "##..", "....", "...."), (0.5, 0.5)),
        (drawing("....", "....", "..##", "..##"), (2.5, 2.5)),
        (drawing("#######", "###.###", "#######"), (1.5, 1.5)),  # beside the hole
        (drawing(".#.......", "#######..", "#######..", "#######..", ".####...."), (1.5, 2.5)),
        (drawing("#"), (0.5, 0.5)),
        (drawing("....#"), (4.5, 0.5)),
    ],
)
def test_the_innermost_point_is_the_centre_of_the_pixel_farthest_from_the_boundary(mask, point):
    assert innermost_point(mask) == point


@pytest.mark.parametrize("seed", range(12))
def test_the_innermost_point_is_that_of_a_plain_loop(seed):
    random = np.random.default_rng(seed)
    shape = random.integers(1, 25, 2)
    coarse = random.random(shape) < 0.8
    mask = coarse if seed % 2 else np.kron(coarse[:5, :5], np.ones((5, 4))).astype(bool)
    mask[0, 0] = True
    assert innermost_point(mask) == plainly_innermost(mask)


# Prompts to a model

L_SHAPE = block(SIZE_HW, 5, 10, 45, 30) | block(SIZE_HW, 35, 10, 45, 80)
SQUARE = block(SIZE_HW, 20, 50, 36, 68)
CORNER = block(SIZE_HW, 40, 70, 60, 90)
OTHERS = [block(SIZE_HW, 0, 5 * i, 30, 5 * i + 20) for i in range(3)]


def decoded_by_hand(model, image, prompts):
    """(M, H, W) bool masks and (M,) scores of one prompt."""
    frame = Frame.fit(SIZE_HW, (96, 96))
    with torch.inference_mode():
        embedding = model.encode(frame.model_input(image, model.config.mean, model.config.std))
        decoded = model.decode(embedding, prompts)
        low_res = decoded.logits(torch.ones((1, 3), dtype=torch.bool))
        return (frame.to_image_logits(low_res) > 0).numpy(), decoded.scores[0].numpy()


def scored_by_hand(pixels, masks, scores):
    ious = [(mask & pixels).sum() / (mask | pixels).sum() for mask in masks]
    return PromptedSegment(
        float(pixels.sum()), pytest.approx(ious[int(np.argmax(scores))]), pytest.approx(max(ious))
    )


def test_each_segment_is_prompted_by_its_point_and_by_its_box(tiny_model, noise):
    shapes = [L_SHAPE, SQUARE, CORNER, *OTHERS]  # more than are prompted at a time
    truth = true_image(*map(segment, shapes), size_hw=SIZE_HW)
    found = prompt_segments(tiny_model, noise, truth)
    assert list(found) == ["point", "box"]
    scale = 96 / 90  # the longer side fills the model's input
    for i, pixels in enumerate(shapes):
        point = torch.tensor([plainly_innermost(pixels)], dtype=torch.float64) * scale
        by_point = Prompts(point[None].float(), torch.ones((1, 1)))
        ys, xs = np.nonzero(pixels)
        corners = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        by_box = Prompts(boxes_xyxy=torch.tensor([corners], dtype=torch.float64).mul(scale).float())
        for kind, prompts in {"point": by_point, "box": by_box}.items():
            masks, scores = decoded_by_hand(tiny_model, noise, prompts)
            assert found[kind][i] == scored_by_hand(pixels, masks, scores), (kind, i)
    assert all(each.best_iou >= each.first_iou > 0 for each in found["point"])
    assert any(each.best_iou > each.first_iou for each in found["point"])
    assert found["point"] != found["box"]


def test_small_segments_and_crowds_are_left_out(tiny_model, noise):
    sizes = {199: 0, 200: 1}  # pixels, segments prompted
    for area_px, prompted in sizes.items():
        pixels = np.arange(60 * 90).reshape(SIZE_HW) < area_px
        truth = true_image(segment(pixels), segment(SQUARE, is_crowd=True), size_hw=SIZE_HW)
        found = prompt_segments(tiny_model, noise, truth)
        assert [len(found["point"]), len(found["box"])] == [prompted, prompted]


def test_an_image_of_another_size_than_the_truth_is_refused(tiny_model, noise):
    truth = dataclasses.replace(true_image(segment(SQUARE), size_hw=SIZE_HW), size_hw=(60, 91))
    with pytest.raises(InputError, match=r"^a\.jpg: \(h, w\) is \(60, 90\), where the truth is"):
        prompt_segments(tiny_model, noise, truth)


# Means by size


def test_sizes_begin_at_32_and_at_96_pixels_squared():
    areas = {200: 0.1, 1023: 0.3, 1024: 0.4, 9215: 0.6, 9216: 0.7, 100_000: 0.9}
    scores = prompt_scores([PromptedSegment(area, 0.05, best) for area, best in areas.items()])
    assert scores == pytest.approx(
        {
            "segments": 6,
            "first": 0.05,
            "best of three": 0.5,
            "best of three small": 0.2,
            "best of three medium": 0.5,
            "best of three large": 0.8,
        }
    )


def test_means_of_no_segment_are_unknown():
    scores = prompt_scores([PromptedSegment(300, 0.25, 0.5)])
    assert (scores["segments"], scores["first"], scores["best of three small"]) == (1, 0.25, 0.5)
    assert math.isnan(scores["best of three medium"])
    assert math.isnan(scores["best of three large"])
    assert prompt_scores([])["segments"] == 0
    assert math.isnan(prompt_scores([])["first"])
