"""`amg --classes` and `--text`, and `amg label`: through formats, shards, breaks; what is refused.

The encoder is one of colours, which lies beside the photographs, as a user's own would.
"""

import csv
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from amg_cli import NamingConfig, name_masks
from amg_cli.batch.reading import read_image
from amg_cli.cli.main import main
from amg_cli.formats import ndjson, parquet, sa1b
from amg_cli.formats.table import FORMATS
from tests import colour_encoder
from tests.colour_encoder import COLOURS, ColourHistogram
from tests.command import SMALL_MODEL, amg, error_lines, files_under, save

CLASSES = ("green", "blue", "red", "white")
ENCODER = ["--text-encoder", "mine:encoder"]
NAMED = ["--classes", "classes.txt", "--unknown-thresh", "0.4", *ENCODER]
POINTS = ["--points-per-side", "5", "--pred-iou-thresh", "0.5", "--stability-score-thresh", "0.6"]
MODEL = [*SMALL_MODEL, *POINTS, "--threads", "1"]


def prepare(folder):
    """Photographs of shapes, a list of classes, and an encoder."""
    shutil.copy(colour_encoder.__file__, folder / "mine.py")
    lines = "# colours\ngreen\n\n  blue \nred\ngreen\r\nwhite\n"
    (folder / "classes.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    for place, name in enumerate(("c", "a", "sub/b")):
        image = np.full((120, 160, 3), 250, np.uint8)
        inks = [COLOURS[colour][::-1] for colour in ("red", "green", "black")]
        ink, other, third = inks[place:] + inks[:place]
        cv2.circle(image, (40, 50), 25, ink, -1)
        cv2.rectangle(image, (90, 20), (140, 70), other, -1)
        cv2.ellipse(image, (80, 100), (50, 12), 0, 0, 360, third, -1)
        save(folder / f"photos/{name}.png", image)
    save(folder / "photos/none.png", np.zeros((20, 30, 3), np.uint8))
    return folder


def run(folder, *more, output="out", expected=0):
    given = ["--input", "photos", "--recursive", "--output", output, *MODEL]
    result = amg(*given, *more, cwd=folder)
    assert result.returncode == expected, result.stderr
    return result


def words(option, values):
    return [word for value in values for word in (option, value)]


def lines_of(path):
    return [json.loads(line) for line in path.open()]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run in all formats."""
    folder = prepare(tmp_path_factory.mktemp("run"))
    result = run(folder, *NAMED, *words("--format", FORMATS), "--workers", "1")
    assert error_lines(result) == []
    return folder


def test_names_are_those_of_the_encoder_with_their_probabilities(run_of):
    naming = NamingConfig(classes=CLASSES, unknown_thresh=0.4)
    seen = set()
    for result in ndjson.read(run_of / "out/masks.ndjson"):
        image = read_image(run_of / "photos" / result.file_name)
        wanted = name_masks(image, result.masks, ColourHistogram(), naming)
        assert list(result.masks) == wanted
        seen |= {mask.category for mask in wanted}
    assert seen >= {"green", "red", "white", "unknown"}


def test_every_format_that_holds_names_has_them(run_of):
    out = run_of / "out"
    wanted = {
        (line["name"], mask["id"]): (mask["category"], mask["category_score"])
        for line in lines_of(out / "masks.ndjson")
        for mask in line["masks"]
    }
    listed = [*CLASSES, "unknown"]
    coco = json.loads((out / "annotations.json").read_text())
    assert [c["name"] for c in coco["categories"]] == listed
    assert [c["id"] for c in coco["categories"]] == [1, 2, 3, 4, 5]
    names = {image["id"]: image["file_name"].removesuffix(".png") for image in coco["images"]}
    found = {
        (names[a["image_id"]], a["id"] % 100_000): (listed[a["category_id"] - 1], a["score"])
        for a in coco["annotations"]
    }
    assert found == wanted
    results = json.loads((out / "results.json").read_text())
    assert [(listed[r["category_id"] - 1], r["score"]) for r in results] == list(found.values())
    assert (out / "yolo/data.yaml").read_text().split("names:\n")[1] == "".join(
        f'  {number}: "{name}"\n' for number, name in enumerate(listed)
    )
    tables = {result.name: result.masks for result in parquet.read(out / "parquet")}
    tables["sa1b"] = sa1b.read(out / "sa1b/c.json")
    for name, masks in tables.items():
        own = "c" if name == "sa1b" else name
        expected = [wanted[key] for key in sorted(wanted) if key[0] == own]
        assert [(m.category, m.category_score) for m in masks] == expected
    of_c = sorted(wanted[key][0] for key in wanted if key[0] == "c")
    labelme = json.loads((out / "labelme/c.json").read_text())
    assert sorted(shape["label"] for shape in labelme["shapes"]) == of_c
    with (out / "labelmap/c/labels.csv").open() as file:
        assert sorted(row["category"] for row in csv.DictReader(file)) == of_c
    for name in ("cvat.xml", "labelstudio.json"):
        assert all(category in (out / name).read_text() for category in of_c)


@pytest.mark.parametrize("how", [["--shard"], ["--workers", "2"]])
def test_shards_and_workers_come_to_the_same(run_of, tmp_path, how):
    formats = words("--format", ["coco", "yolo", "ndjson", "coco-results"])
    if how == ["--shard"]:
        for part in ("1/2", "2/2"):
            run(run_of, *NAMED, *formats, "--shard", part, output=tmp_path / "out")
        result = amg("merge", tmp_path / "out", "--output", tmp_path / "out", cwd=run_of)
        assert result.returncode == 0, result.stderr
    else:
        run(run_of, *NAMED, *formats, *how, output=tmp_path / "out")
    for name in ("annotations.json", "results.json", "masks.ndjson", "yolo/data.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (run_of / "out" / name).read_bytes(), name


def test_a_run_that_goes_on_numbers_its_categories_alike(run_of, tmp_path):
    """Of the images that were done before, none had the first category."""
    shutil.copytree(run_of, tmp_path / "copy", ignore=shutil.ignore_patterns("out"))
    folder = tmp_path / "copy"
    for name in ("a", "c", "sub/b"):
        (folder / f"photos/{name}.png").rename(folder / f"{Path(name).name}.aside")
    run(folder, *NAMED, "--format", "coco")
    empty = json.loads((folder / "out/annotations.json").read_text())
    assert [c["name"] for c in empty["categories"]] == [*CLASSES, "unknown"]
    for name in ("a", "c", "sub/b"):
        (folder / f"{Path(name).name}.aside").rename(folder / f"photos/{name}.png")
    run(folder, *NAMED, "--format", "coco")
    coco = json.loads((folder / "out/annotations.json").read_text())
    assert len(coco["images"]) == 4
    assert coco["categories"] == empty["categories"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--classes", "red,blue", "--unknown-thresh", "0.4", *ENCODER],
         "--classes green blue red white, now red blue"),
        (["--classes", "classes.txt", *ENCODER], "--unknown-thresh 0.4, now 0.0"),
        ([*NAMED, "--name-background", "keep"], "--name-background blur, now keep"),
        ([], "--classes green blue red white, now not given"),
        (["--text", "red", *ENCODER], "--classes green blue red white, now not given; --text not "
         "given, now red; --unknown-thresh 0.4, now not given; --text-thresh not given, now 0.5"),
    ],
)  # fmt: skip
def test_other_names_are_other_settings(run_of, more, line):
    result = run(run_of, *words("--format", FORMATS), *more, "--workers", "1", expected=1)
    assert error_lines(result) == [
        f"amg: out: what is in it was made with {line}; give the same, --on-exists overwrite, or "
        "another --output"
    ]


def test_names_are_not_mixed_with_masks_of_an_older_version(run_of, tmp_path):
    """Whose record knows nothing of names."""
    run(run_of, "--format", "ndjson", output=tmp_path / "out")
    record = tmp_path / "out/.amg/run.ndjson"
    lines = record.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    for name in ("classes", "text"):
        assert first["settings"].pop(name) is None
    record.write_text("".join([json.dumps(first) + "\n", *lines[1:]]))
    run(run_of, "--format", "ndjson", output=tmp_path / "out")  # which goes on as before
    result = run(run_of, *NAMED, "--format", "ndjson", output=tmp_path / "out", expected=1)
    assert "--classes not given, now green blue red white;" in result.stderr


def test_a_description_keeps_what_matches_best_first(run_of, tmp_path):
    asked = ["--text", "a red thing", "--text", "green", "--text-thresh", "0.6", *ENCODER]
    run(run_of, *asked, *words("--format", ["ndjson", "png", "coco"]), output=tmp_path / "out")
    every = {line["name"]: line["masks"] for line in lines_of(run_of / "out/masks.ndjson")}
    kept = {line["name"]: line["masks"] for line in lines_of(tmp_path / "out/masks.ndjson")}
    assert kept.keys() == every.keys()
    assert 0 < sum(map(len, kept.values())) < sum(map(len, every.values()))
    for name, masks in kept.items():
        scores = [mask["category_score"] for mask in masks]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= 0.6 for score in scores)
        assert {mask["category"] for mask in masks} <= {"a red thing", "green"}
        all_counts = {mask["segmentation"]["counts"] for mask in every[name]}
        assert {mask["segmentation"]["counts"] for mask in masks} <= all_counts
        assert len(list((tmp_path / "out" / name).glob("*.png"))) == len(masks)
    coco = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["a red thing", "green"]


def test_names_go_to_stdout_too(run_of):
    result = run(run_of, *NAMED, output="-")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["masks"] for line in found] == [
        line["masks"] for line in lines_of(run_of / "out/masks.ndjson")
    ]


def test_an_earlier_run_is_labelled_as_a_run_would_be(run_of, tmp_path):
    run(run_of, *words("--format", ["ndjson", "png"]), output=tmp_path / "plain")
    # LabelMe's files lead to the photographs from where they lie.
    formats = [name for name in FORMATS if name not in ("png", "rle", "labelme")]
    more = [*NAMED, *words("--format", formats)]
    result = amg("label", tmp_path / "plain", "--output", tmp_path / "new", *more, cwd=run_of)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{tmp_path}/new/masks.ndjson" in result.stdout.splitlines()
    new, wanted = files_under(tmp_path / "new"), files_under(run_of / "out")
    rooms = {name.partition("/")[0] for name in new}
    assert rooms >= {"annotations.json", "masks.ndjson", "overlay", "parquet", "sa1b", "yolo"}
    assert new == {name: bytes_ for name, bytes_ in wanted.items() if name.split("/")[0] in rooms}


def test_labels_replace_earlier_ones_and_keep_ids(run_of, tmp_path):
    """Of a run with --parents, whose masks lead to each other by their ids."""
    run(run_of, *NAMED, "--parents", "--format", "coco", "--nms", "off", output=tmp_path / "old")
    more = ["--text", "green", "--text", "black", *ENCODER, "--format", "ndjson"]
    result = amg("label", tmp_path / "old", "--output", tmp_path / "new", *more, cwd=run_of)
    assert (result.returncode, result.stderr) == (0, "")
    old = json.loads((tmp_path / "old/annotations.json").read_text())["annotations"]
    counts = {(a["image_id"], a["id"] % 100_000): a["segmentation"]["counts"] for a in old}
    lines = lines_of(tmp_path / "new/masks.ndjson")
    parents = 0
    for line in lines:
        ids = {mask["id"] for mask in line["masks"]}
        for mask in line["masks"]:
            assert counts[line["image_id"], mask["id"]] == mask["segmentation"]["counts"]
            assert mask["category"] in ("green", "black")
            assert mask.get("parent") in {None, *ids} - {mask["id"]}
            parents += "parent" in mask
    assert parents


def test_images_that_cannot_be_read_are_a_line_each_and_the_others_are_done(run_of, tmp_path):
    shutil.copytree(run_of / "photos", tmp_path / "photos")
    shutil.copy(run_of / "mine.py", tmp_path)
    run(tmp_path, "--format", "ndjson")
    (tmp_path / "photos/c.png").unlink()
    save(tmp_path / "photos/a.png", np.zeros((10, 10, 3), np.uint8))
    more = ["--classes", "red,green", *ENCODER, "--format", "coco"]
    result = amg("label", "out", "--output", "new", *more, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "new/annotations.json\n")
    assert result.stderr.splitlines() == [
        f"amg: {tmp_path}/photos/a.png: has 10 x 10 pixels, and its masks 160 x 120; give the "
        "--images that the masks are of",
        "amg: c.png: is where none knows; give the folder of the --images",
    ]
    coco = json.loads((tmp_path / "new/annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["none.png", "sub/b.png"]
    assert {a["category_id"] for a in coco["annotations"]} <= {1, 2}
    more += ["--images", run_of / "photos"]
    result = amg("label", "out", "--output", "again", *more, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_coco_data_set_of_another_program_is_labelled_with_its_ids(run_of, tmp_path):
    coco = json.loads((run_of / "out/annotations.json").read_text())
    for image in coco["images"]:
        image["id"] += 500
    for annotation in coco["annotations"]:
        annotation["image_id"] += 500
        annotation["category_id"] = 9
    coco["categories"] = [{"id": 9, "name": "thing"}]
    (tmp_path / "instances.json").write_text(json.dumps(coco | {"info": {}}))
    given = ["label", tmp_path / "instances.json", "--images", "photos", "--output", tmp_path / "n"]
    result = amg(*given, *NAMED, "--format", "coco-results", cwd=run_of)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads((tmp_path / "n/results.json").read_text())
    wanted = json.loads((run_of / "out/results.json").read_text())
    assert [r["image_id"] - 500 for r in found] == [r["image_id"] for r in wanted]
    assert [r["category_id"] for r in found] == [r["category_id"] for r in wanted]


def test_converting_and_selecting_leave_names_as_they_are(run_of, tmp_path):
    more = words("--format", ["coco", "yolo"])
    result = amg("convert", "out", "--output", tmp_path / "new", *more, cwd=run_of)
    assert result.returncode == 0, result.stderr
    for name in ("annotations.json", "yolo/data.yaml"):
        assert (tmp_path / "new" / name).read_bytes() == (run_of / "out" / name).read_bytes()
    for source in ("out/masks.ndjson", "out/parquet", "out/annotations.json"):
        target = tmp_path / source.replace("/", "-")
        result = amg("convert", source, "--output", target, "--format", "yolo", cwd=run_of)
        assert result.returncode == 0, result.stderr
        names = (target / "yolo/data.yaml").read_text()
        assert names == (run_of / "out/yolo/data.yaml").read_text(), source
    (tmp_path / "sa1b").mkdir()
    run(run_of, *NAMED, "--format", "sa1b", output=tmp_path / "one")
    result = amg("convert", "one", "--output", "two", "--format", "yolo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    names = (tmp_path / "two/yolo/data.yaml").read_text()
    assert names == (run_of / "out/yolo/data.yaml").read_text()


def test_candidates_of_a_run_with_names_have_none(run_of, tmp_path):
    """What is selected from them is named by `amg label`."""
    more = ["--save-candidates", "--format", "ndjson"]
    run(run_of, *NAMED, *more, output=tmp_path / "old")
    given = ["select", tmp_path / "old", "--output", tmp_path / "new", "--format", "ndjson"]
    result = amg(*given, *POINTS[2:], cwd=run_of)
    assert result.returncode == 0, result.stderr
    old, new = (lines_of(tmp_path / name / "masks.ndjson") for name in ("old", "new"))
    assert any(line["masks"] for line in new)
    assert not any("category" in mask for line in new for mask in line["masks"])
    assert [[m["segmentation"] for m in line["masks"]] for line in new] == [
        [m["segmentation"] for m in line["masks"]] for line in old
    ]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with files that are no lists of classes."""
    (tmp_path / "photos").mkdir()
    save(tmp_path / "photos/a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "empty.txt").write_text("\n# nothing\n\n")
    (tmp_path / "one.txt").write_text("cat\n")
    (tmp_path / "latin.txt").write_bytes("Bär\nHund\n".encode("latin-1"))
    fails = "def fails():\n    return open('weights.pt')\n"
    (tmp_path / "bad.py").write_text(f"def made():\n    return 5\n{fails}")
    (tmp_path / "worse.py").write_text("def def\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("amg_cli.weights.text_image.find_spec", lambda name: None)
    return tmp_path


NAMES = "give a file with a name a line, or names parted by commas"
FORMATS_WITH_NAMES = (
    "coco, coco-results, ndjson, sa1b, yolo, labelme, labelmap, cvat, labelstudio, parquet"
)


@pytest.mark.parametrize("command", [["--input", "photos"], ["label", "old"]], ids=["run", "label"])
@pytest.mark.parametrize(
    ("given", "code", "line"),
    [
        (["--classes", "empty.txt"], 1, f"amg: empty.txt: has no name in it; {NAMES}"),
        (["--classes", "missing.txt"], 1, f"amg: missing.txt: no such file; {NAMES}"),
        (["--classes", "photos"], 1, f"amg: photos: is a directory; {NAMES}"),
        (["--classes", "latin.txt"], 1, "amg: latin.txt: is not UTF-8, at byte 1; save it as UTF-8 "
         "text, a name a line"),
        (["--classes", "cat"], 2, "Error: Invalid value for '--classes': 'cat' is no file, and one "
         "name, which alone would be every mask's; give two or more, or --text"),
        (["--classes", "one.txt"], 2, "Error: Invalid value for '--classes': 'one.txt' has one "
         "name, which alone would be every mask's; give two or more, or --text"),
        (["--classes", " , "], 2, "Error: Invalid value for '--classes': there is no name in ' , '"
         f"; {NAMES}"),
        (["--text", ""], 2, "Error: Invalid value for --text: str '' is no name"),
        (["--classes", "a,b", "--text", "c"], 2, "Error: --classes names all masks and --text "
         "keeps some: give one of them"),
        (["--text", "a", "--unknown-thresh", "0.5"], 2, "Error: --unknown-thresh goes with "
         "--classes"),
        (["--classes", "a,b", "--text-thresh", "0.5"], 2, "Error: --text-thresh goes with --text"),
        (["--classes", "a,b", "--unknown-thresh", "1.5"], 2, "Error: Invalid value for "
         "'--unknown-thresh': 1.5 is not in the range 0<=x<=1."),
        (["--text", "a", "--text-thresh", "nan"], 2, "Error: Invalid value for --text-thresh: nan "
         "is not in the range 0 to 1"),
        (["--classes", "a,b", "--format", "png", "--format", "cutout"], 2, "Error: png and cutout "
         f"cannot hold the names of --classes; give --format {FORMATS_WITH_NAMES}"),
        (["--classes", "a,b", "--text-encoder", "mine:encoder", "--text-weights", "x.pt"], 1,
         "amg: mine:encoder: is an encoder of your own; leave --text-weights out, and let it load "
         "its own"),
        (["--classes", "a,b"], 1, "amg: text-image encoder ViT-B-32: needs open_clip; pip install "
         "'amg-cli[text]'"),
        (["--classes", ",".join(f"class number {i}" for i in range(80))], 1, "amg: text-image "
         "encoder ViT-B-32: needs open_clip; pip install 'amg-cli[text]'"),
        (["--text", "a", "--text-encoder", "RN50", "--offline"], 1, "amg: text-image encoder RN50: "
         "needs open_clip; pip install 'amg-cli[text]'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_with_the_remedy(here, command, given, code, line):
    formats = [] if "--format" in given else ["--format", "ndjson"]
    result = CliRunner().invoke(main, [*command, "--output", "out", *formats, *given])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (code, line)
    assert not (here / "out").exists()


@pytest.mark.parametrize("option", ["--text-encoder", "--text-weights", "--name-background"])
def test_options_of_names_need_names(here, option):
    value = "keep" if option == "--name-background" else "x"
    given = ["--input", "photos", "--output", "out", option, value]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: {option} goes with --classes or --text"


def test_labelling_needs_names_and_a_format(here):
    for given, line in ((["--format", "coco"], "Error: Missing option '--classes' or '--text'."),
                        (["--text", "a"], "Error: Missing option '--format'.")):  # fmt: skip
        result = CliRunner().invoke(main, ["label", "old", "--output", "out", *given])
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, line)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nowhere:x", "amg: nowhere:x: No module named 'nowhere'; give MODULE:FACTORY, a function "
         "of a module that is here or installed"),
        ("bad:none", "amg: bad:none: module 'bad' has no attribute 'none'; give MODULE:FACTORY, a "
         "function of a module that is here or installed"),
        ("bad:made", "amg: bad:made: gives int 5, which has no texts, no crops, no scale; see "
         "amg_cli.models.text_image.TextImageEncoder"),
        ("bad:fails", "amg: bad:fails: raised FileNotFoundError: [Errno 2] No such file or "
         "directory: 'weights.pt'; mend the function"),
        ("worse:made", "amg: worse:made: invalid syntax (worse.py, line 1); give MODULE:FACTORY, a "
         "function of a module that is here or installed"),
    ],
)  # fmt: skip
def test_an_encoder_that_is_none_ends_the_run_before_any_image(here, name, line):
    given = ["--input", "photos", "--output", "out", "--format", "ndjson", "--text", "a"]
    result = amg(*given, "--text-encoder", name, cwd=here)
    assert (result.returncode, error_lines(result)) == (1, [line])
    assert not (here / "out/masks.ndjson").exists()


def test_an_encoder_that_gives_no_vectors_is_one_line(here):
    (here / "odd.py").write_text(
        "import numpy as np\nfrom types import SimpleNamespace\n"
        "def made():\n"
        "    return SimpleNamespace(scale=1.0, texts=lambda n: np.ones((len(n), 2), 'f4'),"
        " crops=None)\n"
    )
    given = ["--input", "photos", "--output", "out", "--format", "ndjson", "--text", "a"]
    result = amg(*given, "--text-encoder", "odd:made", cwd=here)
    assert (result.returncode, error_lines(result)) == (
        2,
        ["amg: text-image encoder's texts: unit vectors are wanted; divide each by its length"],
    )
