"""COCO results files: split by image on the disk, and read back."""

import json
import math
import sys
import tracemalloc

import numpy as np
import pytest

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.evaluate.coco_results import image_file, read_image_results, split_by_image
from tests.eval_data import block, write_json

SIZE_HW = (6, 8)
NB_IMAGES = 40
FIELDS = "it must be a list of records with image_id, segmentation and score"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "split").mkdir()
    return tmp_path / "split"


def pixels(number):
    return block(SIZE_HW, 0, 0, 1, number)


def record(image_id, number, score=0.5):
    """A mask of the first so many pixels."""
    return {
        "image_id": image_id,
        "category_id": 1,
        "segmentation": rle_codec.encode(pixels(number)),
        "score": score,
    }


def masks_by_image(path, folder, image_ids):
    split_by_image(path, folder)
    return {i: read_image_results(image_file(folder, i), SIZE_HW) for i in image_ids}


def refused(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert "\\n" not in line
    return line


def test_masks_come_back_by_image_the_best_first_and_equal_ones_in_order(tmp_path, folder):
    data = [record(5, 1, 0.25), record(7, 2, 0.5), record(5, 3, 0.75), record(5, 4, 0.25)]
    found = masks_by_image(write_json(tmp_path / "a.json", data), folder, [5, 7])
    areas = {i: [(mask.area_px, mask.pred_iou) for mask in masks] for i, masks in found.items()}
    assert areas == {5: [(3, 0.75), (1, 0.25), (4, 0.25)], 7: [(2, 0.5)]}
    assert not image_file(folder, 6).exists()
    mask = found[7][0]
    np.testing.assert_array_equal(mask.array(), pixels(2))
    assert mask.rle == rle_codec.encode(pixels(2))
    assert math.isnan(mask.stability_score)


def test_polygons_and_uncompressed_runs_are_masks_too(tmp_path, folder):
    runs = {"size": [6, 8], "counts": [0, 1, 5, 1, 41]}
    polygon = [[0, 0, 2, 0, 2, 1, 0, 1]]
    data = [{"image_id": 1, "segmentation": each, "score": 1} for each in (runs, polygon)]
    masks = masks_by_image(write_json(tmp_path / "a.json", data), folder, [1])[1]
    assert [mask.rle for mask in masks] == [rle_codec.encode(pixels(2))] * 2


def test_an_image_id_of_any_text_stays_in_the_folder(tmp_path, folder):
    ids = ["../../escaped", "a/b", "..", "", "é\n", 3, 0.5]
    data = [record(image_id, i + 1) for i, image_id in enumerate(ids)]
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    path = write_json(tmp_path / "a.json", data)
    found = masks_by_image(path, folder, ids)
    assert [masks[0].area_px for masks in found.values()] == [1, 2, 3, 4, 5, 6, 7]
    assert len(list(folder.iterdir())) == len(ids)
    assert {each for each in tmp_path.rglob("*") if folder not in each.parents} == before | {path}


def test_an_empty_list_is_a_run_that_found_nothing(tmp_path, folder):
    split_by_image(write_json(tmp_path / "a.json", []), folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"images": [], "annotations": []}', "not a list"),
        ("5", "not a list"),
        ("[1]", "a record without an image_id"),
        ('[{"image_id": 1}, {"score": 1}]', "a record without an image_id"),
        ("", "not JSON: parse error"),
        ('[{"image_id": 1}', "not JSON: parse error"),
        ("hello", "not JSON: lexical error"),
        ("[] []", "not JSON: parse error"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(text, cause, tmp_path, folder):
    path = tmp_path / "a.json"
    path.write_text(text)
    line = refused(split_by_image, path, folder)
    if "error" not in cause:
        assert line == f"{path}: {cause}; {FIELDS}"
    else:  # the words are the JSON library's
        assert line.startswith(f"{path}: not JSON: ")
        assert line.endswith(f"; {FIELDS}")


def test_bytes_that_are_no_text_are_refused(tmp_path, folder):
    (tmp_path / "a.json").write_bytes(b'[{"image_id": "\xff"}]')
    assert "a.json: not JSON: " in refused(split_by_image, tmp_path / "a.json", folder)


def test_a_file_that_is_not_there_is_refused(tmp_path, folder):
    line = refused(split_by_image, tmp_path / "a.json", folder)
    assert line == f"{tmp_path / 'a.json'}: No such file or directory; check `masks`"


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None},
        {"score": "high"},
        {"segmentation": None},
        {"segmentation": {"size": [8, 6], "counts": "`1"}},
        {"segmentation": {"size": [6, 8], "counts": "1"}},
        {"segmentation": [[1, 2]]},
        {"segmentation": []},
    ],
    ids=str,
)
def test_a_record_that_is_no_mask_of_the_image_is_refused(changes, tmp_path, folder):
    data = [record(1, 1), record(1, 1) | changes, record(2, 1)]
    split_by_image(write_json(tmp_path / "a.json", data), folder)
    line = refused(read_image_results, image_file(folder, 1), SIZE_HW)
    assert line.startswith("results: image 1: a record that is no mask of it (")
    assert len(read_image_results(image_file(folder, 2), SIZE_HW)) == 1


@pytest.mark.parametrize("missing", ["score", "segmentation"])
def test_a_record_without_a_field_is_refused(missing, tmp_path, folder):
    data = [{key: value for key, value in record(1, 1).items() if key != missing}]
    split_by_image(write_json(tmp_path / "a.json", data), folder)
    assert f"KeyError('{missing}')" in refused(read_image_results, image_file(folder, 1), SIZE_HW)


def test_without_ijson_the_command_says_what_to_install(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ijson", None)
    line = refused(split_by_image, write_json(tmp_path / "a.json", []), folder)
    assert line == (
        f"{tmp_path / 'a.json'}: a COCO results file is read by ijson; pip install 'amg-cli[eval]'"
    )


def write_many(path, per_image):
    """A results file of so many records for each image. -> its size in bytes"""
    with path.open("w") as file:
        for i in range(NB_IMAGES):
            line = json.dumps(record(i, 1 + i % 8))
            file.write(("[" if i == 0 else ",") + ",".join([line] * per_image))
        file.write("]")
    return path.stat().st_size


def peak_memory(path, folder):
    """Of the Python objects while a file is split, in bytes."""
    folder.mkdir()
    tracemalloc.start()
    split_by_image(path, folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_a_file_of_many_records_takes_no_more_memory_than_one_of_few(tmp_path):
    path = tmp_path / "a.json"
    sizes, peaks = [], []
    for per_image in (40, 40, 1000):  # the first loads the library
        sizes.append(write_many(path, per_image))
        peaks.append(peak_memory(path, tmp_path / f"split{len(peaks)}"))
    assert sizes[2] > 4e6
    assert peaks[2] < 1.5 * peaks[1] < sizes[2] / 2
    assert len(list((tmp_path / "split2").iterdir())) == NB_IMAGES
    lines = image_file(tmp_path / "split2", 9).read_text().splitlines()
    assert len(lines) == 1000
    assert json.loads(lines[-1]) == record(9, 2)
