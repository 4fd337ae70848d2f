"""Candidates as columns, and one mask as a record."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli.core import rle as rle_codec
from amg_cli.core.candidates import COLUMNS, Candidates
from amg_cli.core.mask import Mask
from amg_cli.formats.reference_record import reference_record

PIXELS = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]], dtype=bool)


def candidates(count, first=0):
    """`count` of them, each value of each column different. 3 x 9 pixels."""
    numbers = torch.arange(first, first + count)
    four = torch.tensor([0, 100, 200, 300])
    masks = np.zeros((count, 3, 9), dtype=bool)
    for i in range(count):
        masks[i, 0, : first + i + 1] = True
    return Candidates(
        rles=tuple(rle_codec.encode_all(masks)),
        boxes_xyxy=numbers[:, None] + four,
        areas_px=numbers + 1,
        pred_iou=numbers / 16,
        stability_score=numbers / 32,
        points_xy=numbers[:, None].double() + torch.tensor([0.25, 0.5]),
        crop_boxes_xyxy=numbers[:, None] + four + 1000,
    )


def assert_same(found, wanted):
    assert found.rles == wanted.rles
    for column in COLUMNS:
        ours, theirs = getattr(found, column), getattr(wanted, column)
        assert ours.dtype == theirs.dtype, column
        assert torch.equal(ours, theirs), column


def assert_picks(found, places):
    """`found` is the 5 candidates' entries at `places`, in every column."""
    assert len(found) == len(places)
    assert [rle_codec.area(rle) for rle in found.rles] == [place + 1 for place in places]
    whole = candidates(5)
    for column in COLUMNS:
        wanted = [getattr(whole, column)[place].tolist() for place in places]
        assert getattr(found, column).tolist() == wanted, column


@pytest.fixture
def mask():
    return Mask(rle_codec.encode(PIXELS), (1, 1, 3, 2), 0.9, 0.96, (1.5, 2.25), (0, 1, 4, 3))


def test_their_number_is_that_of_the_masks():
    assert len(candidates(5)) == 5
    assert len(Candidates.empty()) == 0


def test_a_bool_keeps_those_that_are_true_in_order():
    keep = torch.tensor([True, False, False, True, True])
    assert_picks(candidates(5)[keep], [0, 3, 4])


def test_indices_give_their_order_and_may_repeat():
    assert_picks(candidates(5)[torch.tensor([3, 0, 3])], [3, 0, 3])


@pytest.mark.parametrize(
    "keep", [torch.zeros(5, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)]
)
def test_keeping_none_is_the_empty_candidates(keep):
    assert_same(candidates(5)[keep], Candidates.empty())


def test_keeping_does_not_change_the_whole():
    whole = candidates(5)
    assert_picks(whole[torch.tensor([4, 1])], [4, 1])
    assert_same(whole, candidates(5))


def test_parts_are_joined_in_order():
    assert_same(Candidates.concat([candidates(2), candidates(3, first=2)]), candidates(5))


def test_empty_parts_add_nothing():
    parts = [Candidates.empty(), candidates(2), Candidates.empty(), candidates(3, first=2)]
    assert_same(Candidates.concat(parts), candidates(5))


def test_no_parts_are_the_empty_candidates():
    assert_same(Candidates.concat([]), Candidates.empty())


def test_the_empty_candidates_have_columns_of_the_documented_types():
    nothing = Candidates.empty()
    assert nothing.boxes_xyxy.shape == nothing.crop_boxes_xyxy.shape == (0, 4)
    assert nothing.points_xy.shape == (0, 2)
    assert nothing.pred_iou.shape == nothing.stability_score.shape == (0,)
    assert nothing.boxes_xyxy.dtype == nothing.crop_boxes_xyxy.dtype == torch.int64
    assert nothing.pred_iou.dtype == nothing.stability_score.dtype == torch.float32
    assert nothing.points_xy.dtype == torch.float64
    assert nothing.masks() == []


