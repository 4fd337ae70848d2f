"""`amg boxes`: a detector's boxes to instances, over a folder, in every format."""

import csv
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from amg_cli import load_model, segment_boxes
from amg_cli.batch.reading import read_image
from amg_cli.formats.table import FORMATS
from tests.command import SMALL_MODEL, amg, error_lines, files_under, visible
from tests.conftest import REPOSITORY

COFFEE = REPOSITORY / "examples/images/coffee.jpg"
SIZES = {"a": (300, 200), "b": (150, 200), "none": (120, 90)}
LINES = [
    {"image": "a.png", "box": [75, 40, 225, 165], "category": "cup", "score": 0.75},
    {"image": "b.png", "box": [20, 30, 130, 160], "category": "cup"},
    {"image": "a.png", "box": [5, 5, 100, 60.5], "category": "table", "score": 0.25},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, size in SIZES.items():
        cv2.imwrite(str(tmp_path / f"photos/{name}.png"), cv2.resize(cv2.imread(str(COFFEE)), size))
    write_lines(tmp_path, LINES)
    return tmp_path


def write_lines(folder, lines):
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "boxes.ndjson").write_text("\n".join(texts) + "\n")


def run(folder, *more, output="out", detections="boxes.ndjson"):
    given = ["--detections", detections, "--input", "photos", "--output", output]
    return amg("boxes", *given, *SMALL_MODEL, *more, cwd=folder)


def test_each_box_has_its_instance_with_its_category_and_score(folder):
    result = run(folder, "--format", "ndjson", "--refine", "--workers", "1", "--threads", "1")
    assert (result.returncode, error_lines(result)) == (0, [])
    lines = [json.loads(line) for line in (folder / "out/masks.ndjson").open()]
    assert [line["file_name"] for line in lines] == ["a.png", "b.png", "none.png"]
    assert [line.get("data_set_id") for line in lines] == ["a.png", "b.png", None]
    model = load_model("nano", device="cpu", image_size=256)
    for line in lines:
        mine = [box for box in LINES if box["image"] == line["file_name"]]
        image = read_image(folder / "photos" / line["file_name"])
        wanted = segment_boxes(image, model, [box["box"] for box in mine], refine=True)
        assert len(line["masks"]) == len(mine)
        for mask, box, instance in zip(line["masks"], mine, wanted, strict=True):
            assert mask.get("category_score") == box.get("score")
            assert mask["category"] == box["category"]
            assert mask["category_id"] == ["cup", "table"].index(box["category"]) + 1
            found = coco_mask.decode(mask["segmentation"]).astype(bool)
            assert (found != instance.mask.array()).mean() < 1e-4


def test_every_format_has_the_categories_and_an_image_without_boxes(folder):
    formats = [name for name in FORMATS if name != "parquet"]
    result = run(folder, *(word for name in formats for word in ("--format", name)))
    assert (result.returncode, error_lines(result)) == (0, [])
    out = folder / "out"
    data = COCO(str(out / "annotations.json"))
    assert [c["name"] for c in data.loadCats(data.getCatIds())] == ["cup", "table"]
    assert len(data.imgs) == 3
    assert [data.anns[i]["score"] for i in (100000, 100001)] == [0.75, 0.25]
    assert (out / "yolo/data.yaml").read_text().count("cup") == 1
    assert "table" in (out / "cvat.xml").read_text()
    for name in ("labelme/a.json", "labelstudio.json"):
        assert "table" in (out / name).read_text()
    with (out / "none/metadata.csv").open() as file:
        assert len(list(csv.reader(file))) == 1
    assert cv2.imread(str(out / "overlay/a.jpg")) is not None


def data_set(folder):
    """A COCO data set of the photographs, with ids of its own and a crowd, and results for it."""
    images = [
        {"id": 40 + i, "file_name": f"{name}.png", "width": width, "height": height}
        for i, (name, (width, height)) in enumerate(SIZES.items())
    ]
    boxes = [(40, 7, [75, 40, 150, 125]), (41, 90, [20, 30, 110, 130]), (40, 90, [5, 5, 95, 55.5])]
    annotations = []
    for number, (image_id, category_id, box) in enumerate(boxes, 1):
        (width, height) = SIZES["a" if image_id == 40 else "b"]
        pixels = np.zeros((height, width), np.uint8, order="F")
        x, y, w, h = map(int, box)
        pixels[y : y + h, x : x + w] = 1
        rle = coco_mask.encode(pixels)
        annotations.append(
            {"id": number, "image_id": image_id, "category_id": category_id, "bbox": box,
             "area": float(w * h), "iscrowd": 0,
             "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
        )  # fmt: skip
    categories = [{"id": 90, "name": "table"}, {"id": 7, "name": "cup"}]
    values = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(values))
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"],
         "score": 0.5 + 0.1 * a["id"]}
        for a in annotations
    ]  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))


