"""`amg select --decisions`: a review's file applied to a run, and what such a file may be."""

import dataclasses
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from amg_cli.batch.convert import results_of
from amg_cli.batch.selecting import reviewed, selected
from amg_cli.core.config import GenerationConfig, settings_of_proposing, settings_of_selecting
from amg_cli.core.errors import ImageError, InputError
from amg_cli.formats import decisions as decisions_file
from amg_cli.formats.decisions import Decisions, ImageDecisions, parse, read, text_of
from amg_cli.formats.table import format_of
from tests.candidates import candidates_of
from tests.command import AMG, SMALL_MODEL, amg, error_lines, files_under, save
from tests.writing import result_of, write_run

KEPT_OVER = ["--save-candidates", "--candidate-floors", "0.2,0.3"]
LOW = {"pred_iou_thresh": 0.2, "stability_score_thresh": 0.3}
NAMES = ("b", "none", "sub/a b", "sub/a")
# Of a folder without a run's record, all that is known of an image is what its output is called.
SOURCES = ["old", "rle", "coco", "ndjson", "coco/annotations.json", "ndjson/masks.ndjson"]
SETTINGS = [LOW, LOW | {"parents": True, "nms": "off"}, LOW | {"max_masks": 4, "min_area": "1%"}]
SAME_DUPLICATES = {"nms": "box", "box_nms_thresh": 0.7, "crop_nms_thresh": 0.7}
AGAIN = "save it again from a page of amg view"
CHANGED = "make the view again"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that has kept its candidates, of images with masks and a black one; and its masks in
    folders of one format, without a record.
    """
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("b", "sub/a", "sub/a b")):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        save(folder / f"photos/{name}.png", cv2.resize(coarse, (90, 60)))
    save(folder / "photos/none.png", np.zeros((20, 30, 3), np.uint8))
    options = [*as_options(LOW), "--points-per-side", "4", *SMALL_MODEL, *KEPT_OVER]
    done(amg("--input", "photos", "--recursive", "--output", "old", *options, cwd=folder))
    for name in ("rle", "coco", "ndjson"):
        done(amg("convert", "old", "--output", name, "--format", name, cwd=folder))
    return folder


def as_options(values):
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    return [word for pair in pairs for word in pair]


def done(result):
    assert result.returncode == 0, result.stderr
    return result


def masks_of(folder, source, settings=None):
    """The masks of each image before any is dropped, by its file name."""
    source = folder / source
    found = results_of(source) if settings is None else selected(source, config_of(settings))
    return {each.file_name: each.masks for each in found if not isinstance(each, ImageError)}


def config_of(settings):
    return GenerationConfig(**settings)


def file_of(path, images, settings=None, **more):
    """A review's file. images: what to drop, by file name, or a whole element"""
    elements = [
        each if isinstance(each, dict) else {"file_name": each, "drop": images[each]}
        for each in images
    ]
    values = {"amg_decisions": 1, "settings": settings, "images": elements} | more
    path.write_text(json.dumps(values))
    return path


def select(folder, output, decisions, *more, source="old", **options):
    arguments = ["select", source, "--output", output, "--decisions", decisions]
    return amg(*arguments, "--format", "ndjson", *more, cwd=folder, **options)


def written(folder):
    """The images of an output in ndjson, by file name."""
    return {each.file_name: each for each in format_of("ndjson").read(folder / "masks.ndjson")}


