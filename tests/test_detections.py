"""Files of boxes: four layouts, what is wrong with single boxes, and whose boxes they are."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from amg_cli.batch.detections import Detections
from amg_cli.batch.sources.images import Source, discover
from amg_cli.core.errors import InputError
from tests.conftest import shared

DONE = "the other boxes are done"
LAYOUTS = (
    "no boxes in it that can be read; give COCO results, a COCO data set, JSON lines with image "
    "and box, or CSV with a header image,x0,y0,x1,y1"
)

# The same five boxes in every layout, XYXY: image, box, category, score.
ROWS = [
    ("a.jpg", [1.5, 2, 11, 12.25], "dog", 0.5),
    ("b.jpg", [0, 0, 30, 40], "cat", 0.25),
    ("a.jpg", [-4, -3, 5, 6], "dog", None),
    ("a.jpg", [5, 5, 7, 8], None, 1.0),
    ("b.jpg", [1, 2, 3, 4], "dog", 0.125),
]
IMAGE_IDS = {"a.jpg": 7, "b.jpg": 3}
CATEGORY_IDS = {"dog": 18, "cat": 17}
IMAGES = [{"id": i, "file_name": name} for name, i in IMAGE_IDS.items()]
CATEGORIES = [{"id": i, "name": name} for name, i in CATEGORY_IDS.items()]


def coco_records():
    for image, (x0, y0, x1, y1), category, score in ROWS:
        record = {"image_id": IMAGE_IDS[image], "bbox": [x0, y0, x1 - x0, y1 - y0]}
        record |= {} if category is None else {"category_id": CATEGORY_IDS[category]}
        yield record | ({} if score is None else {"score": score})


def as_lines():
    for image, box, category, score in ROWS:
        values = {"image": image, "box": box, "category": category, "score": score}
        yield json.dumps({key: value for key, value in values.items() if value is not None}) + "\n"


def as_table(newline="\n"):
    yield "score,image,y0,x0,y1,x1,category" + newline
    for image, (x0, y0, x1, y1), category, score in ROWS:
        score = "" if score is None else score
        yield f"{score},{image},{y0},{x0},{y1},{x1},{category or ''}" + newline


def as_data_set(indent=None):
    # Annotations before what their ids stand for.
    values = {"info": {"year": 1}, "annotations": list(coco_records()), "images": IMAGES}
    return json.dumps(values | {"categories": CATEGORIES}, indent=indent)


def source(relative, folder="photos"):
    return Source.of(Path(folder, relative), PurePosixPath(relative))


def table(boxes):
    """Boxes as plain values."""
    return list(zip(boxes.boxes_xyxy.tolist(), boxes.categories, boxes.scores, strict=True))


def wanted(image):
    return [(box, category, score) for name, box, category, score in ROWS if name == image]


def faults(detections):
    return [str(fault) for fault in detections.faults]


def refused(*arguments):
    with pytest.raises(InputError) as caught:
        Detections.read(*arguments)
    return str(caught.value)


@pytest.fixture
def read(tmp_path):
    """Detections of a text, in a file of a name that says nothing."""

    def _read(text, **options):
        (tmp_path / "boxes").write_bytes(text if isinstance(text, bytes) else text.encode())
        return Detections.read(tmp_path / "boxes", **options)

    return _read


@pytest.fixture
def data_set(tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"images": IMAGES, "categories": CATEGORIES}))
    return path


FILES = {
    "results": json.dumps(list(coco_records())),
    "results of many lines": json.dumps(list(coco_records()), indent=2),
    "data set": as_data_set(),
    "data set of many lines": as_data_set(indent=1),
    "lines": "".join(as_lines()),
    "table": "".join(as_table()),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("begin", ["", "\ufeff", "\r\n \n"], ids=["", "BOM", "empty lines"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_the_same_boxes_in_every_layout(text, begin, newline, read, data_set):
    options = {"data_set": data_set} if text.startswith("[") else {}
    found = read((begin + text).replace("\r", "").replace("\n", newline), **options)
    assert (found.where, found.faults) == ("boxes", ())
    assert found.categories == ("dog", "cat")
    for image in IMAGE_IDS:
        assert table(found.of(source(image))) == wanted(image)


@pytest.mark.parametrize(
    ("name", "unit", "ids", "numbers"),
    [
        ("results", "detection", (18, 17), [2, 5]),
        ("data set", "annotation", (18, 17), [2, 5]),
        ("lines", "line", (1, 2), [2, 5]),
        ("table", "line", (1, 2), [3, 6]),
    ],
)
def test_boxes_have_their_place_in_the_file(name, unit, ids, numbers, read, data_set):
    found = read(FILES[name], **({"data_set": data_set} if name == "results" else {}))
    boxes = found.of(source("b.jpg"))
    assert boxes.numbers.tolist() == numbers
    assert boxes.image_id == ("b.jpg" if unit == "line" else 3)
    assert (found.unit, found.category_ids, len(boxes)) == (unit, ids, 2)
    types = (boxes.boxes_xyxy.dtype, boxes.numbers.dtype, boxes.boxes_xyxy.shape)
    assert types == (np.float64, np.int64, (2, 4))


def test_results_alone_name_images_and_categories_by_their_ids(read):
    found = read(FILES["results"])
    assert (found.categories, found.category_ids) == (("17", "18"), (17, 18))
    for name in ("7.jpg", "0000007.png", "cats/007.jpg", "7"):
        boxes = found.of(source(name))
        assert boxes.image_id == 7
        assert boxes.categories == ("18", "18", None)
    for name in ("a.jpg", "70.jpg", "x7.jpg", "7a.jpg", "7.0.jpg"):
        assert len(found.of(source(name))) == 0


def test_results_may_name_images_by_text(read):
    records = [{"image_id": name, "bbox": [0, 0, 1, i]} for i, name in enumerate("ab", 1)]
    found = read(json.dumps(records))
    assert table(found.of(source("b.jpg"))) == [([0, 0, 1, 2], None, None)]
    assert (found.categories, found.category_ids) == ((), ())


def test_whole_numbers_may_be_written_as_floats(read, data_set):
    text = '[{"image_id": 3.0, "category_id": 17.0, "bbox": [0, 0, 1, 1]}]'
    boxes = read(text, data_set=data_set).of(source("b.jpg"))
    assert boxes.image_id == 3
    assert boxes.categories == ("cat",)


def test_an_image_without_boxes_has_the_id_of_the_data_set(read, data_set):
    found = read("[]", data_set=data_set)
    boxes = found.of(source("b.jpg"))
    assert (boxes.image_id, boxes.boxes_xyxy.shape) == (3, (0, 4))
    assert (boxes.categories, boxes.scores, boxes.numbers.shape) == ((), (), (0,))
    assert found.categories == ("dog", "cat")
    assert found.unmatched([]) == []
    assert found.of(source("c.jpg")).image_id is None


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff", "[]", "image,x0,y0,x1,y1\n"])
def test_a_file_may_have_no_boxes(text, read):
    found = read(text)
    assert (found.faults, found.categories, found.category_ids) == ((), (), ())
    assert found.unmatched([]) == []
    assert len(found.of(source("a.jpg"))) == 0


def test_crowds_are_passed_over_but_counted(read):
    record = {"image_id": 7, "category_id": 18, "bbox": [0, 0, 2, 2]}
    crowd = record | {"iscrowd": 1, "bbox": None}
    values = {"images": IMAGES, "annotations": [crowd, record | {"iscrowd": 0, "score": 0.5}]}
    found = read(json.dumps(values | {"categories": CATEGORIES}))
    assert found.faults == ()
    assert table(found.of(source("a.jpg"))) == [([0, 0, 2, 2], "dog", 0.5)]
    assert found.of(source("a.jpg")).numbers.tolist() == [2]


def test_a_data_set_without_categories_names_them_by_id(read):
    values = {"images": IMAGES, "annotations": list(coco_records())}
    found = read(json.dumps(values))
    assert (found.categories, found.category_ids) == (("17", "18"), (17, 18))


def test_boxes_of_images_by_turns_stay_in_their_order(read):
    found = read("".join(as_lines()) * 200)
    for image, places in (("a.jpg", (1, 3, 4)), ("b.jpg", (2, 5))):
        numbers = [5 * i + place for i in range(200) for place in places]
        assert found.of(source(image)).numbers.tolist() == numbers
        assert table(found.of(source(image))) == wanted(image) * 200


def test_categories_of_lines_are_text_and_numbers_in_the_order_they_come(read):
    cells = ['"z"', "2", '"a"', '"2"', "null", '""', "2.0"]
    line = '{{"image": "a.jpg", "box": [0, 0, 1, 1], "category": {}}}\n'
    found = read("".join(line.format(cell) for cell in cells))
    assert (found.categories, found.category_ids) == (("z", "2", "a"), (1, 2, 3))
    assert found.of(source("a.jpg")).categories == ("z", "2", "a", "2", None, None, "2")


def test_a_table_may_quote_and_have_spaces(read):
    text = 'image, x0, y0, x1, y1, category\n"a, b.jpg", 1, 2 , 3, 4, "dog, ""big"""\n'
    assert table(read(text).of(source("a, b.jpg"))) == [([1, 2, 3, 4], 'dog, "big"', None)]