def test_each_candidate_becomes_a_mask_of_plain_python_values():
    found = candidates(3).masks()
    assert found == [
        Mask(
            rle=candidates(3).rles[i],
            box_xyxy=(i, i + 100, i + 200, i + 300),
            pred_iou=i / 16,
            stability_score=i / 32,
            point_xy=(i + 0.25, i + 0.5),
            crop_box_xyxy=(i + 1000, i + 1100, i + 1200, i + 1300),
        )
        for i in range(3)
    ]
    assert [type(value) for value in found[0].box_xyxy + found[0].crop_box_xyxy] == [int] * 8
    assert type(found[0].pred_iou) is float
    assert isinstance(found[0].box_xyxy, tuple)
    assert isinstance(found[0].point_xy, tuple)
    assert isinstance(found[0].crop_box_xyxy, tuple)


def test_columns_of_different_lengths_are_no_masks():
    wrong = dataclasses.replace(candidates(3), pred_iou=torch.zeros(2))
    with pytest.raises(ValueError, match="zip"):
        wrong.masks()


def test_candidates_and_masks_do_not_change(mask):
    with pytest.raises(dataclasses.FrozenInstanceError):
        candidates(1).pred_iou = torch.zeros(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mask.pred_iou = 0.0


def test_a_masks_pixels_and_area_are_those_of_its_rle(mask):
    np.testing.assert_array_equal(mask.array(), PIXELS, strict=True)
    assert mask.area_px == 5


def record_of(mask, *output_mode):
    """The record and, apart, its segmentation."""
    record = reference_record(mask, *output_mode)
    return record.pop("segmentation"), record


def test_a_record_has_the_references_fields_in_its_order(mask):
    assert list(reference_record(mask)) == [
        "segmentation",
        "area",
        "bbox",
        "predicted_iou",
        "point_coords",
        "stability_score",
        "crop_box",
    ]


def test_boxes_in_a_record_are_xywh_without_one_more(mask):
    _, record = record_of(mask)
    assert record["bbox"] == [1, 1, 2, 1]
    assert record["crop_box"] == [0, 1, 4, 2]


def test_the_rest_of_a_record_is_the_same_in_every_mode(mask):
    wanted = {
        "area": 5,
        "bbox": [1, 1, 2, 1],
        "predicted_iou": 0.9,
        "point_coords": [[1.5, 2.25]],
        "stability_score": 0.96,
        "crop_box": [0, 1, 4, 2],
    }
    for mode in ("binary_mask", "uncompressed_rle", "coco_rle"):
        assert record_of(mask, mode)[1] == wanted


def test_the_coco_segmentation_is_the_compressed_rle(mask):
    segmentation, _ = record_of(mask, "coco_rle")
    assert segmentation == rle_codec.encode(PIXELS)
    assert isinstance(segmentation["counts"], str)


def test_a_record_is_in_coco_mode_unless_asked_otherwise(mask):
    assert reference_record(mask) == reference_record(mask, "coco_rle")


def test_the_uncompressed_segmentation_is_size_and_runs(mask):
    segmentation, _ = record_of(mask, "uncompressed_rle")
    assert segmentation == {"size": [3, 4], "counts": [4, 2, 1, 2, 2, 1]}


def test_the_binary_segmentation_is_the_array(mask):
    segmentation, _ = record_of(mask, "binary_mask")
    np.testing.assert_array_equal(segmentation, PIXELS, strict=True)


def test_an_unknown_mode_is_refused_by_name(mask):
    modes = "binary_mask, uncompressed_rle or coco_rle"
    with pytest.raises(ValueError, match=f"^output_mode: {modes} are known, not 'png'$"):
        reference_record(mask, "png")


def test_changing_a_record_does_not_change_the_mask():
    mask = Mask(rle_codec.encode(PIXELS), (1, 1, 3, 2), 0.9, 0.95, (1.5, 1.5), (0, 0, 4, 3))
    for mode in ("coco_rle", "uncompressed_rle"):
        reference_record(mask, mode)["segmentation"]["size"][0] = 99
    assert mask.rle["size"] == [3, 4]