# Exactly the others stay


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_dropped_masks_go_and_the_others_are_those_of_the_settings(settings, runs, tmp_path):
    """Byte for byte what the settings give, where nothing is dropped; else without the dropped."""
    options = [f"--{name.replace('_', '-')}" for name in settings if settings[name] is True]
    options += as_options({name: each for name, each in settings.items() if each is not True})
    # nano's own settings are none of a page, which names all of them.
    plain = ["--nms", settings.get("nms", "box"), "--box-nms-thresh", "0.7", *options]
    arguments = ["select", "old", "--output", tmp_path / "plain", "--format", "ndjson"]
    done(amg(*arguments, *plain, cwd=runs))
    nothing = file_of(tmp_path / "nothing.json", [], settings)
    done(select(runs, tmp_path / "all", nothing))
    assert files_under(tmp_path / "all") == files_under(tmp_path / "plain")

    masks = masks_of(runs, "old", settings)
    assert sorted(len(each) for each in masks.values())[1] > 2
    some = file_of(tmp_path / "some.json", {"b.png": [0, 2], "sub/a.png": [1, 1]}, settings)
    done(select(runs, tmp_path / "new", some))
    found = written(tmp_path / "new")
    for name, gone in {"b.png": {0, 2}, "sub/a.png": {1}, "sub/a b.png": set()}.items():
        stay = [mask for i, mask in enumerate(masks[name]) if i not in gone]
        assert [mask.rle for mask in found[name].masks] == [mask.rle for mask in stay]
        if settings.get("parents"):
            assert [mask.id for mask in found[name].masks] == [mask.id for mask in stay]


@pytest.mark.parametrize("source", SOURCES)
def test_masks_as_written_go_by_their_numbers(source, runs, tmp_path):
    masks = masks_of(runs, source)
    name = next(name for name in masks if "b" in name)
    decisions = file_of(tmp_path / "d.json", {name: [1]})
    done(select(runs, tmp_path / "new", decisions, source=source))
    found = written(tmp_path / "new")
    assert found.keys() == masks.keys()
    for key, stay in masks.items():
        stay = [mask for i, mask in enumerate(stay) if i != 1 or key != name]
        assert [mask.rle for mask in found[key].masks] == [mask.rle for mask in stay]