def test_a_name_that_is_no_text_is_that_of_the_file(read):
    found = read(b"image,x0,y0,x1,y1\n\xe9.jpg,1,2,3,4\n")
    assert len(found.of(source(os.fsdecode(b"\xe9.jpg")))) == 1


GOOD = {"image": "a.jpg", "box": [0, 0, 1, 1]}
LINES = [
    ({"box": [1, 2, 3]}, "box: four finite numbers are wanted, not [1, 2, 3]"),
    ({"box": [1, 2, 3, "4"]}, "box: four finite numbers are wanted, not [1, 2, 3, '4']"),
    ({"box": [1, 2, True, 4]}, "box: four finite numbers are wanted, not [1, 2, True, 4]"),
    ({"box": [1, 2, float("nan"), 4]}, "box: four finite numbers are wanted, not [1, 2, nan, 4]"),
    ({"box": [1, 2, float("inf"), 4]}, "box: four finite numbers are wanted, not [1, 2, inf, 4]"),
    ({"box": [0, 0, 1, 10**400]}, "box: four finite numbers are wanted, not [0, 0, 1, "
     "100000000000000000...0000000000000000000]"),
    ({"box": {"x0": 1}}, "box: four finite numbers are wanted, not {'x0': 1}"),
    ({"box": None}, "box: is missing"),
    ({"box": [5, 0, 5, 9]}, "the box 5,0,5,9 has no area"),
    ({"box": [5, 9, 6, 8.5]}, "the box 5,9,6,8.5 has no area"),
    ({"score": "high"}, "score: a finite number is wanted, not str 'high'"),
    ({"score": True}, "score: a finite number is wanted, not bool True"),
    ({"score": float("nan")}, "score: a finite number is wanted, not float nan"),
    ({"image": None}, "image: is missing"),
    ({"image": ""}, "image: is missing"),
    ({"image": 12}, "image: a path is wanted, not int 12"),
    ({"category": 1.5}, "category: text or a whole number is wanted, not float 1.5"),
    ({"category": True}, "category: text or a whole number is wanted, not bool True"),
    ({"category": ["dog"]}, "category: text or a whole number is wanted, not list"),
    ({"label": 1, "id": 2}, "'id' is not known; known are image, box, category, score"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "cause"), LINES, ids=[cause for _, cause in LINES])
