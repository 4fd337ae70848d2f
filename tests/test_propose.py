"""Proposals: of a tiny model with random weights, and of a stand-in that draws discs on demand."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
import torch

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import COLUMNS, Candidates
from amg_cli.core.frame import Frame
from amg_cli.generation import encoded_view
from amg_cli.generation.everything import generate
from amg_cli.generation.propose import propose
from amg_cli.generation.views import crops
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from tests.conftest import TINY, with_seeded_weights
from tests.stand_ins import KEEP_ALL, SIDE_PX, Discs, settings

# As an attribute of `amg_cli.generation` this is the function.
module = import_module("amg_cli.generation.propose")


def assert_identical(found, wanted):
    """Not nearly: every bit."""
    assert found.rles == wanted.rles
    for name in COLUMNS:
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert ours.dtype == theirs.dtype, name
        assert torch.equal(ours, theirs), name


def arrays(candidates):
    return [rle_codec.decode(rle) for rle in candidates.rles]


def first_of_three(candidates):
    """One candidate a point, of stand-ins that draw three equal masks."""
    return candidates[torch.arange(0, len(candidates), 3)]


def one_point(x, y):
    return [np.array([[x, y]])]


def blank(height, width):
    return np.zeros((height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So little work is done faster by one, and much faster where others use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# What does not matter


@pytest.fixture(scope="module")
def by_ones(tiny_model, module_noise):
    """A 9 x 9 grid, which is two groups, one point at a time."""
    return propose(tiny_model, module_noise, settings(points_per_side=9, points_per_batch=1))


@pytest.fixture(scope="module")
def module_noise():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize("points_per_batch", [3, 4, 7, 64, 1000])
def test_points_per_batch_changes_no_bit(tiny_model, module_noise, by_ones, points_per_batch):
    config = settings(points_per_side=9, points_per_batch=points_per_batch)
    assert_identical(propose(tiny_model, module_noise, config), by_ones)


def test_the_same_input_gives_the_same_bits(tiny_model, module_noise, by_ones):
    config = settings(points_per_side=9, points_per_batch=1)
    assert_identical(propose(tiny_model, module_noise, config), by_ones)


@pytest.mark.parametrize("threads", [2, 5])
def test_workers_change_no_bit(tiny_model, module_noise, by_ones, threads, monkeypatch):
    prepare = tiny_model.prepare

    def prepare_by_one(*given):  # what is shared out before the prompts rounds accordingly
        embedding = prepare(*given)
        torch.set_num_threads(threads)
        return embedding

    monkeypatch.setattr(tiny_model, "prepare", prepare_by_one)
    found = propose(tiny_model, module_noise, settings(points_per_side=9))
    torch.set_num_threads(1)
    assert_identical(found, by_ones)


def test_a_point_gives_the_same_bits_whatever_its_neighbours(tiny_model, noise):
    grid = np.array([[0.2, 0.3], [0.5, 0.5], [0.8, 0.1], [0.6, 0.9], [0.4, 0.7]])
    together = propose(tiny_model, noise, KEEP_ALL, [grid])
    alone = [propose(tiny_model, noise, KEEP_ALL, [point[None]]) for point in grid]
    assert len(together) == 15
    assert_identical(Candidates.concat(alone), together)


def test_the_image_may_lie_in_memory_in_any_order(tiny_model, noise):
    config = settings(points_per_side=2)
    mirrored_twice = np.ascontiguousarray(noise[:, ::-1])[:, ::-1]
    assert_identical(
        propose(tiny_model, mirrored_twice, config), propose(tiny_model, noise, config)
    )


def test_the_image_is_not_changed(tiny_model, noise):
    before = noise.copy()
    propose(tiny_model, noise, settings(points_per_side=2, crop_n_layers=1))
    np.testing.assert_array_equal(noise, before)


# Memory


@pytest.mark.parametrize(
    ("points_per_batch", "masks"),
    [(1, [48, 48, 12]), (16, [48, 48, 12]), (17, [96, 12]), (32, [96, 12]), (33, [108])],
)
def test_points_per_batch_rounded_up_to_groups_bounds_the_masks_drawn(
    points_per_batch, masks, monkeypatch
):
    drawn, measure = [], module.measure

    def counted(part, *rest):
        drawn.append(len(part.low_res))
        return measure(part, *rest)

    monkeypatch.setattr(module, "measure", counted)
    config = settings(points_per_side=6, points_per_batch=points_per_batch)
    propose(Discs(), blank(60, 90), config)
    assert drawn == masks


def test_each_group_places_its_own_points_alone(monkeypatch):
    """With a million points a view has sixty thousand groups."""
    placed, to_input_xy = [], Frame.to_input_xy

    def counted(frame, points_xy):
        placed.append(len(points_xy))
        return to_input_xy(frame, points_xy)

    monkeypatch.setattr(Frame, "to_input_xy", counted)
    propose(Discs(), blank(60, 90), settings(points_per_side=8))
    assert placed == [16] * 4


@pytest.mark.parametrize("points_per_side", [1, 4, 5])
def test_the_model_is_always_asked_for_sixteen_prompts(points_per_side):
    model = Discs()
    propose(model, blank(60, 90), settings(points_per_side=points_per_side))
    calls = -(-(points_per_side**2) // 16)
    assert model.nb_prompts == [16] * calls


# Which prompts appear, and where


@pytest.mark.parametrize("points_per_side", [1, 2, 3, 5])
def test_each_point_of_the_grid_has_its_three_masks_in_order(tiny_model, noise, points_per_side):
    found = propose(tiny_model, noise, settings(points_per_side=points_per_side))
    along = [(i + 0.5) / points_per_side for i in range(points_per_side)]
    points = [[90 * x, 60 * y] for y in along for x in along for _ in range(3)]
    np.testing.assert_allclose(found.points_xy, points, rtol=0, atol=1e-9)


def test_own_grids_replace_the_regular_ones(tiny_model, noise):
    found = propose(tiny_model, noise, settings(points_per_side=7), one_point(0.25, 0.75))
    assert found.points_xy.tolist() == [[22.5, 45.0]] * 3


def test_own_grids_belong_to_layers():
    grids = [np.array([[0.5, 0.5]]), np.array([[0.25, 0.5], [0.75, 0.5]])]
    found = propose(Discs(radii_px=(3, 3, 3)), blank(200, 240), settings(crop_n_layers=1), grids)
    whole, *parts = crops((200, 240), settings(crop_n_layers=1))
    wanted = [([120.0, 100.0], whole.box_xyxy)]
    for part in parts:
        x0, y0, x1, y1 = part.box_xyxy
        middle = y0 + (y1 - y0) * 0.5
        wanted += [([x0 + (x1 - x0) * x, middle], part.box_xyxy) for x in (0.25, 0.75)]
    assert len(wanted) == 9
    assert found.points_xy[::3].tolist() == [point for point, _ in wanted]
    assert found.crop_boxes_xyxy[::3].tolist() == [list(box) for _, box in wanted]


def test_without_crops_the_crop_is_the_image(tiny_model, noise):
    found = propose(tiny_model, noise, settings(points_per_side=2))
    assert found.crop_boxes_xyxy.tolist() == [[0, 0, 90, 60]] * 12


@pytest.mark.parametrize("image_hw", [(60, 90), (90, 60), (37, 200)])
def test_a_mask_lies_where_its_point_is(image_hw):
    height, width = image_hw
    found = propose(Discs(), blank(*image_hw), KEEP_ALL, one_point(0.25, 0.75))
    scale = SIDE_PX / max(image_hw)
    ys, xs = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(xs - width * 0.25, ys - height * 0.75) * scale
    for mask, radius in zip(arrays(found), (12, 16, 20), strict=True):
        assert mask.shape == image_hw
        assert mask[distance < radius - 1.5].all()
        assert not mask[distance > radius + 1.5].any()


def test_a_mask_of_a_crop_lies_where_its_point_is_in_the_image():
    image_hw, config = (160, 200), settings(crop_n_layers=1, points_per_side=1)
    found = first_of_three(propose(Discs(radii_px=(8, 8, 8)), blank(*image_hw), config))
    assert found.crop_boxes_xyxy.tolist() == [
        [0, 0, 200, 160],
        [0, 0, 127, 107],
        [0, 53, 127, 160],
        [73, 0, 200, 107],
        [73, 53, 200, 160],
    ]
    ys, xs = np.mgrid[:160, :200] + 0.5
    for i, mask in enumerate(arrays(found)):
        x0, y0, x1, y1 = found.crop_boxes_xyxy[i].tolist()
        point = ((x0 + x1) / 2, (y0 + y1) / 2)
        assert tuple(found.points_xy[i].tolist()) == point
        radius = 8 * max(x1 - x0, y1 - y0) / SIDE_PX
        distance = np.hypot(xs - point[0], ys - point[1])
        assert mask[distance < radius - 1.5].all()
        assert not mask[distance > radius + 1.5].any()


def test_a_mask_that_fills_a_crop_ends_where_the_crop_does(monkeypatch):
    monkeypatch.setattr(
        encoded_view, "touches_crop_edge", lambda boxes, *_: boxes[:, 0] != boxes[:, 0]
    )
    config = settings(crop_n_layers=1, points_per_side=1)
    found = first_of_three(propose(Discs(radii_px=(500, 500, 500)), blank(60, 100), config))
    wanted = [(0, 0, 100, 60), (0, 0, 60, 40), (0, 20, 60, 60), (40, 0, 100, 40), (40, 20, 100, 60)]
    for i, (x0, y0, x1, y1) in enumerate(wanted):
        mask = np.zeros((60, 100), dtype=bool)
        mask[y0:y1, x0:x1] = True
        np.testing.assert_array_equal(rle_codec.decode(found.rles[i]), mask)
        assert found.boxes_xyxy[i].tolist() == [x0, y0, x1 - 1, y1 - 1]


def test_each_crop_is_a_model_input_of_its_own(noise):
    model, config = Discs(), settings(crop_n_layers=1, points_per_side=1)
    propose(model, noise, config)
    assert len(model.seen) == 5
    for crop, seen in zip(crops((60, 90), config), model.seen, strict=True):
        x0, y0, x1, y1 = crop.box_xyxy
        frame = Frame.fit((y1 - y0, x1 - x0), TINY.input_size)
        assert torch.equal(seen, frame.model_input(noise[y0:y1, x0:x1], TINY.mean, TINY.std))


def test_a_mask_cut_by_an_inner_edge_of_its_crop_is_dropped():
    # Right of the middle of each crop's height: an inner edge in the left crops only.
    grids = [np.array([[0.5, 0.5]]), np.array([[0.9, 0.5]])]
    found = propose(Discs(radii_px=(8, 8, 8)), blank(160, 200), settings(crop_n_layers=1), grids)
    assert found.crop_boxes_xyxy[::3].tolist() == [
        [0, 0, 200, 160],
        [73, 0, 200, 107],
        [73, 53, 200, 160],
    ]


@pytest.mark.parametrize(("left", "top", "stays"), [(20, 20, 1), (21, 20, 0), (20, 21, 0)])
def test_a_mask_within_20_px_of_the_image_edge_may_touch_its_crop(left, top, stays):
    # A disc 5 pixels wide; in the crop at the lower right all is near the crop's every edge.
    middle = [(left + 2.5 - 15) / 15, (top + 2.5 - 15) / 15]
    config = settings(crop_n_layers=1, crop_overlap_ratio=0)
    model = Discs(radii_px=(2.7 * SIDE_PX / 15,) * 3)
    found = propose(model, blank(30, 30), config, [np.array([[0.5, 0.5]]), np.array([middle])])
    of_crop = found[(found.crop_boxes_xyxy == torch.tensor([15, 15, 30, 30])).all(dim=1)]
    assert of_crop.boxes_xyxy.tolist() == [[left, top, left + 4, top + 4]] * 3 * stays


def test_a_mask_at_the_edge_of_the_image_stays():
    found = propose(Discs(), blank(60, 90), KEEP_ALL, one_point(0.0, 0.0))
    assert len(found) == 3


# What is measured


def test_masks_are_those_of_logits_drawn_plainly_and_cut_at_the_threshold(tiny_model, noise):
    found = propose(tiny_model, noise, settings(points_per_side=3))
    frame = Frame.fit((60, 90), TINY.input_size)
    with torch.inference_mode():
        embedding = tiny_model.encode(frame.model_input(noise, TINY.mean, TINY.std))
        points = frame.to_input_xy(found.points_xy[::3].numpy())[:, None]
        decoded = tiny_model.decode(embedding, Prompts(points, torch.ones(9, 1)))
        logits = frame.to_image_logits(decoded.logits())
    assert len(found) == len(logits) == 27
    np.testing.assert_allclose(found.pred_iou, decoded.scores.flatten(), atol=1e-5)
    for mask, plain in zip(arrays(found), logits.numpy() > 0, strict=True):
        assert (mask != plain).sum() <= 5
    for i, plain in enumerate(logits.numpy()):
        stability = (plain > 1).sum() / max(1, (plain > -1).sum())
        assert found.stability_score[i] == pytest.approx(stability, abs=2e-3)


def test_boxes_are_those_of_the_decoded_masks_and_no_mask_is_empty(tiny_model, noise):
    found = propose(tiny_model, noise, settings(points_per_side=5))
    for mask, box in zip(arrays(found), found.boxes_xyxy.tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        assert box == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_columns_have_the_documented_types(tiny_model, noise):
    empty = Candidates.empty()
    for threshold in (0, 99):
        config = settings(points_per_side=2, pred_iou_thresh=threshold)
        found = propose(tiny_model, noise, config)
        for name in COLUMNS:
            column, wanted = getattr(found, name), getattr(empty, name)
            assert column.dtype == wanted.dtype
            assert column.shape == (len(found), *wanted.shape[1:])
            assert column.device.type == "cpu"


def test_an_empty_mask_is_left_out_even_where_all_are_kept():
    found = propose(Discs(radii_px=(12, -1, 20)), blank(60, 90), KEEP_ALL, one_point(0.5, 0.5))
    assert found.pred_iou.tolist() == [0.25, 0.75]


def test_a_logit_equal_to_the_models_threshold_is_outside_the_mask():
    found = propose(Discs(slope=0.0), blank(60, 90), KEEP_ALL, one_point(0.5, 0.5))
    assert len(found) == 0


def test_only_masks_above_the_predicted_iou_threshold_are_proposed():
    config = settings(pred_iou_thresh=0.5, points_per_side=3)
    found = propose(Discs(), blank(60, 90), config)
    assert found.pred_iou.tolist() == [0.75] * 9
    assert len(found.points_xy.unique(dim=0)) == 9
    areas = [mask.sum() for mask in arrays(found)]
    assert min(areas) > 0.5 * 20**2  # the largest of the discs: none of 16 px is larger than ~ 800


def test_where_no_mask_passes_the_proposals_are_empty(tiny_model, noise):
    found = propose(
        tiny_model, noise, settings(points_per_side=2, pred_iou_thresh=99, crop_n_layers=1)
    )
    assert_identical(found, Candidates.empty())


def test_only_masks_at_least_as_stable_as_the_threshold_are_proposed():
    # Logits of one a pixel: a disc of radius r is stable by ((r - 1) / (r + 1))^2.
    model, middle = Discs(radii_px=(5, 20, 40), slope=1.0), one_point(0.5, 0.5)
    image = blank(96, 96)
    found = propose(model, image, KEEP_ALL, middle)
    wanted = [((r - 1) / (r + 1)) ** 2 for r in (5, 20, 40)]
    np.testing.assert_allclose(found.stability_score, wanted, atol=0.03)
    kept = propose(model, image, settings(stability_score_thresh=0.7), middle)
    assert kept.pred_iou.tolist() == [0.5, 0.75]
    exactly = float(found.stability_score[1])
    kept = propose(model, image, settings(stability_score_thresh=exactly), middle)
    assert kept.pred_iou.tolist() == [0.5, 0.75]


def test_the_stability_offset_is_the_settings():
    model, middle = Discs(radii_px=(20, 20, 20), slope=1.0), one_point(0.5, 0.5)
    found = propose(model, blank(96, 96), settings(stability_score_offset=4), middle)
    np.testing.assert_allclose(found.stability_score, [(16 / 24) ** 2] * 3, atol=0.03)
    found = propose(model, blank(96, 96), settings(stability_score_offset=0), middle)
    assert found.stability_score.tolist() == [1.0] * 3


def test_the_models_own_threshold_cuts_masks_and_centres_the_stability_score():
    # At a threshold of 5 and a slope of 1, discs are 5 px smaller.
    model = Discs(radii_px=(20, 20, 20), slope=1.0, mask_threshold=5.0)
    found = propose(model, blank(96, 96), KEEP_ALL, one_point(0.5, 0.5))
    assert [mask.area_px for mask in found.masks()] == pytest.approx([np.pi * 15**2] * 3, rel=0.03)
    np.testing.assert_allclose(found.stability_score, [(14 / 16) ** 2] * 3, atol=0.03)


# Images


@pytest.mark.parametrize("crop_n_layers", [0, 2])
@pytest.mark.parametrize("image_hw", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_thin_images_are_done(tiny_model, image_hw, crop_n_layers):
    image = np.random.default_rng(4).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    found = propose(tiny_model, image, settings(points_per_side=2, crop_n_layers=crop_n_layers))
    assert len(found) > 0
    assert all(rle["size"] == list(image_hw) for rle in found.rles)
    assert all(mask.any() for mask in arrays(found))


def test_an_image_of_another_type_or_without_pixels_is_refused(tiny_model):
    with pytest.raises(ValueError, match=r"^image_rgb: \(H, W, 3\) uint8 is wanted, not "):
        propose(tiny_model, blank(6, 9).astype(np.float32), KEEP_ALL)
    with pytest.raises(ValueError, match=r"^image_rgb: the image has no pixels$"):
        propose(tiny_model, blank(0, 9), KEEP_ALL)


def test_a_wrong_number_of_grids_is_refused(tiny_model, noise):
    with pytest.raises(ValueError, match=r"^point_grids: 1 for 2 layers$"):
        propose(tiny_model, noise, settings(crop_n_layers=1), one_point(0.5, 0.5))


def test_what_is_wrong_is_said_before_the_model_runs():
    model = Discs()
    with pytest.raises(ValueError, match="point_grids"):
        propose(model, blank(6, 9), KEEP_ALL, [])
    assert model.seen == []


# Models


@pytest.mark.parametrize("image_hw", [(60, 90), (90, 60), (1, 300), (33, 33)])
def test_a_model_without_a_fixed_input_size_gets_whole_cells_only(image_hw):
    model = Sam(dataclasses.replace(TINY, fixed_input_size=False))
    model = with_seeded_weights(model)
    seen = []
    model.image_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    image = np.random.default_rng(5).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    found = propose(model, image, settings(points_per_side=2))
    assert TINY.stride == 16
    resized = [max(1, int(side * SIDE_PX / max(image_hw) + 0.5)) for side in image_hw]
    padded = [-(-side // 16) * 16 for side in resized]
    assert seen == [(1, 3, *padded)]
    assert 0 < len(found) <= 12
    assert all(rle["size"] == list(image_hw) for rle in found.rles)


def test_a_fixed_input_size_and_whole_cells_agree_where_nothing_is_padded(tiny_model):
    image = np.random.default_rng(6).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    free = with_seeded_weights(Sam(dataclasses.replace(TINY, fixed_input_size=False)))
    config = settings(points_per_side=2)
    assert_identical(propose(free, image, config), propose(tiny_model, image, config))


def test_no_gradient_is_recorded(noise):
    model = with_seeded_weights(Sam(TINY)).requires_grad_(True)
    recorded = []
    model.image_encoder.register_forward_hook(lambda *args: recorded.append(args[2]))
    found = propose(model, noise, settings(points_per_side=1))
    (embedding,) = recorded[0]
    assert isinstance(embedding, torch.Tensor)
    assert not embedding.requires_grad
    assert not found.pred_iou.requires_grad


# From an image to results


def test_generating_is_selecting_among_the_proposals():
    config = settings(points_per_side=2, box_nms_thresh=0.9)
    found = generate(blank(60, 90), Discs(), config)
    assert [mask.pred_iou for mask in found] == [0.75] * 4 + [0.5] * 4 + [0.25] * 4
    points = [[22.5, 15.0], [67.5, 15.0], [22.5, 45.0], [67.5, 45.0]]
    assert [list(mask.point_xy) for mask in found] == points * 3


def test_generating_drops_duplicates():
    found = generate(blank(60, 90), Discs(radii_px=(20, 20, 20)), settings(points_per_side=2))
    assert [mask.pred_iou for mask in found] == [0.75] * 4


def test_generating_without_settings_takes_the_references():
    model = Discs(scores=(0.88, 0.89, 0.5))
    found = generate(blank(60, 90), model, point_grids=one_point(0.5, 0.5))
    assert [round(mask.pred_iou, 6) for mask in found] == [0.89]
    model = Discs(scores=(0.88, 0.89, 0.5))
    generate(blank(60, 90), model)
    assert model.nb_prompts == [16] * 64
