"""The classical methods find flat rectangles, and write what `amg eval` reads."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from amg_cli.core import rle as rle_codec
from amg_cli.formats import reference_rle

pytest.importorskip("skimage")

from benchmarks import baselines

# Inclusive. Felzenszwalb's blur costs a rectangle two pixels all round, which small ones miss;
# superpixels find what is of their own size, 40 pixels a side when 25 are asked for.
RECTANGLES_XYXY = {
    "felzenszwalb": [(10, 8, 99, 107), (110, 10, 189, 109), (20, 115, 119, 194)],
    "slic": [(40, 40, 79, 79), (120, 40, 159, 79), (80, 120, 119, 159)],
}
COLOURS_BGR = [(40, 40, 220), (60, 200, 40), (230, 60, 40)]
SIZE_HW = (200, 202)


@pytest.fixture
def folder(method, tmp_path):
    """A folder whose `in` holds an image of three rectangles, each of one colour, on grey."""
    image = np.full((*SIZE_HW, 3), 128, np.uint8)
    for (x0, y0, x1, y1), colour in zip(RECTANGLES_XYXY[method], COLOURS_BGR, strict=True):
        image[y0 : y1 + 1, x0 : x1 + 1] = colour
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in/flat.png"), image)
    return tmp_path


@pytest.fixture
def method():
    """The method, where a test does not say."""
    return "felzenszwalb"


def run(folder, *arguments):
    given = [*arguments, "--input", str(folder / "in"), "--output", str(folder / "out")]
    return CliRunner().invoke(baselines.main, given)


def best_iou(masks, box_xyxy):
    x0, y0, x1, y1 = box_xyxy
    wanted = np.zeros(SIZE_HW, bool)
    wanted[y0 : y1 + 1, x0 : x1 + 1] = True
    return max((m.array() & wanted).sum() / (m.array() | wanted).sum() for m in masks)


def test_every_method_is_tried():
    assert RECTANGLES_XYXY.keys() == baselines.METHODS.keys()


@pytest.mark.parametrize("method", RECTANGLES_XYXY)
def test_flat_rectangles_are_found(method, folder):
    assert run(folder, method).exit_code == 0
    masks = reference_rle.read(folder / "out/flat.json")
    for box_xyxy in RECTANGLES_XYXY[method]:
        assert best_iou(masks, box_xyxy) > 0.9


@pytest.mark.parametrize("method", RECTANGLES_XYXY)
def test_records_keep_to_the_mask_and_the_image(method, folder):
    run(folder, method)
    masks = reference_rle.read(folder / "out/flat.json")
    assert len({mask.rle["counts"] for mask in masks}) == len(masks) > 3
    for rank, mask in enumerate(masks, start=1):
        ys, xs = mask.array().nonzero()
        x, y = (int(value) for value in mask.point_xy)
        assert mask.array()[y, x]
        assert mask.box_xyxy == (xs.min(), ys.min(), xs.max(), ys.max())
        assert mask.crop_box_xyxy == (0, 0, 202, 200)
        assert (mask.pred_iou, mask.stability_score) == (1 / rank, 1.0)


def test_pooled_regions_are_ranked_by_segmentation_then_area_and_come_once():
    coarse = np.array([[4, 4, 4, 4], [9, 9, 9, 4]])
    fine = np.array([[1, 1, 2, 2], [3, 3, 3, 2]])  # its region 3 is there already
    masks = baselines.pooled_masks(iter([coarse, fine]))
    regions = [coarse == 4, coarse == 9, fine == 2, fine == 1]
    assert [mask.rle for mask in masks] == [rle_codec.encode(region) for region in regions]


def test_of_regions_of_one_area_the_lower_label_comes_first():
    masks = baselines.pooled_masks(iter([np.array([[3, 3, 1, 1, 2, 2]])]))
    assert [mask.box_xyxy[0] for mask in masks] == [2, 4, 0]


def test_no_more_masks_are_written_than_asked_for(folder, method):
    run(folder, method, "--max-masks", "2")
    few = reference_rle.read(folder / "out/flat.json")
    (folder / "out/flat.json").unlink()
    run(folder, method)
    assert few == reference_rle.read(folder / "out/flat.json")[:2]


def test_what_is_there_already_is_left_alone(folder, method):
    run(folder, method)
    (folder / "out/flat.json").write_text("[]")
    assert run(folder, method).exit_code == 0
    assert json.loads((folder / "out/flat.json").read_text()) == []


def test_a_broken_image_costs_only_itself(folder, method):
    (folder / "in/broken.png").write_bytes(b"not an image")
    result = run(folder, method)
    assert result.exit_code == 3
    assert "broken.png: " in result.output
    assert [path.name for path in (folder / "out").iterdir()] == ["flat.json"]


def test_an_input_that_is_not_there_is_one_line(tmp_path):
    result = run(tmp_path, "slic")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "no such file or folder" in result.output
