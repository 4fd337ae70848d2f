"""What the page works out in a browser, against the same in Python: to the bit."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import Candidates
from amg_cli.core.colours import colour_of
from amg_cli.core.config import GenerationConfig
from amg_cli.evaluate.compare import MATCH_AT, match
from amg_cli.generation.overlaps import with_parents
from amg_cli.generation.select import select
from amg_cli.viewer.records import of_candidates
from tests.browser import arithmetic_page
from tests.candidates import candidates_of

FLAT_HW = [(1, 40), (40, 1), (1, 1)]


@pytest.fixture(scope="module")
def page(browser):
    page = arithmetic_page(browser)
    yield page
    page.close()


def random_masks(random, count, hw):
    """Rectangles with noise, of which some repeat others but for a few pixels."""
    masks = []
    for _ in range(count):
        if masks and random.random() < 0.4:
            mask = masks[random.integers(len(masks))].copy()
            mask ^= random.random(hw) < random.choice([0.0, 0.003, 0.05])
        else:
            (y0, y1), (x0, x1) = (np.sort(random.integers(0, side + 1, 2)) for side in hw)
            mask = np.zeros(hw, dtype=bool)
            mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
            if random.random() < 0.3:
                mask &= random.random(hw) < 0.7
        if mask.any():
            masks.append(mask)
    return masks


def random_candidates(seed):
    random = np.random.default_rng(seed)
    hw = (
        FLAT_HW[seed % len(FLAT_HW)] if seed % 7 == 0 else tuple(random.integers(2, 70, 2).tolist())
    )
    masks = random_masks(random, 60, hw) or [np.ones(hw, dtype=bool)]
    # Scores that repeat, so that ties are decided, and lie on thresholds that float32 rounds.
    scores = random.choice([0.3, 0.6, 0.7, 0.88, 0.9, 0.95, 1.02], len(masks))
    stability = random.choice([0.5, 0.8, 0.9, 0.95, 1.0], len(masks)).tolist()
    if seed % 2:
        return candidates_of(masks, scores, stability)
    height, width = hw
    crops = [(0, 0, width, height), (0, 0, width // 2 + 1, height), (0, 0, width, height // 2 + 1)]
    places = random.integers(len(crops), size=len(masks))
    return candidates_of(masks, scores, stability, [crops[i] for i in places], nb_views=3)


def random_config(seed, image_hw):
    random = np.random.default_rng(1000 + seed)
    area = image_hw[0] * image_hw[1]
    return GenerationConfig(
        pred_iou_thresh=float(random.choice([0, 0.6, 0.7, 0.88, 0.9])),
        stability_score_thresh=float(random.choice([-1, 0.8, 0.9, 0.95])),
        min_area=random.choice([0.0, 3.0, 0.1 * area]).item() if seed % 3 else "2.5%",
        max_area=random.choice([0.5 * area, float(area)]).item() if seed % 4 else "70%",
        nms=str(random.choice(["box", "mask", "off"])),
        box_nms_thresh=float(random.choice([0, 0.5, 0.6, 0.7, 0.9, 1])),
        crop_nms_thresh=float(random.choice([0, 0.5, 0.6, 0.7, 1])),
        containment_thresh=float(random.choice([0.5, 0.9, 1])),
        max_masks=int(random.choice([0, 0, 5])),
        drop_border=bool(random.random() < 0.2),
    )


def columns_of(candidates: Candidates) -> dict:
    """The page's, after it has inflated them."""
    return of_candidates(candidates) | {"rle": [rle["counts"] for rle in candidates.rles]}


def in_page(page, script, *values):
    return page.evaluate(f"([{', '.join('abcdef'[: len(values)])}]) => {script}", list(values))


@pytest.mark.parametrize("seed", range(60))
def test_masks_are_selected_as_the_command_selects(page, seed):
    candidates = random_candidates(seed)
    found, expected = both(page, candidates, random_config(seed, candidates.image_hw))
    assert found == expected


def both(page, candidates, config):
    """The places of the masks that are selected: by the page, and by the command."""
    script = "amg.select(new amg.Masks(a, b), c)"
    given = columns_of(candidates), candidates.image_hw, dataclasses.asdict(config)
    expected = [int(mask.point_xy[0]) for mask in select(candidates, config)]
    return in_page(page, script, *given), expected


def test_an_iou_is_rounded_before_it_is_compared(page):
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, :2, :6] = masks[1, :2, :4] = True  # boxes of 5 x 1 and 3 x 1: float32 has .6 above .6
    config = GenerationConfig(box_nms_thresh=0.6)
    found, expected = both(page, candidates_of(list(masks), [0.99, 0.95]), config)
    assert found == expected == [0]


def test_of_equal_masks_in_boxes_without_area_one_stays(page):
    masks = np.zeros((4, 1, 40), dtype=bool)
    masks[:2, :, 3:9] = masks[2:, :, 3:10] = True
    config = GenerationConfig(box_nms_thresh=0.7)
    found, expected = both(page, candidates_of(list(masks), [0.9, 0.99, 0.95, 0.9]), config)
    assert found == expected == [1, 2]