@pytest.mark.parametrize(
    ("source", "settings"),
    [(source, None) for source in SOURCES] + [("old", settings) for settings in SETTINGS],
    ids=str,
)
def test_whatever_is_dropped_exactly_the_others_stay_in_order(source, settings, runs):
    masks = masks_of(runs, source, settings)
    config = None if settings is None else config_of(settings)
    numbered = {name: dict(result_of(each).numbered) for name, each in masks.items()}

    @given(st.fixed_dictionaries({}, optional={
        name: st.sets(st.sampled_from(sorted(each))) if each else st.just(set())
        for name, each in numbered.items()
    }))  # fmt: skip
    @of_hypothesis(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    def check(drop):
        images = [
            ImageDecisions(name, frozenset(gone), len(masks[name])) for name, gone in drop.items()
        ]
        found = list(reviewed(runs / source, Decisions(config, tuple(images))))
        assert [each.file_name for each in found] == list(masks)
        for result in found:
            gone = drop.get(result.file_name, set())
            stay = {n: m for n, m in numbered[result.file_name].items() if n not in gone}
            assert [without_parent(mask) for mask in result.masks] == [
                without_parent(mask) for mask in stay.values()
            ]
            assert [mask.parent for mask in result.masks] == [
                around(mask, numbered[result.file_name], gone) for mask in stay.values()
            ]

    check()


def without_parent(mask):
    return dataclasses.replace(mask, parent=None)


def around(mask, of_number, gone):
    """The number of the nearest mask around another that stays."""
    if mask.parent is None or mask.parent not in gone:
        return mask.parent
    return around(of_number[mask.parent], of_number, gone)


def test_what_was_dropped_once_stays_dropped_as_ids_stay(runs, tmp_path):
    """A review of what a review has written names masks by their ids."""
    count = len(masks_of(runs, "ndjson")["b.png"])
    first = file_of(tmp_path / "1.json", {"b.png": [0, 2]})
    done(select(runs, tmp_path / "one", first, source="ndjson"))
    second = file_of(tmp_path / "2.json", {"b.png": [3]})
    done(select(runs, tmp_path / "two", second, source=tmp_path / "one"))
    ids = [mask.id for mask in written(tmp_path / "two")["b.png"].masks]
    assert ids == [1, *range(4, count)]
    again = file_of(tmp_path / "3.json", {"b.png": [0]})
    result = select(runs, tmp_path / "three", again, source=tmp_path / "one")
    assert error_lines(result) == [
        f"amg: b.png: the decisions drop mask 0, which it does not have; {CHANGED}"
    ]


def square(size, number, parent):
    mask = np.zeros((20, 20), bool)
    mask[:size, :size] = True
    (mask,) = candidates_of([mask], [0.9]).masks()
    return dataclasses.replace(mask, id=number, parent=parent)


@pytest.mark.parametrize(
    ("parents", "drop", "wanted"),
    [
        ({1: None, 2: 1, 3: 2, 4: 3}, {2}, {1: None, 3: 1, 4: 3}),
        ({1: None, 2: 1, 3: 2, 4: 3}, {2, 3}, {1: None, 4: 1}),
        ({1: None, 2: 1, 3: 2, 4: 3}, {1}, {2: None, 3: 2, 4: 3}),
        ({1: None, 2: 1, 3: 2, 4: 2}, {1, 2}, {3: None, 4: None}),
        ({1: 2, 2: 1, 3: 2, 4: 9}, {1, 2}, {3: None, 4: 9}),  # in a file of others, a circle
    ],
)
def test_parts_of_what_is_dropped_become_those_of_the_mask_around_it(
    parents, drop, wanted, tmp_path
):
    masks = [square(20 - number, number, parent) for number, parent in parents.items()]
    write_run(format_of("ndjson"), [result_of(masks, "a")], tmp_path / "masks.ndjson")
    decisions = Decisions(None, (ImageDecisions("a.jpg", frozenset(drop)),))
    (found,) = reviewed(tmp_path / "masks.ndjson", decisions)
    assert {mask.id: mask.parent for mask in found.masks} == wanted


def test_parents_in_coco_are_of_masks_that_are_there(runs, tmp_path):
    settings = LOW | {"parents": True, "nms": "off"}
    numbered = dict(enumerate(masks_of(runs, "old", settings)["b.png"]))
    gone = sorted({mask.parent for mask in numbered.values()} - {None})[:2]
    assert gone
    decisions = file_of(tmp_path / "d.json", {"b.png": gone}, settings)
    done(select(runs, tmp_path / "new", decisions, "--format", "coco"))
    values = json.loads((tmp_path / "new/annotations.json").read_text())
    image = next(each["id"] for each in values["images"] if each["file_name"] == "b.png")
    found = {
        each["id"] - 100_000 * image: each.get("parent_id", 0) - 100_000 * image
        for each in values["annotations"]
        if each["image_id"] == image
    }
    assert set(found) == set(numbered) - set(gone)
    for number, parent in found.items():
        wanted = around(numbered[number], numbered, gone)
        assert parent == (-100_000 * image if wanted is None else wanted)


def test_png_is_written_without_another_format_and_a_file_is_read_from_stdin(runs, tmp_path):
    text = file_of(tmp_path / "d.json", {"b.png": [0]}, LOW).read_text()
    arguments = ["select", "old", "--output", tmp_path / "new", "--decisions", "-"]
    result = done(amg(*arguments, cwd=runs, input=text))
    assert str(tmp_path / "new/b") in result.stdout.splitlines()
    count = len(masks_of(runs, "old", LOW)["b.png"])
    pngs = sorted(path.name for path in (tmp_path / "new/b").glob("*.png"))
    assert pngs == sorted(f"{i}.png" for i in range(count - 1))
    bad = amg(*arguments, cwd=runs, input="[")
    assert bad.returncode == 1
    assert error_lines(bad)[0].startswith("amg: stdin: is not JSON: ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of POSIX")
def test_without_a_stdin_nothing_is_read_from_it(runs, tmp_path):
    command = f"'{AMG}' select old --output '{tmp_path / 'new'}' --decisions - <&-"
    result = subprocess.run(["sh", "-c", command], cwd=runs, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "Error: --decisions - needs a stdin"


# Images that are not as they were


def test_an_image_of_other_masks_is_named_and_the_others_are_done(runs, tmp_path):
    masks = masks_of(runs, "old", LOW)
    count = {name: len(each) for name, each in masks.items()}
    elements = [
        {"file_name": "b.png", "masks": count["b.png"] + 1, "drop": []},
        {"file_name": "none.png", "masks": 0, "drop": []},
        {"file_name": "sub/a.png", "masks": count["sub/a.png"], "drop": [0, count["sub/a.png"]]},
        {"file_name": "sub/a b.png", "masks": count["sub/a b.png"], "drop": [0]},
        {"file_name": "gone.png", "masks": 2, "drop": [0]},
    ]
    decisions = file_of(tmp_path / "d.json", elements, LOW)
    result = select(runs, tmp_path / "new", decisions)
    assert result.returncode == 3
    seen, there = count["b.png"] + 1, count["b.png"]
    last = count["sub/a.png"]
    assert sorted(error_lines(result)) == sorted([
        f"amg: b.png: the decisions are of {seen} masks, and it has {there}; {CHANGED}",
        f"amg: none.png: the decisions are of 0 masks, and it has 1; {CHANGED}",
        f"amg: sub/a.png: the decisions drop mask {last}, which it does not have; {CHANGED}",
        "amg: gone.png: is in the decisions, and old has no masks of it; "
        "give the run that was reviewed, and --images as there",
    ])  # fmt: skip
    found = written(tmp_path / "new")
    assert found.keys() == {"sub/a b.png"}
    assert len(found["sub/a b.png"].masks) == count["sub/a b.png"] - 1


def test_one_mask_is_said_to_be_one(tmp_path):
    masks = [square(9, 0, None), square(5, 1, None)]
    write_run(format_of("ndjson"), [result_of(masks, "a")], tmp_path / "masks.ndjson")
    decisions = Decisions(None, (ImageDecisions("a.jpg", frozenset(), 1),))
    (found,) = reviewed(tmp_path / "masks.ndjson", decisions)
    assert str(found) == f"a.jpg: the decisions are of 1 mask, and it has 2; {CHANGED}"


def test_a_number_below_the_first_is_none(runs, tmp_path):
    result = select(runs, tmp_path / "new", file_of(tmp_path / "d.json", {"b.png": [-1]}))
    assert result.returncode == 3
    assert error_lines(result) == [
        f"amg: b.png: the decisions drop mask -1, which it does not have; {CHANGED}"
    ]


@pytest.mark.parametrize("settings", [None, LOW], ids=str)
def test_of_an_image_whose_file_is_damaged_there_is_one_line(settings, runs, tmp_path):
    shutil.copytree(runs / "old", tmp_path / "old")
    file = tmp_path / ("old/b/metadata.csv" if settings is None else "old/candidates/b.npz")
    file.write_bytes(file.read_bytes()[:-30])
    decisions = file_of(tmp_path / "d.json", {"b.png": [0], "sub/a.png": [0]}, settings)
    result = select(tmp_path, "new", decisions)
    assert result.returncode == 3
    (line,) = error_lines(result)
    assert line.startswith(f"amg: old/{'b' if settings is None else 'candidates/b.npz'}: no ")
    assert written(tmp_path / "new").keys() == {"none.png", "sub/a b.png", "sub/a.png"}


def test_a_name_that_several_images_have_is_of_none(runs, tmp_path):
    """Two folders may have an image of one name, and be one run."""
    for folder in ("x", "y"):
        shutil.copytree(runs / "photos/sub", tmp_path / folder)
    options = [*as_options(LOW), "--points-per-side", "4", *SMALL_MODEL, "--format", "ndjson"]
    inputs = ["--input", "x", "--input", "y/a.png"]
    done(amg(*inputs, "--output", "old", *options, cwd=tmp_path))
    line = (
        "amg: a.png: is the name of several images of the run, so that decisions could be of any; "
        "review a run of each folder"
    )
    decisions = file_of(tmp_path / "d.json", {"a.png": [0], "a b.png": [0]})
    for source in ("old", "old/masks.ndjson"):
        result = select(tmp_path, f"new of {source[-3:]}", decisions, source=source)
        assert result.returncode == 3
        assert error_lines(result) == [line, line]
        found = format_of("ndjson").read(tmp_path / f"new of {source[-3:]}/masks.ndjson")
        assert [each.file_name for each in found] == ["a b.png"]


# Options beside it


@pytest.mark.parametrize(
    ("settings", "more", "line"),
    [
        (
            None,
            ["--pred-iou-thresh", "0.9"],
            "--pred-iou-thresh does not go with these decisions, which are of the masks as they "
            "are",
        ),
        (
            None,
            ["--preset", "parts"],
            "--preset does not go with these decisions, which are of the masks as they are",
        ),
        (
            None,
            ["--parents"],
            "--parents does not go with these decisions, which are of the masks as they are",
        ),
        (
            None,
            ["--points-per-side", "8"],
            "--points-per-side does not go with these decisions, which are of the masks as they "
            "are",
        ),
        (
            LOW,
            ["--pred-iou-thresh", "0.9"],
            "--pred-iou-thresh 0.9: the decisions are of masks by --pred-iou-thresh 0.2; leave it "
            "out",
        ),
        (
            LOW,
            ["--pred-iou-thresh", "0.2", "--nms", "mask"],
            "--nms mask: the decisions are of masks by --nms box; leave it out",
        ),
        (
            LOW,
            ["--drop-border"],
            "--drop-border: the decisions are of masks without it; leave it out",
        ),
        (LOW, ["--fill"], "--fill: the decisions are of masks without it; leave it out"),
        (
            LOW | {"disjoint": "score", "fill": True},
            ["--disjoint", "off"],
            "--disjoint off: the decisions are of masks by --disjoint score; leave it out",
        ),
        (
            LOW,
            ["--preset", "parts", "--pred-iou-thresh", "0.2"],
            "--preset parts: --stability-score-thresh 0.8: the decisions are of masks by "
            "--stability-score-thresh 0.3; leave it out",
        ),
        (
            LOW,
            ["--points-per-side", "8"],
            "--points-per-side cannot be changed in candidates; run amg again with it",
        ),
        (
            LOW,
            ["--box-nms-thresh", "2"],
            "Invalid value for --box-nms-thresh: must be a number (0 to 1), not 2.0",
        ),
        (None, ["--roi", "0,0,9,9"], "--roi does not go with --decisions, which are of all masks"),
        (LOW, ["--roi", "0,0,9,9"], "--roi does not go with --decisions, which are of all masks"),
    ],
)
def test_options_of_other_masks_are_refused_by_name(settings, more, line, runs, tmp_path):
    decisions = file_of(tmp_path / "d.json", {"b.png": [0]}, settings)
    result = select(runs, tmp_path / "new", decisions, *more)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"Error: {line}"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (LOW, ["--pred-iou-thresh", "0.20", "--nms", "box", "--min-area", "0"]),
        (LOW | {"drop_border": True}, ["--drop-border"]),
        (LOW | {"disjoint": "smallest", "fill": True}, ["--fill"]),
        (
            {"pred_iou_thresh": 0.86, "stability_score_thresh": 0.8, "nms": "mask"}
            | {"box_nms_thresh": 0.8, "crop_nms_thresh": 0.8},
            ["--preset", "parts"],
        ),
        (LOW, ["--preset", "parts", *as_options(LOW | SAME_DUPLICATES)]),
    ],
)
def test_options_that_say_the_same_are_no_error(settings, more, runs, tmp_path):
    decisions = file_of(tmp_path / "d.json", [], settings)
    done(select(runs, tmp_path / "new", decisions, *more))
    done(select(runs, tmp_path / "plain", decisions))
    assert files_under(tmp_path / "new") == files_under(tmp_path / "plain")