def test_a_wrong_line_is_one_fault_and_costs_no_other(changes, cause, read):
    lines = [GOOD, GOOD | changes, GOOD]
    found = read("\n".join(map(json.dumps, lines)))
    assert faults(found) == [f"boxes line 2: {cause}; {DONE}"]
    assert found.of(source("a.jpg")).numbers.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", "damaged JSON: Expecting property name enclosed in double quotes at character 2"),
        (
            '{"image": "a.jpg", "box": [0, 0',
            "damaged JSON: Expecting ',' delimiter at character 32",
        ),
        ("[1]", "a JSON object is wanted, not list"),
        ("7", "a JSON object is wanted, not int 7"),
        (b'{"image": "\xff"}', "not UTF-8: invalid start byte"),
        ("{}", "image: is missing"),
    ],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_line_of_wrong_json_is_a_fault_of_that_line(line, cause, number, read):
    good = json.dumps(GOOD).encode()
    lines = [good, b"", good]
    lines.insert(number, line if isinstance(line, bytes) else line.encode())
    found = read(b"\n".join(lines))
    assert faults(found) == [f"boxes line {number + 1}: {cause}; {DONE}"]
    assert len(found.of(source("a.jpg"))) == 2


def test_a_first_line_that_is_cut_is_a_fault_too(read):
    found = read('{"image": "a.jpg", "box": [0, 0\n' + json.dumps(GOOD))
    assert len(found.faults) == 1
    assert found.of(source("a.jpg")).numbers.tolist() == [2]