def test_the_random_selections_are_of_all_kinds():
    kept = []
    for seed in range(60):
        candidates = random_candidates(seed)
        config = random_config(seed, candidates.image_hw)
        kept.append(len(select(candidates, config)) / len(candidates))
    assert sum(0.05 < share < 0.95 for share in kept) > 30


@pytest.mark.parametrize("seed", range(20))
def test_runs_areas_and_overlaps_are_those_of_rles(page, seed):
    random = np.random.default_rng(seed)
    hw = tuple(random.integers(1, 60, 2).tolist())
    masks = random_masks(random, 12, hw)
    rles = [rle_codec.encode(mask) for mask in masks]
    runs = in_page(
        page, "a.map((counts) => [...amg.rle.runs(counts)])", [r["counts"] for r in rles]
    )
    for mask, of_page in zip(masks, runs, strict=True):
        flat = np.zeros(mask.size, dtype=bool)
        for start, end in zip(of_page[0::2], of_page[1::2], strict=True):
            flat[start:end] = True
        assert (flat == mask.T.ravel()).all()
    areas = in_page(
        page, "a.map((counts) => amg.rle.area(amg.rle.runs(counts)))", [r["counts"] for r in rles]
    )
    assert areas == [int(mask.sum()) for mask in masks]
    counts = [r["counts"] for r in rles]
    script = (
        "{ const runs = a.map(amg.rle.runs);"
        " return runs.map((one) => runs.map((other) => amg.rle.common(one, other))); }"
    )
    common = in_page(page, script, counts)
    assert common == [[int((one & other).sum()) for other in masks] for one in masks]


def test_a_long_run_is_read_whole(page):
    """268 megapixels, whose counts take six characters and more."""
    height, width = 16384, 16384
    places = np.array([5, height * width - 7])
    rle = rle_codec.from_changes(places, (height, width))
    assert in_page(page, "[...amg.rle.runs(a)]", rle["counts"]) == places.tolist()


def test_a_pixel_is_found_in_its_masks_alone(page):
    random = np.random.default_rng(5)
    hw = (17, 23)
    masks = random_masks(random, 20, hw)
    columns = columns_of(candidates_of(masks, [0.9] * len(masks)))
    script = (
        "{ const masks = new amg.Masks(a, b); const found = [];"
        " for (let y = 0; y < b[0]; y++) for (let x = 0; x < b[1]; x++)"
        " found.push(masks.at(x, y, masks.indices)); return found; }"
    )
    found = in_page(page, script, columns, hw)
    stack = np.stack(masks).reshape(len(masks), -1)
    assert found == [np.flatnonzero(stack[:, i]).tolist() for i in range(stack.shape[1])]


@pytest.mark.parametrize("seed", range(15))
def test_parents_are_those_of_the_command(page, seed):
    candidates = random_candidates(seed)
    masks = with_parents(candidates.masks())
    script = "amg.parents(new amg.Masks(a, b), [...a.rle.keys()])"
    found = in_page(page, script, columns_of(candidates), candidates.image_hw)
    assert found == [mask.parent for mask in masks]
    if seed == 1:
        assert any(parent is not None for parent in found)


@pytest.mark.parametrize("seed", range(15))
def test_masks_of_two_runs_are_matched_as_eval_matches_them(page, seed):
    random = np.random.default_rng(seed)
    hw = (30, 40)
    left = random_masks(random, 25, hw)
    right = [mask ^ (random.random(hw) < 0.02) for mask in left[::2]] + random_masks(random, 9, hw)
    sides = [candidates_of(masks, [0.9] * len(masks)) for masks in (left, right)]
    expected = match(*(list(side.rles) for side in sides))
    script = (
        "amg.matched(amg.overlaps(new amg.Masks(a, c), new amg.Masks(b, c)), d)"
        ".map((found) => [...found].sort((one, other) => one - other))"
    )
    found = in_page(page, script, *map(columns_of, sides), hw, MATCH_AT[-1])
    assert found == [sorted(i for i, _, _ in expected), sorted(j for _, j, _ in expected)]
    assert expected


def test_colours_are_those_of_the_overlay(page):
    found = page.evaluate("[...Array(5000).keys()].map(amg.colour)")
    assert [tuple(colour) for colour in found] == [colour_of(number) for number in range(5000)]


def test_scores_are_the_same_float32_in_the_page(page):
    scores = torch.rand(2000, generator=torch.Generator().manual_seed(3)) * 1.1
    masks = [np.ones((1, 1), dtype=bool)] * len(scores)
    text = json.dumps(of_candidates(candidates_of(masks, scores))["pred_iou"])
    found = page.evaluate(f"{text}.map(Math.fround)")
    assert np.array_equal(np.array(found, dtype=np.float64), scores.double().numpy())
    assert len(text) < 13 * len(scores)
