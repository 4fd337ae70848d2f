"""`amg convert`: from every format that is read into every one that is written."""

import json
import sys

import cv2
import numpy as np
import pytest

from amg_cli.batch.convert import Wanted, results_of, write_results
from amg_cli.core import rle
from amg_cli.core.errors import ImageError, OutputError
from amg_cli.core.mask import Mask
from amg_cli.formats.format import FormatOptions, ImageFormat
from amg_cli.formats.found import find_masks
from amg_cli.formats.table import FORMATS, format_of
from tests.command import FEW_POINTS, SMALL_MODEL, amg, error_lines, files_under, save
from tests.disks import tmpfs
from tests.writing import result_of, write_run

READ = [name for name in FORMATS if format_of(name).read]
IMAGE_FORMATS = [name for name in FORMATS if isinstance(format_of(name), ImageFormat)]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run in all formats, of images that have masks and one that has none."""
    folder = tmp_path_factory.mktemp("run")
    noise = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8), (90, 60)
    )
    for name in ("b", "sub/a", "sub/a b"):
        save(folder / f"photos/{name}.png", noise)
    save(folder / "photos/none.png", np.zeros((20, 30, 3), np.uint8))
    formats = [word for name in FORMATS for word in ("--format", name)]
    arguments = ["--input", "photos", "--recursive", "--output", "out", *formats]
    result = amg(*arguments, *SMALL_MODEL, *FEW_POINTS, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def converted(folder, *arguments, source="out", output="again"):
    result = amg("convert", source, "--output", output, *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result


def test_a_run_becomes_what_it_would_have_written(run_of):
    formats = [word for name in FORMATS for word in ("--format", name)]
    result = converted(run_of, *formats)
    assert files_under(run_of / "again") == files_under(run_of / "out")
    assert "again/overlay/sub/a b.jpg" in result.stdout.splitlines()
    assert "again/yolo" in result.stdout.splitlines()


@pytest.mark.parametrize("name", READ)
def test_each_format_that_is_read_gives_the_masks(name, run_of, tmp_path):
    """Of a run with this format alone; without the images, but for a size that none can know."""
    converted(run_of, "--format", name, output=tmp_path / "one")
    source = tmp_path / "one"
    if not isinstance(format_of(name), ImageFormat):
        source /= format_of(name).file_name
    arguments = ["--format", "ndjson", "--format", "coco", "--images", run_of / "photos"]
    converted(run_of, *arguments, source=source, output=tmp_path / "two")
    found, wanted = (
        {result.name: result for result in format_of("ndjson").read(folder / "masks.ndjson")}
        for folder in (tmp_path / "two", run_of / "out")
    )
    assert found.keys() == wanted.keys() == {"b", "sub/a", "sub/a b", "none"}
    for key, result in wanted.items():
        assert [mask.rle for mask in found[key].masks] == [mask.rle for mask in result.masks]
        assert found[key].image_hw == result.image_hw


def test_masks_alone_need_the_images_only_for_one_without_masks(run_of, tmp_path):
    (tmp_path / "rle").mkdir()
    (tmp_path / "rle/a.json").write_bytes((run_of / "out/b.json").read_bytes())
    (tmp_path / "rle/none.json").write_text("[]")
    result = amg(
        "convert", "rle", "--output", "coco", "--format", "coco", "--format", "sa1b", cwd=tmp_path
    )
    assert result.returncode == 3
    assert error_lines(result) == [
        "amg: rle/none.json: has no masks, so that its size is not known; "
        "give the folder of the --images"
    ]
    dataset = json.loads((tmp_path / "coco/annotations.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == ["a"]
    assert find_masks(tmp_path / "coco").keys() == {"a"}


def test_a_photograph_that_is_gone_costs_only_what_shows_it(run_of, tmp_path):
    arguments = ["--format", "overlay", "--format", "rle", "--images", tmp_path]
    result = amg("convert", "out", "--output", tmp_path / "x", *arguments, cwd=run_of)
    assert result.returncode == 3
    assert sorted(path.name for path in tmp_path.joinpath("x").rglob("*.json")) == [
        "a b.json", "a.json", "b.json", "none.json"
    ]  # fmt: skip
    assert error_lines(result)[0] == (
        "amg: b.png: is where none knows; give the folder of the --images"
    )


def test_names_of_others_lead_nowhere_out(tmp_path):
    ring = np.zeros((8, 9), bool)
    ring[2:5, 2:5] = True
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 5, 2, 5, 5]]}
    names = ["../../up.jpg", "/etc/root.jpg", "a.jpg", "a.png", "..", "x/../y.jpg"]
    images = [
        {"id": i, "file_name": name, "height": 8, "width": 9} for i, name in enumerate(names, 1)
    ]
    values = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "c"}]}
    (tmp_path / "theirs.json").write_text(json.dumps(values))
    formats = ["--format", "sa1b", "--format", "yolo"]
    converted(tmp_path, *formats, source="theirs.json", output="in/out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "theirs.json"]
    found = {p.relative_to(tmp_path / "in/out/sa1b").as_posix() for p in
             (tmp_path / "in/out/sa1b").rglob("*.json")}  # fmt: skip
    assert found == {"up.json", "etc/root.json", "a.json", "a.png.json", "image.json", "x/y.json"}


def theirs(images, annotations, path):
    """A COCO data set of another program."""
    values = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "c"}]}
    path.write_text(json.dumps(values))
    return path


BOX = [[2, 2, 6, 2, 6, 6, 2, 6]]


def test_data_sets_of_others_get_numbers_of_their_own(tmp_path):
    """Their ids may be text, or those of two images be one to us; crowds and boxes are no masks."""
    images = [
        {"id": id_, "file_name": f"{id_}.jpg", "height": 20, "width": 30} for id_ in ("x", 0, 9)
    ]
    many = [
        {"id": 100_001, "image_id": "x", "category_id": 3, "segmentation": BOX, "score": None},
        {"id": 200_001, "image_id": "x", "category_id": 7, "segmentation": BOX},
        {"image_id": "x", "segmentation": BOX},
        {"id": 5, "image_id": 9, "category_id": 3, "bbox": [0, 0, 1, 1]},
        {"id": 6, "image_id": 9, "category_id": 3, "segmentation": BOX, "iscrowd": 1},
        {"id": 7, "image_id": 9, "category_id": 3, "segmentation": [[1, 1, 1, 1, 1, 1]]},
    ]
    theirs(images, many, tmp_path / "theirs.json")
    formats = ["--format", "ndjson", "--format", "cutout", "--format", "cvat", "--format", "coco"]
    image = np.zeros((20, 30, 3), np.uint8)
    for id_ in ("x", 0, 9):
        save(tmp_path / f"photos/{id_}.jpg", image)
    arguments = [*formats, "--images", "photos"]
    converted(tmp_path, *arguments, source="theirs.json", output="out")
    lines = [json.loads(line) for line in (tmp_path / "out/masks.ndjson").open()]
    assert [line["image_id"] for line in lines] == [1, 2, 3]
    assert [len(line["masks"]) for line in lines] == [3, 0, 0]
    assert [mask["id"] for mask in lines[0]["masks"]] == [0, 1, 2]
    assert [mask.get("category") for mask in lines[0]["masks"]] == ["c", "7", None]
    assert len(list((tmp_path / "out/cutout/x").iterdir())) == 3


def test_the_categories_of_two_parts_of_a_data_set_have_the_same_numbers(tmp_path):
    image = {"id": 1, "file_name": "1.jpg", "height": 20, "width": 30}
    categories = [{"id": 18, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 5, "name": "bird"}]
    for part, category_id in (("train", 2), ("val", 18)):
        annotation = {"id": 1, "image_id": 1, "category_id": category_id, "segmentation": BOX}
        values = {"images": [image], "annotations": [annotation], "categories": categories}
        (tmp_path / f"{part}.json").write_text(json.dumps(values))
        arguments = ["--format", "yolo", "--format", "coco", "--format", "cvat"]
        converted(tmp_path, *arguments, source=f"{part}.json", output=part)
    texts = {(tmp_path / part / "yolo/data.yaml").read_text() for part in ("train", "val")}
    assert len(texts) == 1
    assert '  0: "dog"\n  1: "cat"\n  2: "bird"\n' in texts.pop()
    line = (tmp_path / "val/yolo/labels/train/1.txt").read_text()
    assert (line[0], (tmp_path / "train/yolo/labels/train/1.txt").read_text()[0]) == ("0", "1")
    dataset = json.loads((tmp_path / "train/annotations.json").read_text())
    assert [each["name"] for each in dataset["categories"]] == ["dog", "cat", "bird"]
    assert dataset["annotations"][0]["category_id"] == 2


def test_photographs_of_another_size_cost_only_what_shows_them(tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2)]
    boxes = [{"id": i, "image_id": i, "category_id": 3, "segmentation": BOX} for i in (1, 2)]
    theirs(images, boxes, tmp_path / "theirs.json")
    save(tmp_path / "photos/1.png", np.zeros((30, 20, 3), np.uint8))
    save(tmp_path / "photos/2.png", np.zeros((20, 30, 3), np.uint8))
    arguments = ["--output", "out", "--format", "overlay", "--format", "sa1b", "--images", "photos"]
    result = amg("convert", "theirs.json", *arguments, cwd=tmp_path)
    assert result.returncode == 3
    assert error_lines(result) == [
        f"amg: {tmp_path}/photos/1.png: has 20 x 30 pixels, and its masks 30 x 20; "
        "give the --images that the masks are of"
    ]
    assert sorted(files_under(tmp_path / "out")) == ["overlay/2.jpg", "sa1b/1.json", "sa1b/2.json"]


def test_a_damaged_file_among_others_costs_its_image(run_of, tmp_path):
    (tmp_path / "rle").mkdir()
    for name in "abc":
        (tmp_path / f"rle/{name}.json").write_bytes((run_of / "out/b.json").read_bytes())
    (tmp_path / "rle/b.json").write_bytes((run_of / "out/b.json").read_bytes()[:200])
    result = amg("convert", "rle", "--output", "out", "--format", "coco", cwd=tmp_path)
    assert result.returncode == 3
    assert len(error_lines(result)) == 1
    assert "rle/b.json" in error_lines(result)[0]
    dataset = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [(each["id"], each["file_name"]) for each in dataset["images"]] == [(1, "a"), (3, "c")]


def test_what_each_image_has_counts_more_than_an_older_file_of_them_all(run_of, tmp_path):
    (tmp_path / "x").mkdir()
    for name in "ab":
        (tmp_path / f"x/{name}.json").write_bytes((run_of / "out/b.json").read_bytes())
    converted(tmp_path, "--format", "coco", source="x", output="x")
    (tmp_path / "x/c.json").write_bytes((run_of / "out/b.json").read_bytes())
    converted(tmp_path, "--format", "ndjson", source="x", output="y")
    assert len((tmp_path / "y/masks.ndjson").read_text().splitlines()) == 3


def test_shards_and_what_they_were_merged_to_are_one_run(run_of, tmp_path):
    arguments = ["--input", run_of / "photos", "--recursive", "--format", "ndjson", "--quiet"]
    for shard in ("1/2", "2/2"):
        more = ["--output", "out", "--shard", shard, *SMALL_MODEL, *FEW_POINTS]
        assert amg(*arguments, *more, cwd=tmp_path).returncode == 0
    converted(tmp_path, "--format", "ndjson", output="before")
    assert amg("merge", "out", cwd=tmp_path).returncode == 0
    converted(tmp_path, "--format", "ndjson", output="after")
    merged = (tmp_path / "out/masks.ndjson").read_bytes()
    assert (tmp_path / "after/masks.ndjson").read_bytes() == merged
    assert (tmp_path / "before/masks.ndjson").read_bytes() == merged


def test_photographs_are_found_by_their_whole_name(run_of, tmp_path):
    names = ["a [1]", "b", "dir"]
    for name in names:
        save(tmp_path / f"photos/{name}.jpg", np.zeros((60, 90, 3), np.uint8))
        (tmp_path / "rle").mkdir(exist_ok=True)
        (tmp_path / f"rle/{name}.json").write_bytes((run_of / "out/b.json").read_bytes())
    save(tmp_path / "photos/b.c.jpg", np.zeros((5, 5, 3), np.uint8))
    (tmp_path / "photos/dir").mkdir()
    arguments = ["--format", "overlay", "--format", "coco", "--images", "photos"]
    converted(tmp_path, *arguments, source="rle", output="out")
    dataset = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == [f"{n}.jpg" for n in names]


def test_the_real_sa1b_has_boxes_of_its_own(tmp_path):
    pixels = np.zeros((20, 30), bool)
    pixels[3:8, 4:9] = True
    annotation = {
        "id": 77, "segmentation": rle.encode(pixels), "bbox": [4, 3, 4, 4], "area": 25,
        "predicted_iou": 0.9, "stability_score": 0.95, "crop_box": [0, 0, 30, 20],
        "point_coords": [[5, 5]],
    }  # fmt: skip
    image = {"image_id": 7, "width": 30, "height": 20, "file_name": "sa_7.jpg"}
    values = {"image": image, "annotations": [annotation]}
    (tmp_path / "sa_7.json").write_text(json.dumps(values))
    converted(tmp_path, "--format", "coco", source="sa_7.json", output="out")
    (found,) = json.loads((tmp_path / "out/annotations.json").read_text())["annotations"]
    assert (found["bbox"], found["area"]) == ([4, 3, 5, 5], 25)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nothing", "--format", "coco"), 1, "nothing: no such file or folder; give a run's "
         "--output, or a file of it"),
        (("out",), 2, "Missing option '--format'."),
        (("out", "--format", "rle", "--polygons"), 2, "--polygons is for --format coco or labelme "
         "or cvat or labelstudio"),
        (("out", "--format", "coco", "--polygon-tolerance", "1"), 2,
         "--polygon-tolerance is for yolo, or goes with --polygons"),
        (("photos", "--format", "coco"), 1, "photos: no masks of amg in it; give a run's --output"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_line(arguments, code, line, run_of, tmp_path):
    result = amg("convert", *arguments, "--output", tmp_path / "x", cwd=run_of)
    assert result.returncode == code
    assert result.stderr.splitlines()[-1].endswith(line), result.stderr
    assert not (tmp_path / "x").exists()


def test_output_that_is_there_is_kept_unless_it_may_be_replaced(run_of, tmp_path):
    converted(run_of, "--format", "rle", "--format", "coco", output=tmp_path / "x")
    (tmp_path / "x/annotations.json").write_text("mine")
    again = ["convert", "out", "--output", tmp_path / "x", "--format", "coco"]
    result = amg(*again, cwd=run_of)
    assert (result.returncode, (tmp_path / "x/annotations.json").read_text()) == (1, "mine")
    result = amg(*again[:-1], "rle", cwd=run_of)
    assert result.returncode == 3
    assert len(error_lines(result)) == 4
    assert amg(*again, "--on-exists", "overwrite", cwd=run_of).returncode == 0
    assert (tmp_path / "x/annotations.json").read_text() != "mine"


def test_an_extra_that_is_missing_is_named(run_of, tmp_path, monkeypatch):
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow/__init__.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = amg(
        "convert", "out", "--output", tmp_path / "x", "--format", "parquet",
        cwd=run_of, env=None,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == ("amg: format parquet: needs pyarrow; pip install 'amg-cli[parquet]'\n")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_nothing_half_written(name, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    y, x = np.mgrid[:80, :90]
    rings = [np.sin(np.hypot(y - i, x) / 2) > 0 for i in (10, 30, 50, 70)]
    made = [
        Mask(rle.encode(m), rle.box(rle.encode(m)), 0.9, 0.9, (1.0, 1.0), (0, 0, 90, 80))
        for m in rings
    ]
    results = []
    for i in range(120):
        save(tmp_path / f"photos/{i}.png", image) if i < 30 else None
        more = {"number": i + 1, "file_name": f"{i % 30}.png", "name": f"{i}"}
        results.append(result_of(made, **more))
    source = write_run(format_of("ndjson"), results, tmp_path / "source.ndjson")
    said = []

    def go(output):
        options = FormatOptions(category="thing")
        images = tmp_path / "photos"
        wanted = Wanted(output, [name], options, images)
        write_results(results_of(source, images), wanted, said.append)

    size = "256k" if name in IMAGE_FORMATS else "12k" if name == "parquet" else "48k"
    with tmpfs(tmp_path / "small", size):
        with pytest.raises(OutputError, match="cannot be written to: no space left on device"):
            go(tmp_path / "small/out")
        left = files_under(tmp_path / "small/out")
        names = {path.name for path in (tmp_path / "small/out").rglob("*")}
    go(tmp_path / "large/out")
    whole = files_under(tmp_path / "large/out")
    assert not any(name.startswith(".amg-") for name in names)
    assert left.items() <= whole.items()
    if name not in IMAGE_FORMATS:
        assert left == {}
    assert not [each for each in said if isinstance(each, ImageError)]


def test_an_overlay_shows_the_photograph_under_its_masks(run_of):
    shown = cv2.imread(str(run_of / "out/overlay/none.jpg"))
    assert shown.shape == (20, 30, 3)
    assert shown.max() < 10 or (run_of / "out/none.json").read_text() != "[]"