def test_brackets_without_end_are_a_fault(read):
    found = read(json.dumps(GOOD) + "\n" + "[" * 100_000)
    assert len(found.faults) == 1
    assert "maximum recursion depth" in faults(found)[0]


RESULT = {"image_id": 7, "category_id": 18, "bbox": [0, 0, 1, 1], "score": 0.5}
RESULTS = [
    ({"bbox": [1, 2, 3]}, "bbox: four finite numbers are wanted, not [1, 2, 3]"),
    ({"bbox": [1, 2, float("nan"), 4]}, "bbox: four finite numbers are wanted, not [1, 2, nan, 4]"),
    ({"bbox": [1, 2, 3, 10**30, 5]}, "bbox: four finite numbers are wanted, not "
     "[1, 2, 3, 1000000000000000000000000000000, 5]"),
    ({"bbox": None}, "bbox: is missing"),
    ({"bbox": [5, 5, 0, 4]}, "the bbox 5,5,0,4 has no area"),
    ({"bbox": [5, 5, 4, -1]}, "the bbox 5,5,4,-1 has no area"),
    ({"bbox": [1e30, 5, 4, 1]}, "the bbox 1e+30,5,4,1 has no area"),
    ({"bbox": [1e308, 5, 1e308, 1]}, "the bbox 1e+308,5,1e+308,1 reaches out of all numbers"),
    ({"score": "0.5"}, "score: a finite number is wanted, not str '0.5'"),
    ({"image_id": None}, "image_id: is missing"),
    ({"image_id": 1.5}, "image_id: a whole number or text is wanted, not float 1.5"),
    ({"image_id": True}, "image_id: a whole number or text is wanted, not bool True"),
    ({"category_id": "dog"}, "category_id: a whole number is wanted, not str 'dog'"),
    ({"category_id": False}, "category_id: a whole number is wanted, not bool False"),
    ({"image_id": 8}, "image_id 8 is not in names.json"),
    ({"image_id": "7", "category_id": 5}, "image_id '7' is not in names.json"),
    ({"category_id": 5}, "category_id 5 is not in names.json"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "cause"), RESULTS, ids=[cause for _, cause in RESULTS])
def test_a_wrong_detection_is_one_fault_and_costs_no_other(changes, cause, read, data_set):
    found = read(json.dumps([RESULT, RESULT, RESULT | changes, RESULT]), data_set=data_set)
    assert faults(found) == [f"boxes detection 3: {cause}; {DONE}"]
    assert found.of(source("a.jpg")).numbers.tolist() == [1, 2, 4]
    assert found.categories == ("dog", "cat")


