"""COCO files of true segments: what is in them, and what is refused."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.evaluate.truth import Segment, read_coco, to_rle
from tests.conftest import shared
from tests.eval_data import coco_image, drawing, segment, true_image, write_json

SIZE_HW = (4, 6)
SHAPE = drawing("......", ".##...", ".##...", "..#...")
RUNS = [5, 2, 2, 3, 12]  # of SHAPE, column by column
SQUARE_POLYGON = [1, 1, 4, 1, 4, 3, 1, 3]
SQUARE = drawing("......", ".###..", ".###..", "......")


def read(tmp_path, annotations, categories=None, images=None):
    """What is read of a file of these, with image 7 unless others are given."""
    data = {"images": images or [coco_image(7, "a.jpg", SIZE_HW)], "annotations": annotations}
    if categories is not None:
        data["categories"] = categories
    return read_coco(write_json(tmp_path / "truth.json", data))


def annotation(segmentation=None, **more):
    return {"image_id": 7, "segmentation": segmentation or rle_codec.encode(SHAPE)} | more


def refused(path):
    """The one line of the error, without the path that it begins with."""
    with pytest.raises(InputError) as caught:
        read_coco(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        (rle_codec.encode(SHAPE), SHAPE),
        ({"size": [4, 6], "counts": RUNS}, SHAPE),
        ([SQUARE_POLYGON], SQUARE),
        ([[0, 0, 1, 0, 1, 1, 0, 1], SQUARE_POLYGON], SQUARE | drawing("#.....", *["......"] * 3)),
    ],
    ids=["RLE", "uncompressed RLE", "polygon", "two polygons"],
)
def test_a_segmentation_of_each_kind_gives_the_pixels_it_was_drawn_with(segmentation, expected):
    rle = to_rle(segmentation, SIZE_HW)
    np.testing.assert_array_equal(rle_codec.decode(rle), expected)
    assert rle == rle_codec.encode(expected)


def test_any_polygons_and_runs_give_the_mask_of_pycocotools(tmp_path):
    random = np.random.default_rng(3)
    size_hw = (37, 53)
    images = [coco_image(i, f"{i}.jpg", size_hw) for i in (3, 1)]
    annotations = [
        {
            "id": i,
            "image_id": int(random.choice([1, 3])),
            "segmentation": (random.random((random.integers(1, 4), 10)) * 60 - 3).tolist(),
        }
        for i in range(1, 60)
    ]
    runs = np.diff([0, *sorted(random.integers(0, 37 * 53, 8).tolist()), 37 * 53]).tolist()
    more = {"id": 60, "image_id": 3, "segmentation": {"size": [37, 53], "counts": runs}}
    annotations.append(more)
    found = read(tmp_path, annotations, images=images)
    theirs = COCO(tmp_path / "truth.json")
    assert [image.image_id for image in found] == [3, 1]
    for image in found:
        expected = theirs.loadAnns(theirs.getAnnIds(imgIds=[image.image_id]))
        assert len(image.segments) == len(expected) > 10
        for ours, other in zip(image.segments, expected, strict=True):
            mask = theirs.annToMask(other)
            np.testing.assert_array_equal(rle_codec.decode(ours.rle), mask.astype(bool))
            assert ours.area_px == mask.sum()


def test_a_segment_keeps_its_stated_area_and_whether_it_is_a_crowd(tmp_path):
    (image,) = read(
        tmp_path, [annotation(area=99.5, iscrowd=1), annotation(iscrowd=0), annotation(area=3)]
    )
    rle = rle_codec.encode(SHAPE)
    assert image == true_image(
        Segment(rle, 99.5, is_crowd=True), Segment(rle, 5.0), Segment(rle, 3.0),
        size_hw=SIZE_HW, image_id=7,
    )  # fmt: skip


def test_thing_or_stuff_is_said_by_the_annotation_else_its_category_else_not_at_all(tmp_path):
    (image,) = read(
        tmp_path,
        [
            annotation(category_id=1),
            annotation(category_id=2),
            annotation(category_id=3),
            annotation(category_id=1, isthing=0),
            annotation(category_id=2, isthing=1),
            annotation(isthing=1),
            annotation(),
            annotation(category_id=99),
        ],
        categories=[{"id": 1, "isthing": 1}, {"id": 2, "isthing": 0}, {"id": 3, "name": "a"}],
    )
    expected = [True, False, None, False, True, True, None, None]
    assert [segment.is_thing for segment in image.segments] == expected


def test_of_kind_keeps_the_things_or_the_stuff_and_never_what_is_neither():
    thing, stuff = segment(SHAPE, is_thing=True), segment(SQUARE, is_thing=False)
    image = true_image(thing, stuff, segment(SHAPE), size_hw=SIZE_HW)
    assert image.of_kind(is_thing=True) == true_image(thing, size_hw=SIZE_HW)
    assert image.of_kind(is_thing=False) == true_image(stuff, size_hw=SIZE_HW)


def test_images_come_in_the_files_order_with_or_without_segments(tmp_path):
    images = [coco_image(9, "z.jpg", (2, 3)), coco_image(7, "a.jpg", SIZE_HW)]
    found = read(tmp_path, [annotation()], images=images)
    assert [(image.file_name, image.size_hw, len(image.segments)) for image in found] == [
        ("z.jpg", (2, 3), 0),
        ("a.jpg", SIZE_HW, 1),
    ]


def test_the_truth_of_coco_dev_has_the_pixels_of_pycocotools():
    path = shared("data/coco_dev/instances.json")
    found, theirs = read_coco(path)[:6], COCO(path)
    assert sum(len(image.segments) for image in found) > 20
    for image in found:
        for ours, other in zip(image.segments, theirs.imgToAnns[image.image_id], strict=True):
            np.testing.assert_array_equal(ours.is_crowd, other["iscrowd"])
            assert (rle_codec.decode(ours.rle) == theirs.annToMask(other)).all()


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path):
    assert refused(tmp_path / "none.json") == "No such file or directory; check `truth`"
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder") == "Is a directory; check `truth`"


NOT_COCO = {
    "": "JSONDecodeError",
    "[1, 2": "JSONDecodeError",
    "[]": "AttributeError",
    "null": "AttributeError",
    "{}": "KeyError: 'images'",
    '{"images": []}': "KeyError: 'annotations'",
    '{"images": 3, "annotations": []}': "TypeError",
    '{"images": [{"id": 1}], "annotations": []}': "KeyError: 'height'",
    '{"images": [], "annotations": [], "categories": null}': "TypeError",
    '{"images": [], "annotations": [{"image_id": 5, "segmentation": []}]}': "KeyError: 5",
    "[" * 100_000: "RecursionError",
    "é".encode("latin-1"): "UnicodeDecodeError",
}


@pytest.mark.parametrize("text", NOT_COCO, ids=lambda text: repr(text)[:60])
def test_json_of_another_kind_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    line = refused(path)
    assert line.startswith(f"not COCO instances ({NOT_COCO[text]}")
    assert line.endswith(
        "; it must hold images with id, file_name, height, width; "
        "annotations with image_id, segmentation"
    )


NOT_MASKS = {
    "of another size": rle_codec.encode(SHAPE.T),
    "runs too long": {"size": [4, 6], "counts": [20, 5]},
    "runs too short": {"size": [4, 6], "counts": [20, 3]},
    "runs below 0": {"size": [4, 6], "counts": [20, -1, 5]},
    "runs of huge numbers": {"size": [4, 6], "counts": [2**40]},
    "no runs": {"size": [4, 6], "counts": []},
    "compressed runs too short": {"size": [4, 6], "counts": "13"},
    "compressed runs cut short": {"size": [4, 6], "counts": "1P"},
    "compressed runs too long": {"size": [4, 6], "counts": "1PP1"},
    "empty text": {"size": [4, 6], "counts": ""},
    "other text": {"size": [4, 6], "counts": "hello world ~~~"},
    "text that is not ASCII": {"size": [4, 6], "counts": "é"},
    "a number without end": {"size": [4, 6], "counts": "o" * 99 + "0"},
    "nothing for counts": {"size": [4, 6], "counts": None},
    "no counts": {"size": [4, 6]},
    "no size": {"counts": "h0"},
    "no polygons": [],
    "an empty polygon": [[]],
    "two points": [[1, 1, 3, 3]],
    "an odd number of numbers": [[1, 1, 3, 3, 2, 2, 1]],
    "no numbers": [[1, 1, 3, 3, 2, None]],
    "not a number": [[1, 1, 3, 3, 2, float("nan")]],
    "a polygon without end": [[1, 1, 3, 3, 2, 1e12]],
    "numbers and no list": [1, 2, 3],
    "text": "hello",
    "a number": 5,
}


@pytest.mark.parametrize("name", NOT_MASKS)
def test_what_is_no_mask_of_the_image_is_refused_before_pycocotools_hangs_on_it(name, tmp_path):
    data = {"images": [coco_image(7, "a.jpg", SIZE_HW)]}
    data["annotations"] = [{"image_id": 7, "segmentation": NOT_MASKS[name]}]
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert refused(tmp_path / "a.json").startswith("not COCO instances (")