def test_coco_results_are_what_cocoeval_takes(folder):
    data_set(folder)
    more = ["--data-set", "instances.json", "--format", "coco-results", "--format", "coco"]
    result = run(folder, *more, detections="results.json")
    assert (result.returncode, error_lines(result)) == (0, [])
    found = json.loads((folder / "out/results.json").read_text())
    ids = [(each["image_id"], each["category_id"]) for each in found]
    assert ids == [(40, 7), (40, 90), (41, 90)]
    assert [each["score"] for each in found] == pytest.approx([0.6, 0.8, 0.7])
    truth = COCO(str(folder / "instances.json"))
    scored = COCOeval(truth, truth.loadRes(str(folder / "out/results.json")), "segm")
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert 0 <= scored.stats[0] <= 1
    names = [
        c["name"] for c in json.loads((folder / "out/annotations.json").read_text())["categories"]
    ]
    assert names == ["table", "cup"]  # in the data set's order


def test_true_boxes_of_a_data_set_have_the_models_scores(folder):
    data_set(folder)
    assert run(folder, "--format", "coco-results", detections="instances.json").returncode == 0
    found = json.loads((folder / "out/results.json").read_text())
    assert [(each["image_id"], each["category_id"]) for each in found] == [
        (40, 7), (40, 90), (41, 90)
    ]  # fmt: skip
    assert all(0 < each["score"] < 1.1 for each in found)


def test_without_a_data_set_an_image_is_called_by_its_id_and_a_category_too(folder):
    data_set(folder)
    (folder / "photos/a.png").rename(folder / "photos/00040.png")
    (folder / "photos/b.png").rename(folder / "photos/41.png")
    result = run(folder, "--format", "ndjson", detections="results.json")
    assert (result.returncode, error_lines(result)) == (0, [])
    lines = [json.loads(line) for line in (folder / "out/masks.ndjson").open()]
    assert [(line["file_name"], line.get("data_set_id")) for line in lines] == [
        ("00040.png", 40), ("41.png", 41), ("none.png", None)
    ]  # fmt: skip
    assert [mask["category"] for mask in lines[0]["masks"]] == ["7", "90"]


def test_what_is_wrong_is_a_line_each_and_the_rest_is_done(folder):
    wrong = [
        {"image": "a.png", "box": [400, 10, 500, 50]},
        {"image": "a.png", "box": [10, 10, 10, 50]},
        '{"image": "a.png", "box": [0, 0, NaN, 5]}',
        {"image": "c.png", "box": [0, 0, 9, 5]},
        {"image": "c.png", "box": [1, 0, 9, 5]},
    ]
    write_lines(folder, LINES + wrong)
    result = run(folder, "--format", "coco-results")
    assert result.returncode == 3
    lines = error_lines(result)
    assert [line.split(": ")[1] for line in lines] == [
        "boxes.ndjson line 5", "boxes.ndjson line 6", "boxes.ndjson line 7", "boxes.ndjson line 4"
    ]  # fmt: skip
    assert "no area" in lines[0]
    assert "image c.png, which has 2 boxes, is none of the inputs" in lines[2]
    assert lines[3] == (
        "amg: boxes.ndjson line 4: the box 400,10,500,50 is outside an image of 300 x 200 pixels; "
        "the other boxes are done"
    )
    assert ", 0 failed, 4 refused, in " in result.stderr
    assert len(json.loads((folder / "out/results.json").read_text())) == len(LINES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello\n", "boxes.ndjson: "),
        ('[{"image_id": 1,', "boxes.ndjson: "),
    ],
)
def test_a_file_of_no_layout_is_one_line(folder, text, words):
    (folder / "boxes.ndjson").write_text(text)
    result = run(folder)
    assert result.returncode == 1
    (line,) = error_lines(result)
    assert words in line
    assert not (folder / "out").exists()


def test_a_missing_file_is_one_line(folder):
    result = run(folder, detections="nowhere.json")
    assert result.returncode == 1
    (line,) = error_lines(result)
    assert line.startswith("amg: nowhere.json: ")