def test_wrong_annotations_are_faults_in_the_order_of_the_file(read):
    wrong = [5, RESULT, RESULT | {"image_id": 9}, {}, RESULT | {"category_id": 1}]
    values = {"images": IMAGES, "categories": CATEGORIES, "annotations": wrong}
    assert faults(read(json.dumps(values))) == [
        f"boxes annotation 1: a JSON object is wanted, not int 5; {DONE}",
        f"boxes annotation 3: image_id 9 is not in boxes; {DONE}",
        f"boxes annotation 4: image_id: is missing; {DONE}",
        f"boxes annotation 5: category_id 1 is not in boxes; {DONE}",
    ]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("a.jpg,0,0,1", "5 columns are wanted, not 4"),
        ("a.jpg,0,0,1,1,", "5 columns are wanted, not 6"),
        ("a.jpg,0,0,x,1", "box: four finite numbers are wanted, not [0.0, 0.0, 'x', 1.0]"),
        ("a.jpg,0,0,,1", "box: four finite numbers are wanted, not [0.0, 0.0, '', 1.0]"),
        ("a.jpg,0,0,nan,1", "box: four finite numbers are wanted, not [0.0, 0.0, nan, 1.0]"),
        ("a.jpg,0,0,1_0,1", "box: four finite numbers are wanted, not [0.0, 0.0, '1_0', 1.0]"),
        (",0,0,1,1", "image: is missing"),
        ("a.jpg,0,0,1,0", "the box 0,0,1,0 has no area"),
        ('"a.jpg,0,0,1,1', "damaged CSV: unexpected end of data"),
    ],
)
def test_a_wrong_line_of_a_table_is_one_fault_and_costs_no_other(line, cause, read):
    good = "a.jpg,0,0,1,1"
    found = read("\n".join(["image,x0,y0,x1,y1", good, "", line, good]))
    assert faults(found) == [f"boxes line 4: {cause}; {DONE}"]
    assert found.of(source("a.jpg")).numbers.tolist() == [2, 5]


def test_a_score_of_a_table_is_a_number(read):
    found = read("image,x0,y0,x1,y1,score\na,0,0,1,1,high\na,0,0,1,1,inf\na,0,0,1,1,-2\n")
    assert faults(found) == [
        f"boxes line 2: score: a finite number is wanted, not str 'high'; {DONE}",
        f"boxes line 3: score: a finite number is wanted, not float inf; {DONE}",
    ]
    assert found.of(source("a")).scores == (-2,)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "5",
        "file,xmin,ymin,xmax,ymax\na.jpg,0,0,1,1\n",
        "a.jpg,0,0,1,1\n",
        '{"shapes": [], "imagePath": "a.jpg"}',
        '{\n "shapes": []\n}',
        '{"images": []}',
        '{"annotations": [], "images": {}}',
        '{\n "image": "a.jpg",\n "box": [0, 0, 1, 1]\n}',
        b"\x89PNG\r\n\x1a\n\x00\x00",
        "image,x0\n".encode("utf-16"),
    ],
)
def test_a_file_of_another_layout_is_refused(text, read, tmp_path):
    with pytest.raises(InputError) as caught:
        read(text)
    assert str(caught.value) == f"{tmp_path / 'boxes'}: {LAYOUTS}"


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("image,x0,y0,x1", "column y1 is missing; the first line names image, x0, y0, x1, y1, "
         "category, score"),
        ("image,x0,y0,x1,y1,label", "column 'label' is not known; known are image, x0, y0, x1, "
         "y1, category, score"),
        ("image,x0,y0,x1,y1,x0", "two columns x0; leave one out"),
    ],
)  # fmt: skip
def test_a_header_names_what_is_known_once(header, line, read, tmp_path):
    with pytest.raises(InputError) as caught:
        read(header + "\n")
    assert str(caught.value) == f"{tmp_path / 'boxes'}: {line}"