def test_settings_that_candidates_cannot_give_are_refused_as_those_of_options(runs, tmp_path):
    decisions = file_of(tmp_path / "d.json", [], LOW | {"pred_iou_thresh": 0.1})
    result = select(runs, tmp_path / "new", decisions)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "Error: Invalid value for --pred-iou-thresh: 0.1 is under 0.2, which the candidates were "
        "kept over; run amg again with lower --candidate-floors"
    )
    assert not (tmp_path / "new").exists()


def test_settings_need_a_run_with_candidates(runs, tmp_path):
    decisions = file_of(tmp_path / "d.json", [], LOW)
    for source in ("coco", "coco/annotations.json", "nowhere"):
        result = select(runs, tmp_path / "new", decisions, source=source)
        assert result.returncode == 1
        assert error_lines(result) == [
            f"amg: {source}: no candidates of a run in it; run amg again with --save-candidates"
        ]
        assert not (tmp_path / "new").exists()


def test_masks_as_written_need_masks(runs, tmp_path):
    decisions = file_of(tmp_path / "d.json", [])
    for source, cause in {"photos": "no masks of amg in it; give a run's --output",
                          "nowhere": "no such file or folder; give a run's --output, or a file "
                          "of it"}.items():  # fmt: skip
        result = select(runs, tmp_path / "new", decisions, source=source)
        assert result.returncode == 1
        assert error_lines(result) == [f"amg: {source}: {cause}"]
        assert not (tmp_path / "new").exists()


