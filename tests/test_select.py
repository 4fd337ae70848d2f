"""Selection on masks drawn by hand."""

import dataclasses

import numpy as np
import pytest
import torch

import amg_cli
from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import COLUMNS, Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import InputError
from amg_cli.generation.everything import generate
from amg_cli.generation.regions import remove_small_regions
from amg_cli.generation.select import high_pred_iou, is_stable, select
from tests.candidates import candidates_of
from tests.stand_ins import wide_model

SIZE_HW = (40, 60)
IMAGE = (0, 0, 60, 40)
LEFT, RIGHT = (0, 0, 35, 40), (25, 0, 60, 40)
KEEP_ALL = GenerationConfig(pred_iou_thresh=0, stability_score_thresh=0)


def settings(**changes):
    return dataclasses.replace(KEEP_ALL, **changes)


def block(x0, y0, x1, y1):
    """A mask of the pixels of a box, right and bottom inclusive."""
    mask = np.zeros(SIZE_HW, dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def candidates(masks, pred_iou=None, stability=None, crop_boxes=None, nb_views=1):
    """Numbered by the x of their points."""
    scores = pred_iou or [0.9] * len(masks)
    return candidates_of(masks, scores, stability, crop_boxes, nb_views=nb_views)


def selected(found, config):
    """Numbers of the candidates that became results, in order."""
    found = dataclasses.replace(found, nb_views=1 if config.crop_n_layers == 0 else 5)
    return [int(mask.point_xy[0]) for mask in select(found, config)]


def drawing(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def mended(mask, min_area_px):
    """The mask as rows of text, and whether it was changed."""
    before = mask.copy()
    found, changed = remove_small_regions(mask, min_area_px)
    np.testing.assert_array_equal(mask, before)
    assert found.dtype == bool
    assert type(changed) is bool
    return ["".join("#" if pixel else "." for pixel in row) for row in found], changed


# Thresholds


def test_a_predicted_iou_equal_to_the_threshold_is_not_above_it():
    config = GenerationConfig(pred_iou_thresh=0.5)
    scores = torch.tensor([[0.5, 0.5001], [0.4999, 1.2]])
    assert high_pred_iou(scores, config).tolist() == [[False, True], [False, True]]


def test_a_stability_score_equal_to_the_threshold_is_enough():
    config = GenerationConfig(stability_score_thresh=0.5)
    assert is_stable(torch.tensor([0.5, 0.4999, 1]), config).tolist() == [True, False, True]


@pytest.mark.parametrize("threshold", [0.0, 0, -1.0])
def test_a_threshold_of_zero_or_less_keeps_all(threshold):
    config = GenerationConfig(pred_iou_thresh=threshold, stability_score_thresh=threshold)
    scores = torch.tensor([-2.0, -1.0, 0.0, 1.0])
    for found in (high_pred_iou(scores, config), is_stable(scores, config)):
        assert found.dtype == torch.bool
        assert found.all()


def test_a_tiny_threshold_still_is_one():
    config = GenerationConfig(pred_iou_thresh=1e-6, stability_score_thresh=1e-6)
    scores = torch.tensor([0.0, 0.5])
    assert high_pred_iou(scores, config).tolist() == [False, True]
    assert is_stable(scores, config).tolist() == [False, True]


def test_each_threshold_is_applied_to_its_own_score():
    found = candidates(
        [block(5 * i, 0, 5 * i + 3, 3) for i in range(4)],
        pred_iou=[0.9, 0.6, 0.5, 0.9],
        stability=[0.9, 0.5, 0.9, 0.4],
    )
    config = settings(pred_iou_thresh=0.5, stability_score_thresh=0.5)
    assert selected(found, config) == [0, 1]


# Duplicates


def test_results_are_in_the_order_of_predicted_iou():
    masks = [block(10 * i, 5, 10 * i + 5, 10) for i in range(3)]
    assert selected(candidates(masks, [0.7, 0.9, 0.8]), KEEP_ALL) == [1, 2, 0]


def test_equal_predicted_ious_keep_the_order_of_the_candidates():
    masks = [block(10 * i, 5, 10 * i + 5, 10) for i in range(5)]
    assert selected(candidates(masks), KEEP_ALL) == [0, 1, 2, 3, 4]


def test_in_one_crop_the_duplicate_of_lower_predicted_iou_goes():
    masks = [block(10, 10, 20, 20), block(10, 10, 20, 19), block(40, 10, 50, 20)]
    assert selected(candidates(masks, [0.7, 0.9, 0.8]), KEEP_ALL) == [1, 2]


def test_masks_that_differ_inside_equal_boxes_are_duplicates():
    frame = block(10, 10, 20, 20) & ~block(12, 12, 18, 18)
    assert selected(candidates([frame, block(10, 10, 20, 20)], [0.8, 0.9]), KEEP_ALL) == [1]


def test_the_threshold_within_a_crop_is_the_box_nms_threshold():
    # Boxes of 10 x 10 and 10 x 7, right and bottom inclusive: IoU 0.7.
    found = candidates([block(10, 10, 20, 20), block(10, 10, 20, 17)], [0.9, 0.8])
    assert selected(found, settings(box_nms_thresh=0.69, crop_nms_thresh=1)) == [0]
    assert selected(found, settings(box_nms_thresh=0.71, crop_nms_thresh=0)) == [0, 1]


def test_the_threshold_between_crops_is_the_crop_nms_threshold():
    found = candidates([block(27, 10, 33, 20), block(27, 10, 33, 17)], crop_boxes=[LEFT, RIGHT])
    one_layer = {"crop_n_layers": 1}
    assert selected(found, settings(crop_nms_thresh=0.69, box_nms_thresh=1, **one_layer)) == [0]
    assert selected(found, settings(crop_nms_thresh=0.71, box_nms_thresh=0, **one_layer)) == [0, 1]


def test_between_crops_the_smaller_crop_wins_even_with_a_lower_predicted_iou():
    found = candidates([block(27, 10, 33, 20)] * 2, [0.99, 0.5], crop_boxes=[IMAGE, LEFT])
    assert selected(found, settings(crop_n_layers=1)) == [1]


def test_between_crops_of_one_size_the_crop_listed_first_wins():
    found = candidates([block(27, 10, 33, 20)] * 2, [0.5, 0.99], crop_boxes=[LEFT, RIGHT])
    assert selected(found, settings(crop_n_layers=1)) == [0]


def test_of_one_view_nothing_is_compared_between_crops():
    found = candidates([block(27, 10, 33, 20)] * 2, crop_boxes=[LEFT, RIGHT])
    assert selected(found, settings(crop_n_layers=0)) == [0, 1]


def test_a_duplicate_within_its_crop_suppresses_nothing_in_another():
    # 1 goes because of 0, so that 2, which overlaps 1 only, stays.
    masks = [block(10, 10, 30, 20), block(13, 10, 33, 20), block(16, 10, 36, 20)]
    found = candidates(masks, [0.9, 0.8, 0.7], crop_boxes=[LEFT, LEFT, RIGHT])
    assert selected(found, settings(crop_n_layers=1)) == [0, 2]


def test_results_of_smaller_crops_come_first_and_within_a_crop_the_best():
    masks = [block(10 * i, 5, 10 * i + 5, 10) for i in range(6)]
    crop_boxes = [IMAGE, IMAGE, RIGHT, LEFT, RIGHT, LEFT]
    found = candidates(masks, [0.7, 0.9, 0.5, 0.6, 0.8, 0.7], crop_boxes=crop_boxes)
    assert selected(found, settings(crop_n_layers=1)) == [4, 2, 5, 3, 1, 0]


def test_crops_are_compared_by_their_area():
    # Wider but lower, so smaller.
    low, high = (0, 0, 60, 15), (0, 0, 31, 31)
    found = candidates([block(5, 5, 12, 12)] * 2, crop_boxes=[high, low])
    assert selected(found, settings(crop_n_layers=1)) == [1]


def test_a_result_carries_all_its_candidate_had():
    found = candidates(
        [block(3, 4, 9, 8), block(20, 4, 29, 8)], [0.75, 0.5], [0.25, 1.0], [LEFT, LEFT]
    )
    _, result = select(found, KEEP_ALL)
    assert result.rle == rle_codec.encode(block(20, 4, 29, 8))
    assert result.box_xyxy == (20, 4, 29, 8)
    assert (result.pred_iou, result.stability_score) == (0.5, 1.0)
    assert result.point_xy == (1.0, 0.5)
    assert result.crop_box_xyxy == LEFT


@pytest.mark.parametrize("nb_layers", [0, 1])
@pytest.mark.parametrize("min_area", [0, 10])
def test_of_no_candidates_there_are_no_results(nb_layers, min_area):
    config = settings(crop_n_layers=nb_layers, min_mask_region_area=min_area)
    assert select(Candidates.empty(), config) == []


@pytest.mark.parametrize("nb_layers", [0, 1])
@pytest.mark.parametrize("min_area", [0, 10])
def test_where_no_candidate_passes_there_are_no_results(nb_layers, min_area):
    config = settings(pred_iou_thresh=2, crop_n_layers=nb_layers, min_mask_region_area=min_area)
    assert select(candidates([block(3, 4, 9, 8)]), config) == []


# Duplicates whose boxes have no area

LINE, OTHER_LINE, POINT = block(3, 4, 3, 30), block(3, 5, 3, 30), block(50, 7, 50, 7)
BROKEN_LINE = block(3, 4, 3, 30) & ~block(3, 9, 3, 9)


def test_of_equal_masks_one_pixel_wide_or_high_the_best_stays():
    masks = [LINE, POINT, LINE, OTHER_LINE, POINT, LINE]
    found = candidates(masks, [0.5, 0.6, 0.9, 0.7, 0.8, 0.4])
    assert selected(found, KEEP_ALL) == [2, 4, 3]


def test_of_equal_thin_masks_of_equal_score_the_first_stays():
    assert selected(candidates([LINE, POINT, LINE, POINT]), KEEP_ALL) == [0, 1]


def test_thin_masks_of_one_box_that_differ_both_stay():
    assert selected(candidates([LINE, BROKEN_LINE]), settings(box_nms_thresh=0)) == [0, 1]


def test_equal_masks_stay_at_threshold_one_whether_their_box_has_an_area_or_not():
    masks = [LINE, LINE, block(10, 10, 20, 20), block(10, 10, 20, 20)]
    assert selected(candidates(masks), settings(box_nms_thresh=1)) == [0, 1, 2, 3]


def test_of_equal_thin_masks_of_two_crops_that_of_the_smaller_stays():
    found = candidates([LINE, LINE], [0.9, 0.5], crop_boxes=[IMAGE, LEFT])
    assert selected(found, settings(crop_n_layers=1)) == [1]
    assert selected(found, settings(crop_n_layers=0)) == [0, 1]
    assert selected(found, settings(crop_n_layers=1, crop_nms_thresh=1)) == [1, 0]


def test_of_thin_masks_that_become_equal_the_unchanged_stays():
    speckled = LINE.copy()
    speckled[30, 50] = True
    found = candidates([speckled, LINE, speckled], [0.9, 0.8, 0.7])
    assert selected(found, settings(box_nms_thresh=0.8)) == [0, 1]
    assert selected(found, settings(min_mask_region_area=4, box_nms_thresh=0.8)) == [1]


@pytest.mark.parametrize("image_hw", [(1, 60), (60, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("nb_layers", [0, 2])
def test_an_image_one_pixel_high_or_wide_has_no_mask_twice(tiny_model, image_hw, nb_layers):
    image = np.random.default_rng(4).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    found = generate(image, tiny_model, settings(points_per_side=4, crop_n_layers=nb_layers))
    assert found
    assert len({mask.rle["counts"] for mask in found}) == len(found)


# Small regions of one mask


def test_a_small_hole_is_filled():
    mask = drawing("######", "#.####", "######", "######")
    assert mended(mask, 2) == (["######"] * 4, True)


def test_a_hole_as_large_as_the_minimum_stays():
    rows = ["######", "#..###", "######", "######"]
    assert mended(drawing(*rows), 2) == (rows, False)
    assert mended(drawing(*rows), 3) == (["######"] * 4, True)


def test_a_sliver_of_background_at_the_border_is_filled_like_a_hole():
    mask = drawing(".#####", ".#####", "######", "......", "......")
    assert mended(mask, 3) == (["######", "######", "######", "......", "......"], True)


def test_a_small_island_is_dropped():
    mask = drawing("......", ".###..", ".###..", ".....#")
    assert mended(mask, 2) == (["......", ".###..", ".###..", "......"], True)


def test_an_island_as_large_as_the_minimum_stays():
    rows = ["##....", "##....", "......", "....##"]
    assert mended(drawing(*rows), 2) == (rows, False)
    assert mended(drawing(*rows), 3) == (["##....", "##....", "......", "......"], True)


def test_pixels_of_a_mask_that_meet_at_a_corner_are_one_island():
    rows = ["##....", "##....", "..##..", "..##.."]
    assert mended(drawing(*rows), 8) == (rows, False)


def test_pixels_of_a_hole_that_meet_at_a_corner_are_one_hole():
    rows = ["######", "#.####", "##.###", "######", "######"]
    assert mended(drawing(*rows), 2) == (rows, False)
    assert mended(drawing(*rows), 3) == (["######"] * 5, True)


def test_holes_are_filled_before_islands_are_counted():
    # Eight pixels around a hole: with it nine, so that the island is not small.
    mask = drawing("###..###", "#.#..###", "###..###", "........")
    assert mended(mask, 9) == (["###..###", "###..###", "###..###", "........"], True)


def test_a_hole_made_by_dropping_an_island_is_not_filled_again():
    # The middle is an island of one pixel inside background of eight.
    mask = drawing("#####", "#...#", "#.#.#", "#...#", "#####")
    assert mended(mask, 5) == (["#####", "#...#", "#...#", "#...#", "#####"], True)


def test_of_small_islands_only_the_largest_stays():
    mask = drawing("##......", "........", ".....###", "........")
    assert mended(mask, 4) == (["........", "........", ".....###", "........"], True)


def test_of_small_islands_of_one_size_the_first_stays():
    mask = drawing("......##", "........", "##......", "........")
    assert mended(mask, 4) == (["......##", "........", "........", "........"], True)


def test_a_single_small_island_stays_but_counts_as_changed():
    rows = ["......", "..#...", "......"]
    assert mended(drawing(*rows), 5) == (rows, True)


def test_a_mask_without_small_regions_is_unchanged():
    rows = ["######", "#....#", "#....#", "######"]
    assert mended(drawing(*rows), 8) == (rows, False)


@pytest.mark.parametrize("pixel", [".", "#"])
def test_masks_of_all_or_nothing_are_unchanged(pixel):
    rows = [pixel * 6] * 3
    assert mended(drawing(*rows), 18) == (rows, False)


def test_an_empty_mask_in_a_tiny_image_is_one_small_hole():
    assert mended(drawing("...", "..."), 7) == (["###", "###"], True)


# Small regions of candidates


@pytest.fixture
def with_specks():
    """0: with a hole; 1: with an island far away; 2: neither."""
    hole, island = block(2, 2, 12, 12), block(20, 2, 28, 12)
    hole[5, 5] = False
    island[30, 50] = True
    return candidates([hole, island, block(40, 2, 50, 12)], [0.9, 0.8, 0.7], [0.5, 0.6, 0.7])


def test_zero_leaves_masks_with_small_regions_alone(with_specks):
    results = select(with_specks, KEEP_ALL)
    assert [result.rle for result in results] == list(with_specks.rles)
    assert [result.box_xyxy[2:] for result in results] == [(12, 12), (50, 30), (50, 12)]


def test_a_changed_mask_gets_a_new_box_and_area_and_keeps_its_scores(with_specks):
    unchanged, hole, island = select(with_specks, settings(min_mask_region_area=4))
    np.testing.assert_array_equal(hole.array(), block(2, 2, 12, 12))
    np.testing.assert_array_equal(island.array(), block(20, 2, 28, 12))
    assert unchanged.rle == with_specks.rles[2]
    assert (hole.area_px, island.area_px) == (121, 99)
    assert (hole.box_xyxy, island.box_xyxy) == ((2, 2, 12, 12), (20, 2, 28, 12))
    assert [round(mask.pred_iou, 6) for mask in (unchanged, hole, island)] == [0.7, 0.9, 0.8]
    assert [round(mask.stability_score, 6) for mask in (hole, island)] == [0.5, 0.6]


def test_unchanged_masks_come_first_then_changed_ones_in_their_order(with_specks):
    assert selected(with_specks, settings(min_mask_region_area=4)) == [2, 0, 1]


def test_the_smallest_minimum_finds_no_region_small(with_specks):
    assert selected(with_specks, settings(min_mask_region_area=1)) == [0, 1, 2]


def test_an_unchanged_mask_wins_over_a_changed_one_of_higher_predicted_iou():
    speckled = block(2, 2, 12, 12)
    speckled[30, 50] = True
    found = candidates([speckled, block(2, 2, 12, 12)], [0.9, 0.8])
    assert selected(found, KEEP_ALL) == [0, 1]
    assert selected(found, settings(min_mask_region_area=4)) == [1]


def test_of_two_changed_duplicates_the_first_stays():
    first, second = block(2, 2, 12, 12), block(2, 2, 12, 12)
    first[30, 50] = second[30, 20] = True
    found = candidates([first, second], [0.8, 0.9])
    assert selected(found, settings(min_mask_region_area=4)) == [1]


@pytest.mark.parametrize("larger", ["box_nms_thresh", "crop_nms_thresh"])
def test_the_last_suppression_is_at_the_larger_of_the_two_thresholds(larger):
    # Before: IoU under 0.3 because of the specks. After: 70 / 100.
    one, other = block(2, 2, 12, 12), block(2, 2, 12, 9)
    one[38, 2], other[2, 58] = True, True
    found = candidates([one, other])
    thresholds = {"box_nms_thresh": 0.4, "crop_nms_thresh": 0.4}
    config = settings(min_mask_region_area=4, **thresholds)
    assert selected(found, config) == [0]
    assert selected(found, dataclasses.replace(config, **{larger: 0.71})) == [0, 1]


@pytest.mark.parametrize("nb_layers", [0, 1])
def test_selection_does_not_change_its_candidates(with_specks, nb_layers):
    rles = [dict(rle) for rle in with_specks.rles]
    before = {name: getattr(with_specks, name).clone() for name in COLUMNS}
    select(with_specks, settings(min_mask_region_area=4, crop_n_layers=nb_layers))
    assert list(with_specks.rles) == rles
    for name in COLUMNS:
        assert torch.equal(getattr(with_specks, name), before[name]), name


def test_selection_gives_the_same_twice(with_specks):
    config = settings(min_mask_region_area=4)
    assert select(with_specks, config) == select(with_specks, config)


# Candidates in a file


def test_masks_are_selected_anew_without_the_model(noise, tmp_path):
    """As `generate` with those settings finds them, to the bit."""
    model = wide_model()
    floors = settings(points_per_side=7, crop_n_layers=1, pred_iou_thresh=0.0)
    candidates = amg_cli.propose(model, noise, floors)
    candidates.save(tmp_path / "a.npz")
    loaded = amg_cli.Candidates.load(tmp_path / "a.npz")
    median = float(candidates.pred_iou.median())
    for changes in (
        {},
        {"pred_iou_thresh": median},
        {"stability_score_thresh": float(candidates.stability_score.median())},
        {"box_nms_thresh": 0.5, "crop_nms_thresh": 0.4},
        {"nms": "mask", "min_area": "1%"},
        {"min_mask_region_area": 20},
    ):
        config = dataclasses.replace(floors, **changes)
        assert amg_cli.select(loaded, config) == amg_cli.generate(noise, model, config)
    saved = (tmp_path / "a.npz").read_bytes()
    loaded.save(tmp_path / "b.npz")
    assert (tmp_path / "b.npz").read_bytes() == saved


def test_no_candidates_are_kept_too(tmp_path):
    amg_cli.Candidates.empty().save(tmp_path / "none.npz")
    found = amg_cli.Candidates.load(tmp_path / "none.npz")
    assert len(found) == 0
    assert amg_cli.select(found, GenerationConfig()) == []


@pytest.mark.parametrize("damage", ["cut", "foreign", "none", "newer", "older", "text", "rows"])
def test_a_file_of_candidates_that_is_none_is_named(damage, noise, tmp_path):
    path = tmp_path / "a.npz"
    amg_cli.propose(wide_model(), noise, settings(points_per_side=2)).save(path)
    values = dict(np.load(path))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "foreign":
        path.write_bytes(b"no such file")
    elif damage == "none":
        path.unlink()
    else:
        changes = {
            "newer": {"version": np.array(99)},
            "older": {"version": np.array(1)},
            "text": {"text": values["text"][:-3]},
            "rows": {"rows": values["rows"][:-1]},
        }
        np.savez(path, **(values | changes[damage]))
    with pytest.raises(InputError) as caught:
        amg_cli.Candidates.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