@pytest.mark.parametrize("name", ["results", "results of many lines", "data set of many lines"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_file_cut_in_the_middle_is_refused(name, part, read, tmp_path):
    text = FILES[name]
    with pytest.raises(InputError) as caught:
        read(text[: int(len(text) * part)])
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'boxes'}: damaged JSON: ")
    assert line.endswith("; write it again")


def test_files_that_cannot_be_read_are_refused(tmp_path, data_set):
    gone = tmp_path / "gone"
    line = f"{gone}: no such file or directory"
    assert refused(gone) == f"{line}; check `detections`"
    assert refused(tmp_path) == f"{tmp_path}: is a directory; check `detections`"
    (tmp_path / "boxes").write_text("[]")
    assert refused(tmp_path / "boxes", gone) == f"{line}; check `data_set`"


@pytest.mark.parametrize("name", ["data set", "lines", "table"])
def test_only_results_go_with_a_data_set(name, read, data_set, tmp_path):
    with pytest.raises(InputError) as caught:
        read(FILES[name], data_set=data_set)
    assert str(caught.value) == (
        f"{tmp_path / 'boxes'}: no COCO results, which alone want a data set beside them; "
        "leave out `data_set`"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no COCO data set: no list of images; check `data_set`"),
        ("[]", "no COCO data set: no list of images; check `data_set`"),
        ('{"images": [', "damaged JSON: it ends early; write it again"),
        ('{"images": [{"id": 1}]}',
         "images 1: its id or name is missing; a COCO data set has both"),
        ('{"images": [{"id": true, "file_name": "a"}]}',
         "images 1: its id or name is missing; a COCO data set has both"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}',
         "images 2: an id that is there already; give each its own"),
        ('{"images": [], "categories": [{"id": "1", "name": "a"}]}',
         "categories 1: its id or name is missing; a COCO data set has both"),
    ],
)  # fmt: skip
def test_a_data_set_that_is_none_is_refused(text, line, tmp_path):
    (tmp_path / "boxes").write_text("[]")
    (tmp_path / "names").write_text(text)
    assert refused(tmp_path / "boxes", tmp_path / "names") == f"{tmp_path / 'names'}: {line}"


def lines_of(*names):
    return "".join(
        json.dumps({"image": name, "box": [0, 0, 1, i]}) + "\n" for i, name in enumerate(names, 1)
    )


def numbers_of(detections, *sources):
    return [each.numbers.tolist() for each in map(detections.of, sources)]


HERE = os.path.realpath(".")


@pytest.mark.parametrize(
    "name",
    [
        "cats/a.jpg",
        "./cats//a.jpg",
        "photos/cats/a.jpg",
        f"{HERE}/photos/cats/a.jpg",
        "../{here}/photos/cats/a.jpg",
        "cats/a",
        "cats/a.PNG",
        f"{HERE}/photos/cats/a",
        "a.jpg",
        "a",
        "/another/machine/cats/a.jpg",
        "val2017/cats/a.tif",
    ],
)
def test_names_that_are_an_input(name, read):
    found = read(lines_of("cats/b.jpg", name.format(here=Path(HERE).name)))
    assert numbers_of(found, source("cats/a.jpg")) == [[2]]
    assert found.unmatched([source("cats/b.jpg"), source("cats/a.jpg")]) == []


@pytest.mark.parametrize(
    "name", ["dogs/a.jpg", "ts/a.jpg", "xa.jpg", "cats/a.jpg.txt", "cats", "cats/a.b", "A.jpg", "0"]
)
def test_names_that_are_another(name, read):
    assert numbers_of(read(lines_of(name)), source("cats/a.jpg")) == [[]]