def test_a_run_goes_on_and_is_done_once(folder):
    shards = [run(folder, "--shard", f"{i}/2", "--format", "coco-results") for i in (1, 2)]
    assert [result.returncode for result in shards] == [0, 0]
    assert amg("merge", "out", "--output", "whole", cwd=folder).returncode == 0
    assert run(folder, "--format", "coco-results", output="one").returncode == 0
    assert files_under(folder / "whole") == files_under(folder / "one")
    again = run(folder, "--format", "coco-results", output="one")
    assert again.returncode == 0
    assert "0 done (0 masks), 3 done before" in again.stderr


@pytest.mark.parametrize("change", ["boxes", "refine", "task"])
def test_a_folder_of_another_run_is_refused(folder, change):
    assert run(folder, "--no-refine").returncode == 0
    if change == "boxes":
        write_lines(folder, LINES[:2])
    more = ["--refine"] if change == "refine" else ["--no-refine"]
    if change == "task":
        given = ["--input", "photos", "--output", "out", "--points-per-side", "2"]
        result = amg(*given, *SMALL_MODEL, cwd=folder)
    else:
        result = run(folder, *more)
    assert result.returncode == 1
    (line,) = error_lines(result)
    what = {"boxes": "--detections ", "refine": "--refine false, now true",
            "task": 'the task boxes, now everything'}[change]  # fmt: skip
    assert what in line


def test_lines_go_to_stdout_with_the_boxes_of_images_in_sub_folders(folder):
    (folder / "photos/sub").mkdir()
    (folder / "photos/b.png").rename(folder / "photos/sub/b.png")
    write_lines(folder, [LINES[0], LINES[1] | {"image": "sub/b.png"}])
    result = run(folder, "--recursive", output="-")
    assert (result.returncode, error_lines(result)) == (0, [])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [len(line["masks"]) for line in lines] == [1, 0, 1]


def test_boxes_by_hand_in_a_table(folder):
    (folder / "boxes.csv").write_text("image,x0,y0,x1,y1,category\na.png,75,40,225,165,cup\n")
    assert run(folder, "--format", "labelmap", detections="boxes.csv").returncode == 0
    assert "labelmap" in visible(folder / "out")


def test_a_dry_run_says_what_there_is_to_do(folder):
    result = run(folder, "--dry-run")
    assert result.returncode == 0
    assert "3 images, to out as png" in result.stderr
    assert not (folder / "out").exists()


def test_converting_a_data_set_to_results_keeps_its_ids(folder):
    data_set(folder)
    result = amg(
        "convert", "instances.json", "--output", "out", "--format", "coco-results", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "out/results.json").read_text())
    assert [(each["image_id"], each["category_id"]) for each in found] == [
        (40, 7), (40, 90), (41, 90)
    ]  # fmt: skip


def test_results_of_a_run_without_a_data_set_have_the_ids_of_coco(folder):
    given = ["--input", "photos", "--output", "out", "--points-per-side", "2", *SMALL_MODEL]
    more = ["--pred-iou-thresh", "0", "--stability-score-thresh", "0"]
    formats = ["--format", "coco", "--format", "coco-results"]
    assert amg(*given, *more, *formats, cwd=folder).returncode == 0
    found = json.loads((folder / "out/results.json").read_text())
    written = json.loads((folder / "out/annotations.json").read_text())["annotations"]
    assert len(found) == len(written) > 0
    for each, annotation in zip(found, written, strict=True):
        assert {name: annotation[name] for name in each} == each


def test_a_mask_of_no_category_in_a_data_set_has_category_0(folder):
    write_lines(folder, [LINES[0], {"image": "b.png", "box": [20, 30, 130, 160]}])
    assert run(folder, "--format", "coco-results").returncode == 0
    found = json.loads((folder / "out/results.json").read_text())
    assert [(each["image_id"], each["category_id"]) for each in found] == [
        ("a.png", 1),
        ("b.png", 0),
    ]


def test_boxes_of_images_that_arrive_on_stdin(folder):
    given = ["--detections", "boxes.ndjson", "--input", "-", "--output", "-", *SMALL_MODEL]
    result = amg("boxes", *given, cwd=folder, input="photos/b.png\nphotos/a.png\n")
    assert (result.returncode, error_lines(result)) == (0, [])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["data_set_id"], len(line["masks"])) for line in lines] == [
        ("b.png", 1), ("a.png", 2)
    ]  # fmt: skip
