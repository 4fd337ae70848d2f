"""Masks on the disk: found by the names of their images, and read back."""

import json

import numpy as np
import pytest

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.formats import reference_png, reference_rle
from amg_cli.formats.found import find_masks, masks_of
from amg_cli.formats.reference_record import reference_record
from tests.eval_data import block, drawing, made
from tests.writing import write as write_masks

SIZE_HW = (6, 8)
MASKS = [made(block(SIZE_HW, 1, 1, 4, 5), 0.75), made(block(SIZE_HW, 0, 0, 6, 8), 0.5)]


def write(folder, *names):
    """Masks for each name: JSON for one that ends so, else a folder of PNGs."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        format_ = (reference_rle if path.suffix == ".json" else reference_png).FORMAT
        write_masks(format_, MASKS, path)


def keys(folder):
    return list(find_masks(folder))


def test_folders_of_png_and_json_files_are_found_and_read_back(tmp_path):
    write(tmp_path, "a", "b.json")
    found = find_masks(tmp_path)
    assert {name: there.path for name, there in found.items()} == {
        "a": tmp_path / "a",
        "b": tmp_path / "b.json",
    }
    assert found["a"].read() == MASKS
    assert found["b"].read() == MASKS


def test_nested_masks_are_named_by_their_path(tmp_path):
    write(tmp_path, "sub/deep/a", "sub/b.json", "c.json")
    assert sorted(keys(tmp_path)) == ["c", "sub/b", "sub/deep/a"]


def test_names_with_dots_and_names_in_a_clash_keep_all_but_the_formats_suffix(tmp_path):
    write(tmp_path, "a.jpg.json", "a.png.json", "v1.2", "b.jpg~2.json")
    assert sorted(keys(tmp_path)) == ["a.jpg", "a.png", "b.jpg~2", "v1.2"]


def test_a_single_images_own_folder_is_found_too(tmp_path):
    write(tmp_path, "a")
    assert find_masks(tmp_path / "a")["."].read() == MASKS


def test_other_files_are_no_masks(tmp_path):
    write(tmp_path, "a")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    assert keys(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "not json",
        "5",
        "[5]",
        "[{}]",
        "[[]]",
        '{"images": [], "annotations": []}',
        '[{"segmentation": {"size": [6, 8], "counts": "0"}, "image_id": 1, "score": 0.5}]',
        '[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]',
    ],
)
def test_json_of_another_kind_is_passed_over(text, tmp_path):
    write(tmp_path, "a.json", "sub/b")
    (tmp_path / "scores.json").write_text(text)
    (tmp_path / "sub/made_by.json").write_text(text)
    assert keys(tmp_path) == ["a", "sub/b"]


def test_json_that_a_tool_has_sorted_or_indented_is_still_found(tmp_path):
    for name, options in {"a": {"sort_keys": True}, "b": {"indent": 1}}.items():
        records = [reference_record(mask) for mask in MASKS]
        (tmp_path / f"{name}.json").write_text(json.dumps(records, **options))
    (tmp_path / "c.json").write_text(" [\n] \n")
    long = [RECORD | {"point_coords": [[0.0, 0.0]] * 5000}]
    (tmp_path / "d.json").write_text(json.dumps(long))
    assert keys(tmp_path) == ["a", "b", "c", "d"]


def test_a_table_of_another_kind_and_hidden_folders_are_passed_over(tmp_path):
    write(tmp_path, "a", "other/b.json", ".amg-12345678/new/c")
    (tmp_path / "other/metadata.csv").write_text("id,area\n1,2")
    assert keys(tmp_path) == ["a", "other/b"]


def test_an_image_without_masks_is_found_with_none(tmp_path):
    write_masks(reference_rle.FORMAT, [], tmp_path / "a.json")
    write_masks(reference_png.FORMAT, [], tmp_path / "b")
    assert [there.read() for there in find_masks(tmp_path).values()] == [[], []]


@pytest.mark.parametrize(
    ("file_name", "key"),
    [
        ("a.jpg", "a"),
        ("a.tif", "a"),
        ("train/a.jpg", "a"),  # a run on the folder itself
        ("sub/c.png", "sub/c"),
        ("b.jpg", "b.jpg"),
        ("b.png", "b.png"),
        ("b.tif", "b"),
        ("other/b.png", "b.png"),
        ("v1.2.jpg", "v1.2"),
        ("v1.2", "v1.2"),  # a name whose suffix is not known
        ("v1", "v1"),
        ("100007", "100007"),
        ("d.jpg", None),
        ("c.png", None),
        ("sub/sub/c.png", None),
    ],
)
def test_masks_of_an_image_are_under_its_name_as_a_run_writes_it(file_name, key):
    names = ["a", "b", "b.jpg", "b.png", "sub/c", "v1.2", "v1", "100007"]
    assert masks_of({name: name for name in names}, file_name) == key


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        find_masks(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path / 'none'}: no such folder; give a run's `output`"
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError) as caught:
        find_masks(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no masks of amg in it; give a run's `output`"


# What is not whole, or of another kind


def refused(folder):
    (there,) = find_masks(folder).values()
    with pytest.raises(InputError) as caught:
        there.read()
    line = str(caught.value)
    assert line.startswith(f"{there.path}: no masks of amg: ")
    assert line.endswith("; run amg again")
    return line


RECORD = reference_record(MASKS[0])


@pytest.mark.parametrize(
    "data",
    [
        [RECORD | {"point_coords": []}],
        [RECORD | {"segmentation": [[0, 0, 2, 0, 2, 2]]}],
        [RECORD | {"segmentation": {"size": [6, 8], "counts": "1"}}],
        [RECORD | {"segmentation": {"size": [6, 8], "counts": None}}],
        [RECORD | {"segmentation": {"size": [8, 8], "counts": RECORD["segmentation"]["counts"]}}],
    ],
    ids=lambda data: str(data)[-70:],
)
def test_json_that_is_damaged_is_refused_in_one_line(data, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(data))
    refused(tmp_path)


def test_a_cut_json_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([RECORD])[:-9])
    refused(tmp_path)


def test_a_folder_of_png_that_is_not_whole_is_refused(tmp_path):
    write(tmp_path, "a")
    table, picture = tmp_path / "a/metadata.csv", tmp_path / "a/1.png"
    whole = table.read_text()
    table.write_text(whole.rpartition(",")[0])
    refused(tmp_path)
    table.write_text(whole)
    for data in (b"", b"hello", picture.read_bytes()[:20]):
        picture.write_bytes(data)
        refused(tmp_path)
    picture.unlink()
    refused(tmp_path)


# Run lengths


def test_masks_of_any_kind_pass_the_check_of_their_runs():
    random = np.random.default_rng(0)
    for shape in [(1, 1), (1, 9), (9, 1), (7, 8), (300, 500)]:
        for share in (0, 0.01, 0.5, 0.99, 1):
            rle_codec.check(rle_codec.encode(random.random(shape) < share))
    rle_codec.check(rle_codec.encode(np.zeros((3000, 4000), bool)))


def test_a_run_written_in_more_characters_than_any_needs_is_refused():
    whole = {"size": [3, 5], "counts": "?"}
    rle_codec.check(whole)
    rle_codec.check(whole | {"counts": "_PPPPPP0"})  # 15, and seven times nothing
    with pytest.raises(ValueError, match="its counts are not COCO's"):
        rle_codec.check(whole | {"counts": "_" + "P" * 12 + "0"})


def test_runs_that_do_not_fill_the_mask_are_refused():
    rle = rle_codec.encode(drawing("..#..", ".###.", "..#.."))
    for size in ([3, 4], [3, 6], [5, 2], [0, 0], [-3, -5]):
        with pytest.raises(ValueError, match="damaged RLE: its runs do not fill"):
            rle_codec.check(rle | {"size": size})
    for counts in (rle["counts"][:-1], rle["counts"] + "1", "o", "", "!", "~", "o" * 20 + "1"):
        with pytest.raises(ValueError, match="damaged RLE"):
            rle_codec.check(rle | {"counts": counts})