def test_an_input_found_through_a_link_is_the_file_named(read, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    found = read(lines_of("link/a.jpg", "other/link/b.jpg"))
    (given,) = discover([Path("real")], recursive=False)
    assert numbers_of(found, given) == [[1]]


ORDER = ["cats/a.jpg", "photos/cats/a.jpg", f"{HERE}/photos/cats/a.jpg", "cats/a.png", "a.jpg", "a"]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_two_names_the_better_counts_and_the_other_is_none(first, read):
    for second in range(first + 1, len(ORDER)):
        found = read(lines_of(ORDER[second], ORDER[first]))
        assert numbers_of(found, source("cats/a.jpg")) == [[2]]
        assert [str(line) for line in found.unmatched([source("cats/a.jpg")])] == [
            f"boxes line 1: image {ORDER[second]}, which has 1 box, is none of the inputs; "
            "check its name, or add it"
        ]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("/x/cats/a.jpg", "/x/cats/a.png"),  # both end with cats/a, but for the suffix
        (f"{HERE}/photos/cats/a", "/x/photos/cats/a"),
        ("photos/cats/a", "cats.old/photos/a"),
    ],
)
def test_of_two_names_much_alike_the_better_counts(better, worse, read):
    for names, wanted_numbers in (((better, worse), [1]), ((worse, better), [2])):
        assert numbers_of(read(lines_of(*names)), source("cats/a.jpg")) == [wanted_numbers]


def test_of_two_ids_of_one_file_name_none_counts(read):
    images = [{"id": i, "file_name": "a.jpg"} for i in (1, 2)]
    annotations = [{"image_id": i, "bbox": [0, 0, 1, 1]} for i in (2, 1)]
    found = read(json.dumps({"images": images, "annotations": annotations}))
    assert numbers_of(found, source("a.jpg")) == [[]]
    unmatched = found.unmatched([source("a.jpg")])
    assert [line.where for line in unmatched] == ["boxes annotation 1", "boxes annotation 2"]


def test_of_two_names_that_are_an_input_equally_none_counts(read):
    found = read(lines_of("x/a.jpg", "y/a.jpg"))
    assert numbers_of(found, source("a.jpg", folder="z")) == [[]]
    assert numbers_of(found, source("a.jpg", folder="z/x")) == [[1]]


def test_an_image_may_be_several_inputs_but_not_among_all(read):
    found = read(lines_of("a.jpg", "b.jpg", "cats/b.jpg", "c.jpg"))
    sources = [source(name) for name in ("a.jpg", "cats/a.jpg", "x/c.jpg", "y/c.jpg")]
    assert numbers_of(found, *sources) == [[1], [1], [4], [4]]
    assert numbers_of(found.among(reversed(sources)), *sources) == [[1], [], [], []]
    among = found.among(iter(sources))
    assert numbers_of(among, *sources) == [[1], [], [], []]
    assert [str(line) for line in among.unmatched(iter(sources))] == [
        "boxes line 2: image b.jpg, which has 1 box, is none of the inputs; "
        "check its name, or add it",
        "boxes line 3: image cats/b.jpg, which has 1 box, is none of the inputs; "
        "check its name, or add it",
        "boxes line 4: image c.jpg, which has 1 box, may be photos/x/c.jpg or photos/y/c.jpg; "
        "name it by its path in the input folder",
    ]


def test_images_of_a_data_set_are_known_by_their_file_names(read, data_set):
    found = read(FILES["results"], data_set=data_set)
    assert [str(line) for line in found.unmatched([source("7.jpg")])] == [
        "boxes detection 1: image a.jpg, which has 3 boxes, is none of the inputs; "
        "check its name, or add it",
        "boxes detection 2: image b.jpg, which has 2 boxes, is none of the inputs; "
        "check its name, or add it",
    ]
    assert [line.where for line in found.unmatched([source("sub/b.jpg")])] == ["boxes detection 1"]


def test_unmatched_numbers_are_said_as_they_are(read):
    found = read(FILES["results"])
    assert [str(line) for line in found.unmatched([source("3.jpg")])] == [
        "boxes detection 1: image 7, which has 3 boxes, is none of the inputs; "
        "check its name, or add it"
    ]


@pytest.mark.parametrize("name", ["\0/a.jpg", "\ud800/a.jpg", "x" * 5000 + "/b.jpg", "..", "/"])
def test_names_that_are_no_path_match_nothing(name, read):
    found = read(lines_of(name))
    assert numbers_of(found, source("c.jpg")) == [[]]
    assert len(found.unmatched([source("c.jpg")])) == 1