def test_output_that_is_there_stays_unless_it_is_to_go(runs, tmp_path):
    some, all_ = (file_of(tmp_path / f"{len(d)}.json", {"b.png": d}, LOW) for d in ([0], []))
    done(select(runs, tmp_path / "new", all_))
    result = select(runs, tmp_path / "new", some)
    assert result.returncode == 1
    assert "exists; give --on-exists overwrite" in result.stderr
    done(select(runs, tmp_path / "new", some, "--on-exists", "overwrite"))
    masks = masks_of(runs, "old", LOW)["b.png"]
    assert len(written(tmp_path / "new")["b.png"].masks) == len(masks) - 1


# The file


IMAGE = {"file_name": "a.jpg", "drop": []}
BAD = {
    "": "is not JSON: Expecting value: line 1 column 1 (char 0)",
    "{": "is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    b"\xff": "is not UTF-8, at byte 0",
    "[]": "no decisions of amg",
    '{"settings": null, "images": []}': "no decisions of amg",
    '{"amg_decisions": "1"}': "no decisions of amg",
    '{"amg_decisions": 0}': "no decisions of amg",
    '{"amg_decisions": true}': "no decisions of amg",
}
BAD_VALUES = [
    ({"settings": []}, "settings: an object or null is wanted, not list"),
    ({"settings": {"pred_iou": 1}}, "settings: 'pred_iou' is not known"),
    ({"settings": {"crop_n_layers": 0}}, "settings: crop_n_layers cannot be changed in candidates"),
    (
        {"settings": {"box_nms_thresh": 2}},
        "settings: box_nms_thresh must be a number (0 to 1), not 2",
    ),
    ({"settings": {"nms": None}}, "settings: nms must be box or mask or off, not None"),
    ({"settings": {"fill": True}},
     "settings: fill goes with disjoint, which says whose a pixel is"),
    ({"images": None}, "images: a list is wanted, not None"),
    ({"images": {"a.jpg": [1]}}, "images: a list is wanted, not dict"),
    ({"images": [IMAGE, "b.jpg"]}, "images[1]: an object is wanted, not str 'b.jpg'"),
    ({"images": [{"drop": []}]}, "images[0]: file_name: text is wanted, not None"),
    ({"images": [{"file_name": 3}]}, "images[0]: file_name: text is wanted, not int 3"),
    ({"images": [{"file_name": "a.jpg"}]}, "a.jpg: drop: a list is wanted, not None"),
    ({"images": [IMAGE | {"drop": 3}]}, "a.jpg: drop: a list is wanted, not int 3"),
    ({"images": [IMAGE | {"drop": [1, 2.0]}]},
     "a.jpg: drop: whole numbers are wanted, not float 2.0"),
    ({"images": [IMAGE | {"drop": ["1"]}]}, "a.jpg: drop: whole numbers are wanted, not str '1'"),
    ({"images": [IMAGE | {"drop": [True]}]},
     "a.jpg: drop: whole numbers are wanted, not bool True"),
    ({"images": [IMAGE | {"masks": None}]}, "a.jpg: masks: whole numbers are wanted, not None"),
    ({"images": [IMAGE | {"dorp": [1]}]},
     "a.jpg: 'dorp' is not known; known are file_name, masks, drop"),
    ({"imagse": []}, "'imagse' is not known; known are amg_decisions, settings, images"),
    ({"images": [IMAGE, {"file_name": "b"} | {"drop": []}, IMAGE]}, "a.jpg is in it twice"),
]  # fmt: skip


