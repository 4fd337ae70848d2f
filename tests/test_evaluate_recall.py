"""Average recall, image by image, against COCOeval on the whole set at once."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from amg_cli.core import rle as rle_codec
from amg_cli.evaluate.recall import IOU_THRESHOLDS, SIZES, RecallTally
from tests.eval_data import block, made, segment, true_image

SIZE_HW = (240, 320)
NB_IMAGES = 40


def ellipse(random):
    """Pixels of a small, medium or large blob, which may be cut by the edge."""
    height, width = SIZE_HW
    ys, xs = np.mgrid[:height, :width]
    ry, rx = random.choice([5, 20, 60], 2) * random.uniform(0.8, 1.5, 2)
    y, x = random.integers(0, height), random.integers(0, width)
    return ((ys - y) / ry) ** 2 + ((xs - x) / rx) ** 2 <= 1


def near(pixels, random):
    """About the same pixels: a mask that may or may not match."""
    shifted = np.roll(pixels, random.integers(-4, 5, 2), axis=(0, 1))
    return pixels | shifted if random.random() < 0.5 else shifted


def random_image(i, random):
    """Some true segments, some of them crowds, and masks: near ones, repeats, strangers."""
    shapes = [ellipse(random) for _ in range(0 if i % 7 == 3 else random.integers(1, 9))]
    segments = [
        segment(shape, is_crowd=bool(random.random() < 0.2), is_thing=bool(random.random() < 0.5))
        for shape in shapes
        if shape.any()
    ]
    found = [near(shape, random) for shape in shapes for _ in range(random.integers(0, 5))]
    found += [ellipse(random) for _ in range(random.integers(0, 8))]
    random.shuffle(found)
    if i % 5 == 4:
        found = []
    # One decimal: many scores are equal.
    masks = [made(pixels, pred_iou=float(random.integers(11)) / 10) for pixels in found]
    return true_image(*segments, size_hw=SIZE_HW, image_id=i), masks


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(11)
    return [random_image(i, random) for i in range(NB_IMAGES)]


def index(images, annotations):
    coco = COCO()
    height, width = SIZE_HW
    coco.dataset = {
        "images": [{"id": truth.image_id, "height": height, "width": width} for truth, _ in images],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": [{"id": i} | each for i, each in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco


def whole_set_recall(images):
    """COCOeval's recall, (T, sizes, K), of one evaluation of all images."""
    true = [
        {"image_id": truth.image_id, "category_id": 1, "segmentation": each.rle}
        | {"area": each.area_px, "iscrowd": int(each.is_crowd)}
        for truth, _ in images
        for each in truth.segments
    ]
    found = [
        {"image_id": truth.image_id, "category_id": 2, "segmentation": each.rle}
        | {"area": rle_codec.area(each.rle), "iscrowd": 0, "score": each.pred_iou}
        for truth, masks in images
        for each in masks
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(index(images, true), index(images, found), "segm")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [10, 100, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["recall"][:, 0]


def tally_of(images):
    tally = RecallTally()
    for truth, masks in images:
        tally.add(truth, masks)
    return tally


def assert_equal_to_the_whole_set(images):
    expected, tally = whole_set_recall(images), tally_of(images)
    assert expected.shape == (10, 4, 3)
    assert (expected >= 0).all()
    with np.errstate(invalid="ignore"):
        ours = (tally.found / tally.count[:, None, None]).transpose(2, 0, 1)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
    for size, name in enumerate(SIZES):
        assert tally.curve(name) == pytest.approx(expected[:, size, 2].tolist(), abs=1e-12)
    means = expected.mean(axis=0)
    assert tally.scores() == pytest.approx(
        {
            "AR@10": means[0, 0],
            "AR@100": means[0, 1],
            "AR@1000": means[0, 2],
            "AR@1000 small": means[1, 2],
            "AR@1000 medium": means[2, 2],
            "AR@1000 large": means[3, 2],
        }
    )
    return means


def test_image_by_image_recall_is_cocoevals_on_the_whole_set(images):
    counts = [len(masks) for _, masks in images]
    segments = [each for truth, _ in images for each in truth.segments]
    assert max(counts) > 10
    assert min(counts) == 0
    assert sum(each.is_crowd for each in segments) > 10
    assert any(not truth.segments and masks for truth, masks in images)
    assert any(not truth.segments and not masks for truth, masks in images)
    means = assert_equal_to_the_whole_set(images)
    assert 0.1 < means[0, 0] < means[0, 1] < 0.9  # the first ten do not find all


@pytest.mark.parametrize("is_thing", [True, False])
def test_recall_of_things_or_of_stuff_is_cocoevals_on_these_alone(images, is_thing):
    assert_equal_to_the_whole_set([(truth.of_kind(is_thing), masks) for truth, masks in images])


def test_the_first_hundred_of_many_masks_are_the_best_scored():
    truth = true_image(segment(block(SIZE_HW, 0, 0, 50, 50)), size_hw=SIZE_HW)
    strangers = [made(block(SIZE_HW, 60, i, 100, i + 9), pred_iou=0.5) for i in range(100)]
    late = made(block(SIZE_HW, 0, 0, 50, 50), pred_iou=0.4)
    early = made(block(SIZE_HW, 0, 0, 50, 50), pred_iou=0.6)
    scores = tally_of([(truth, [*strangers, late])]).scores()
    assert (scores["AR@10"], scores["AR@100"], scores["AR@1000"]) == (0, 0, 1)
    assert tally_of([(truth, [*strangers, early])]).scores()["AR@10"] == 1


def test_a_curve_worked_by_hand():
    # 10 x 100 pixels against 10 x 72 of them: an IoU of 0.72, found at 0.5, 0.55, … 0.7.
    truth = true_image(
        segment(block(SIZE_HW, 0, 0, 10, 100)),
        segment(block(SIZE_HW, 50, 0, 60, 100)),
        size_hw=SIZE_HW,
    )
    tally = tally_of([(truth, [made(block(SIZE_HW, 0, 0, 10, 72))])])
    assert np.allclose(IOU_THRESHOLDS, [0.5 + i * 0.05 for i in range(10)])
    assert tally.curve() == tally.curve("small") == [0.5] * 5 + [0.0] * 5  # 1000 < 32²
    assert tally.scores()["AR@1000"] == 0.25
    assert all(math.isnan(share) for share in tally.curve("medium") + tally.curve("large"))


def test_an_area_of_a_boundary_counts_on_both_sides_as_in_cocoeval():
    square = segment(block(SIZE_HW, 0, 0, 32, 32))
    tally = tally_of([(true_image(square, size_hw=SIZE_HW), [])])
    assert tally.count.tolist() == [1, 1, 1, 0]


def test_a_mask_inside_a_crowd_neither_finds_anything_nor_is_the_crowd_counted():
    crowd = segment(block(SIZE_HW, 0, 0, 50, 50), is_crowd=True)
    tally = tally_of([(true_image(crowd, size_hw=SIZE_HW), [made(block(SIZE_HW, 0, 0, 50, 50))])])
    assert (tally.found.sum(), tally.count.sum()) == (0, 0)


def test_without_segments_there_is_no_recall():
    empty = true_image(size_hw=SIZE_HW)
    for masks in ([], [made(block(SIZE_HW, 0, 0, 9, 9))]):
        tally = tally_of([(empty, masks)])
        assert all(math.isnan(value) for value in tally.scores().values())
        assert all(math.isnan(value) for value in tally.curve())


def test_segments_without_masks_have_a_recall_of_0():
    tally = tally_of([(true_image(segment(block(SIZE_HW, 0, 0, 9, 9)), size_hw=SIZE_HW), [])])
    assert tally.scores()["AR@10"] == 0