def test_the_hash_is_of_the_bytes_of_all_files(read, data_set):
    text = FILES["results"].encode()
    assert read(text).sha256 == hashlib.sha256(text).hexdigest()
    both = hashlib.sha256(text + data_set.read_bytes()).hexdigest()
    assert read(text, data_set=data_set).sha256 == both


def memory_of(path):
    """What a file's boxes are, and take of memory, held and while they are read, in bytes."""
    tracemalloc.start()
    found = Detections.read(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, held, peak


def test_many_lines_take_little_memory(tmp_path):
    path = tmp_path / "boxes.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "x0", "y0", "x1", "y1", "category", "score"])
        for i in range(30_000):
            rows.writerow([f"{i // 50}.jpg", i, 2, i + 3.5, 9, i % 80, i / 1e5])
    found, held, peak = memory_of(path)
    assert found.of(source("599.jpg")).numbers.tolist() == list(range(29_952, 30_002))
    assert held < 80 * 30_000  # 52 bytes a box, and the names
    assert peak < 200 * 30_000


def test_many_results_are_not_held_as_objects(tmp_path):
    path = tmp_path / "boxes.json"
    records = (RESULT | {"image_id": i // 50, "bbox": [i / 2, i / 4, 1.5, 2.5], "filler": "x" * 500}
               for i in range(30_000))  # fmt: skip
    path.write_text(json.dumps(list(records)))
    found, held, peak = memory_of(path)
    assert len(found.of(source("599.jpg"))) == 50
    assert held < 80 * 30_000
    assert peak < 10e6 < path.stat().st_size


def test_reading_boxes_loads_no_torch_and_no_ijson():
    script = (
        "import sys, amg_cli.batch.detections; sys.exit(bool({'torch', 'ijson'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.fixture(scope="module")
def coco_val():
    return shared("data/coco_val")


def test_real_results_are_those_of_json(coco_val):
    path, names = coco_val / "detections.json", coco_val / "instances.json"
    records, known = json.loads(path.read_text()), json.loads(names.read_text())
    category_of = {each["id"]: each["name"] for each in known["categories"]}
    sources = discover([coco_val / "images"], recursive=False)
    by_id, by_name = Detections.read(path), Detections.read(path, names)
    assert by_name.categories == tuple(category_of.values())
    assert by_name.category_ids == tuple(category_of)
    assert by_id.category_ids == tuple(sorted({each["category_id"] for each in records}))
    nb_boxes = 0
    for each in sources:
        image_id = int(Path(each.file).stem)
        own = [(i, r) for i, r in enumerate(records, 1) if r["image_id"] == image_id]
        x, y, w, h = np.array([r["bbox"] for _, r in own]).reshape(-1, 4).T
        for found in (by_id, by_name.among(sources)):
            boxes = found.of(each)
            assert (boxes.image_id, boxes.numbers.tolist()) == (image_id, [i for i, _ in own])
            np.testing.assert_array_equal(boxes.boxes_xyxy, np.stack([x, y, x + w, y + h], axis=1))
            assert boxes.scores == tuple(r["score"] for _, r in own)
        assert boxes.categories == tuple(category_of[r["category_id"]] for _, r in own)
        nb_boxes += len(own)
    assert nb_boxes == len(records)
    assert by_id.faults == by_name.faults == ()
    assert by_id.unmatched(sources) == by_name.unmatched(sources) == []


def test_a_real_data_set_is_that_of_json(coco_val):
    values = json.loads((coco_val / "instances.json").read_text())
    found = Detections.read(coco_val / "instances.json")
    sources = discover([coco_val / "images"], recursive=False)
    nb_objects = sum(not each["iscrowd"] for each in values["annotations"])
    assert sum(len(found.of(each)) for each in sources) == nb_objects == 922
    assert (found.faults, found.unmatched(sources)) == ((), [])
    assert {score for each in sources for score in found.of(each).scores} == {None}
