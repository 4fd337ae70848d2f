"""The settings that the reference does not have: by plain arrays, and on the way for GPUs too."""

import json
from dataclasses import fields, replace
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, generate
from amg_cli.core import rle
from amg_cli.core.config import area_px
from amg_cli.core.errors import ConfigError
from amg_cli.core.mask import Mask
from amg_cli.generation.overlaps import (
    CONTAINED,
    disjoint,
    filled,
    mask_nms,
    with_parents,
    without_contained,
)
from amg_cli.generation.tidy import best, shaped, tidied
from amg_cli.models import devices
from tests.candidates import candidates_of
from tests.command import FEW_POINTS, SMALL_MODEL, amg, save
from tests.comparing import assert_same_masks
from tests.stand_ins import settings, wide_model

propose = import_module("amg_cli.generation.propose").propose
SIZE_HW = (30, 44)


def mask_of(pixels, score=0.9):
    found = rle.encode(pixels)
    return Mask(found, rle.box(found), score, 0.95)


def shapes(count, seed=0):
    """Discs, bars and speckles, that lie in and over each other; none is empty."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    found = []
    while len(found) < count:
        cy, cx, radius = random.uniform(0, 30), random.uniform(0, 44), random.uniform(1, 14)
        pixels = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        if random.random() < 0.3:
            pixels &= random.random(SIZE_HW) < 0.9
        if random.random() < 0.2:
            pixels[random.integers(30), random.integers(44)] = True
        if pixels.any():
            found.append(pixels)
    return found


def scored(pixels, seed=0):
    scores = np.random.default_rng(seed).permutation(len(pixels)) / len(pixels)
    return [mask_of(p, float(s)) for p, s in zip(pixels, sorted(scores)[::-1], strict=True)]


def arrays(masks):
    return [mask.array() for mask in masks]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


# Arithmetic on RLE


@pytest.mark.parametrize("seed", range(4))
def test_minus_and_shares_are_those_of_the_pixels(seed):
    a, b = shapes(12, seed), shapes(12, seed + 50)
    full = [np.ones(SIZE_HW, bool), np.zeros(SIZE_HW, bool)]
    for p in a[:4] + full:
        for q in b[:4] + full:
            found = rle.minus(rle.encode(p), rle.encode(q))
            assert np.array_equal(rle.decode(found), p & ~q)
            assert found == rle.encode(p & ~q)
    of = [[rle.encode(p) for p in each] for each in (a, b)]
    np.testing.assert_allclose(rle.shares(*of), [[iou(p, q) for q in b] for p in a])
    inside = [[(p & q).sum() / p.sum() for q in b] for p in a]
    np.testing.assert_allclose(rle.shares(*of, of_parts=True), inside)
    assert rle.shares([], of[1]).shape == (0, 12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("thresh", [0.0, 0.3, 0.7, 1.0])
def test_mask_nms_drops_by_the_masks_own_iou(seed, thresh):
    pixels = shapes(40, seed)
    scores = torch.rand(40, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    wanted = []
    for i in torch.sort(scores, descending=True, stable=True).indices.tolist():
        if all(iou(pixels[i], pixels[j]) <= thresh for j in wanted):
            wanted.append(i)
    assert mask_nms(candidates_of(pixels, scores), scores, thresh).tolist() == wanted


def test_a_stray_pixel_saves_no_duplicate_from_mask_nms():
    disc = shapes(1)[0]
    stray = disc.copy()
    stray[29, 43] = stray[0, 0] = True
    scores = torch.tensor([0.9, 0.8])
    assert mask_nms(candidates_of([disc, stray], scores), scores, 0.7).tolist() == [0]


# What is done with a list of masks


@pytest.mark.parametrize("thresh", [0.5, 0.9])
def test_what_lies_in_a_better_mask_goes(thresh):
    pixels = shapes(25, 3)
    kept = []
    for p in pixels:
        if all((p & q).sum() / p.sum() <= thresh for q in kept):
            kept.append(p)
    found = arrays(without_contained(scored(pixels), thresh))
    assert all(np.array_equal(a, b) for a, b in zip(found, kept, strict=True))


def test_a_parent_is_the_smallest_mask_around():
    pixels = [*shapes(30, 4), np.ones(SIZE_HW, bool), shapes(1)[0], shapes(1)[0]]
    found = with_parents(scored(pixels))
    assert [mask.id for mask in found] == list(range(33))
    for i, mask in enumerate(found):
        around = [
            (pixels[j].sum(), -j)
            for j in range(33)
            if j != i
            and (pixels[i] & pixels[j]).sum() >= CONTAINED * pixels[i].sum()
            and (pixels[j].sum(), -j) > (pixels[i].sum(), -i)
        ]
        assert mask.parent == (-min(around)[1] if around else None)
    assert found[30].parent is None


@pytest.mark.parametrize("first", ["score", "smallest", "largest"])
def test_each_pixel_is_of_the_mask_whose_turn_is_first(first):
    pixels = shapes(20, 5)
    sign = {"score": 0, "smallest": 1, "largest": -1}[first]
    owner = np.full(SIZE_HW, -1)
    for i in sorted(range(20), key=lambda i: (sign * pixels[i].sum(), i))[::-1]:
        owner[pixels[i]] = i
    found = disjoint(scored(pixels), first)
    wanted = [owner == i for i in range(20) if (owner == i).any()]
    assert all(np.array_equal(a, b) for a, b in zip(arrays(found), wanted, strict=True))
    assert all(mask.box_xyxy == rle.box(mask.rle) for mask in found)


@pytest.mark.parametrize("seed", range(6))
def test_filled_masks_have_every_pixel_once_large_gaps_as_masks_small_ones_nearest(seed):
    masks = disjoint(scored(shapes(12, seed)), "score")
    found = filled(masks, SIZE_HW)
    assert (np.sum(arrays(found), axis=0) == 1).all()
    assert sum(mask.area_px for mask in found) == 30 * 44
    free = ~np.any(arrays(masks), axis=0)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    large = [parts == i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] >= 13.2]
    assert len(found) == len(masks) + len(large)
    for mask, part in zip(found[len(masks) :], large, strict=True):
        assert (mask.pred_iou, mask.stability_score, mask.crop_box_xyxy) == (0, 0, (0, 0, 44, 30))
        assert part[int(mask.point_xy[1]), int(mask.point_xy[0])]
    before = [*arrays(masks), *large]
    away = [
        cv2.distanceTransform((~p).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for p in before
    ]
    for earlier, after, own in zip(before, found, away, strict=True):
        assert (after.array() >= earlier).all()
        nearest = np.min(away, axis=0)[after.array()]
        assert (own[after.array()] <= 1.03 * nearest + 0.2).all()  # as near as OpenCV has it


def test_where_there_is_no_mask_all_is_filled_by_one():
    (found,) = filled([], SIZE_HW)
    assert found.array().all()


def test_the_best_masks_keep_their_order():
    masks = [
        replace(m, pred_iou=s) for m, s in zip(scored(shapes(5)), (3, 1, 5, 3, 2), strict=True)
    ]
    assert [mask.pred_iou for mask in best(masks, 3)] == [3, 5, 3]
    assert best(masks, 9) == masks


def test_the_largest_part_stays_and_holes_with_it():
    pixels = np.zeros(SIZE_HW, bool)
    pixels[2:12, 2:12], pixels[5:7, 5:7], pixels[20:22, 20:22] = True, False, True
    found = shaped(mask_of(pixels), GenerationConfig(largest_component=True))
    pixels[20:22, 20:22] = False
    assert np.array_equal(found.array(), pixels)
    assert found.box_xyxy == (2, 2, 11, 11)


def test_smoothing_takes_points_and_gaps_and_leaves_straight_edges():
    pixels = np.zeros(SIZE_HW, bool)
    pixels[10:30, 10:30] = True
    smooth = GenerationConfig(smooth=2)
    with_point = pixels.copy()
    with_point[5:10, 18] = True
    with_point[20, 22:30] = False
    found = shaped(mask_of(with_point), smooth).array()
    assert (found ^ pixels).sum() <= 4 * 3  # corners are rounded off, but at the image's edge
    assert found[29, 12:28].all()
    assert shaped(mask_of(np.eye(*SIZE_HW) > 0), smooth) is None


# Settings


def test_by_default_nothing_but_the_reference_happens():
    assert GenerationConfig().of_the_reference
    beyond = {
        "nms": "off", "min_area": 1, "max_area": "99%", "drop_border": True, "smooth": 1,
        "largest_component": True, "containment_thresh": 0.9, "max_masks": 5,
        "disjoint": "score", "parents": True,
    }  # fmt: skip
    names = [setting.name for setting in fields(GenerationConfig)]
    assert set(names[names.index("nms") :]) == beyond.keys() | {"fill"}
    for name, value in beyond.items():
        assert not GenerationConfig(**{name: value}).of_the_reference
    masks = scored(shapes(8))
    assert tidied(masks, GenerationConfig(), SIZE_HW) == masks


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("min_area", "x", "must be pixels, 0 or more, or a share such as 5%, not 'x'"),
        ("min_area", -1, "must be pixels, 0 or more, or a share such as 5%, not -1"),
        ("max_area", "101%", "must be pixels, 0 or more, or a share such as 5%, not '101%'"),
        ("max_area", float("nan"), "must be pixels, 0 or more, or a share such as 5%, not nan"),
        ("nms", "boxes", "must be box or mask or off, not 'boxes'"),
        ("drop_border", 1, "must be True or False, not 1"),
        ("smooth", 1.5, "must be a whole number (0 to 256), not 1.5"),
        ("fill", True, "goes with `disjoint`, which says whose a pixel is"),
    ],
)
def test_what_a_setting_cannot_be_is_said(name, value, wanted):
    with pytest.raises(ConfigError) as caught:
        GenerationConfig(**{name: value})
    assert (caught.value.where, caught.value.cause) == (name, wanted)


def test_an_area_is_pixels_or_a_share():
    assert area_px("5%", (100, 200)) == 1000
    assert area_px(12, (1, 1)) == 12
    assert GenerationConfig(min_area="40").min_area == 40.0
    assert GenerationConfig(max_area="0.5%").max_area == "0.5%"


SOME = [
    {"nms": "mask"},
    {"nms": "off", "max_masks": 7},
    {"min_area": "2%", "max_area": "60%"},
    {"drop_border": True},
    {"nms": "mask", "crop_n_layers": 1, "box_nms_thresh": 0.4},
    {"disjoint": "smallest", "fill": True, "parents": True},
    {"largest_component": True, "smooth": 1, "containment_thresh": 0.9},
]


@pytest.mark.parametrize("changes", SOME, ids=lambda changes: " ".join(changes))
def test_the_way_for_gpus_finds_the_same(changes, noise, monkeypatch):
    model, config = (
        wide_model(),
        settings(**{"points_per_side": 6, "box_nms_thresh": 0.7} | changes),
    )
    wanted = generate(noise, model, config)
    monkeypatch.setattr(devices, "CPUS", ())
    found = generate(noise, model, config)
    assert wanted or "drop_border" in changes
    assert_same_masks(found, wanted)
    assert [mask.parent for mask in found] == [mask.parent for mask in wanted]


def test_areas_and_the_edge_decide_before_duplicates_do(noise):
    """So that what goes hides nothing."""
    model = wide_model()
    config = settings(points_per_side=6, box_nms_thresh=0.3)
    candidates = propose(model, noise, replace(config, box_nms_thresh=1.0))
    areas = torch.tensor([rle.area(each) for each in candidates.rles])
    limit = float(areas.float().median())
    found = generate(noise, model, replace(config, max_area=limit))
    small = candidates[areas <= limit]
    assert len(found) > 0
    assert all(mask.area_px <= limit for mask in found)
    assert max(mask.pred_iou for mask in found) == float(small.pred_iou.max())


def test_the_command_takes_them_and_records_them(tmp_path, noise):
    save(tmp_path / "a.png", noise)
    options = ["--nms", "box", "--min-area", "0.5%", "--disjoint", "largest", "--fill"]
    arguments = ["--input", "a.png", "--output", "out", "--format", "ndjson", "--format", "coco"]
    result = amg(
        *arguments, *options, "--parents", *SMALL_MODEL, *FEW_POINTS, cwd=tmp_path
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (line,) = (tmp_path / "out/masks.ndjson").read_text().splitlines()
    image = json.loads(line)
    assert sum(mask["area"] for mask in image["masks"]) == image["width"] * image["height"]
    other = amg(*arguments, *SMALL_MODEL, *FEW_POINTS, cwd=tmp_path)
    assert other.returncode == 1
    assert "--nms box, now mask" in other.stderr  # as nano has it
    wrong = amg(*arguments, "--fill", *SMALL_MODEL, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--fill" in wrong.stderr
    assert "goes with" in wrong.stderr
