"""Every format reads what it wrote, and what the reference wrote."""

import json

import numpy as np
import pytest

from amg_cli.core import rle
from amg_cli.core.mask import Mask
from amg_cli.formats import reference_png, reference_rle
from tests.conftest import GOLDENS
from tests.writing import write

FORMATS = [reference_png.FORMAT, reference_rle.FORMAT]


@pytest.fixture
def masks():
    tall = np.zeros((9, 5), bool)
    tall[2:8, 1:3] = True
    dot = np.zeros((9, 5), bool)
    dot[0, 4] = True
    return [
        Mask(rle.encode(tall), (1, 2, 2, 7), 0.9612345695495605, 0.97, (1.5, 4.25), (0, 0, 5, 9)),
        Mask(rle.encode(dot), (4, 0, 4, 0), 1.01, 0.95, (4.125, 0.5), (2, 0, 5, 4)),
    ]


@pytest.mark.parametrize("output_format", FORMATS, ids=["png", "rle"])
def test_what_was_written_is_read_back_unchanged(output_format, masks, tmp_path):
    path = tmp_path / f"image{output_format.suffix}"
    write(output_format, masks, path)
    assert output_format.read(path) == masks


@pytest.mark.parametrize("output_format", FORMATS, ids=["png", "rle"])
def test_no_masks_are_written_and_read(output_format, tmp_path):
    path = tmp_path / f"image{output_format.suffix}"
    write(output_format, [], path)
    assert output_format.read(path) == []


def test_metadata_is_the_reference_file_to_the_byte(masks, tmp_path):
    write(reference_png.FORMAT, masks, tmp_path / "image")
    assert (tmp_path / "image/metadata.csv").read_bytes() == (
        b"id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,"
        b"predicted_iou,stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h\n"
        b"0,12,1,2,1,5,1.5,4.25,0.9612345695495605,0.97,0,0,5,9\n"
        b"1,1,4,0,0,0,4.125,0.5,1.01,0.95,2,0,3,4"
    )


def test_a_file_of_the_reference_is_read_and_written_back_the_same(tmp_path):
    golden = json.loads((GOLDENS / "runs/crops.json").read_text())["masks"]
    (tmp_path / "theirs.json").write_text(json.dumps(golden))
    write(
        reference_rle.FORMAT, reference_rle.read(tmp_path / "theirs.json"), tmp_path / "ours.json"
    )
    assert json.loads((tmp_path / "ours.json").read_text()) == golden


def test_boxes_the_reference_wrote_as_floats_are_read(masks, tmp_path):
    write(reference_rle.FORMAT, masks, tmp_path / "ints.json")
    records = json.loads((tmp_path / "ints.json").read_text())
    for record in records:
        record["bbox"] = [float(side) for side in record["bbox"]]
    (tmp_path / "floats.json").write_text(json.dumps(records))
    assert reference_rle.read(tmp_path / "floats.json") == masks


def test_files_of_another_kind_are_a_value_error(tmp_path):
    (tmp_path / "coco.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"coco\.json: not a list of mask records"):
        reference_rle.read(tmp_path / "coco.json")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/metadata.csv").write_text("id,name\n0,x")
    with pytest.raises(ValueError, match=r"metadata\.csv has other columns"):
        reference_png.read(tmp_path / "folder")


def test_a_missing_png_is_an_os_error(masks, tmp_path):
    write(reference_png.FORMAT, masks, tmp_path / "image")
    (tmp_path / "image/1.png").unlink()
    with pytest.raises(FileNotFoundError):
        reference_png.read(tmp_path / "image")