@pytest.mark.parametrize("content", BAD, ids=repr)
def test_what_is_no_file_of_a_review_is_named(content, tmp_path):
    (tmp_path / "d.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as raised:
        read(tmp_path / "d.json")
    assert str(raised.value) == f"{tmp_path / 'd.json'}: {BAD[content]}; {AGAIN}"


@pytest.mark.parametrize(("values", "cause"), BAD_VALUES, ids=str)
def test_what_a_review_cannot_have_is_named(values, cause):
    values = {"amg_decisions": 1, "settings": None, "images": []} | values
    with pytest.raises(InputError) as raised:
        parse(json.dumps(values), "stdin")
    assert str(raised.value) == f"stdin: {cause}; {AGAIN}"


def test_a_file_is_checked_whole_before_anything_is_written(runs, tmp_path):
    elements = [{"file_name": "b.png", "drop": [0]}, {"file_name": "sub/a.png", "drop": ["x"]}]
    for settings in (None, LOW):
        decisions = file_of(tmp_path / "d.json", elements, settings)
        result = select(runs, tmp_path / "new", decisions)
        assert result.returncode == 1
        cause = "sub/a.png: drop: whole numbers are wanted, not str 'x'"
        assert error_lines(result) == [f"amg: {decisions}: {cause}; {AGAIN}"]
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("nowhere.json", None, "nowhere.json: no such file or directory; check the path"),
        (
            "d.json",
            {"amg_decisions": 2, "settings": {"new": 1}},
            "d.json: of a newer amg; use that",
        ),
        (
            "d.json",
            {"amg_decisions": 1, "settings": {"fill": True}, "images": []},
            f"d.json: settings: fill goes with disjoint, which says whose a pixel is; {AGAIN}",
        ),
        (
            "d.json",
            {"amg_decisions": 1, "images": [IMAGE, IMAGE]},
            f"d.json: a.jpg is in it twice; {AGAIN}",
        ),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong_with_a_file(name, content, line, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(json.dumps(content))
    result = select(tmp_path, "new", name)
    assert result.returncode == 1
    assert error_lines(result) == [f"amg: {line}"]
    assert not (tmp_path / "new").exists()


def test_a_file_nested_without_end_is_no_json(tmp_path):
    (tmp_path / "d.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not JSON: "):
        read(tmp_path / "d.json")


def test_a_review_by_hand_may_leave_out_what_has_a_default():
    text = b'\xef\xbb\xbf{"amg_decisions": 1, "images": [{"file_name": "a", "drop": [2, 1, 2]}]}'
    images = (ImageDecisions("a", frozenset({1, 2}), None),)
    assert parse(text, "stdin") == Decisions(None, images)
    text = '{"amg_decisions": 1, "settings": {}, "images": []}'
    assert parse(text, "stdin") == Decisions(GenerationConfig(), ())


NUMBERS = st.integers(0, 99_999)
IMAGES = st.builds(ImageDecisions, st.text(), st.frozensets(NUMBERS), st.none() | NUMBERS)
CONFIGS = st.builds(
    GenerationConfig,
    pred_iou_thresh=st.floats(-1, 2),
    nms=st.sampled_from(["box", "mask", "off"]),
    min_area=st.sampled_from([0, 12.5, "3%"]),
    parents=st.booleans(),
)


@given(st.none() | CONFIGS, st.lists(IMAGES, unique_by=lambda image: image.file_name))
def test_what_is_written_is_read_again(config, images):
    decisions = Decisions(config, tuple(images))
    text = text_of(decisions)
    assert text.isascii()
    assert parse(text, "stdin") == decisions


def test_a_name_that_is_no_text_is_kept():
    decisions = Decisions(None, (ImageDecisions("a\udcff.jpg", frozenset({0})),))
    assert parse(text_of(decisions), "stdin") == decisions


def test_a_written_file_has_every_setting_of_selecting_and_none_of_proposing():
    values = json.loads(text_of(Decisions(GenerationConfig(points_per_side=3), ())))
    names = {field.name for field in dataclasses.fields(GenerationConfig)}
    assert set(values["settings"]) == names - set(settings_of_proposing())
    assert list(values["settings"]) == settings_of_selecting()
    assert values["amg_decisions"] == decisions_file.VERSION
