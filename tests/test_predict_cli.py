"""`amg predict`: points, boxes and masks by hand, one at a time and in lines of JSON."""

import json
import subprocess

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from amg_cli import Prompts, encode_image, load_model, predict
from amg_cli.batch.reading import read_image
from tests.command import AMG, SMALL_MODEL, amg, files_under
from tests.conftest import REPOSITORY

COFFEE = REPOSITORY / "examples/images/coffee.jpg"  # 600 x 400


@pytest.fixture(scope="module")
def model():
    return load_model("nano", device="cpu", image_size=256)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a", (300, 200)), ("b", (150, 200))):
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(cv2.imread(str(COFFEE)), size))
    return folder


def run(*arguments, cwd, **options):
    return amg("predict", *arguments, *SMALL_MODEL, "--quiet", cwd=cwd, **options)


def lines_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def masks_in(line):
    return [coco_mask.decode(mask["segmentation"]).astype(bool) for mask in line["masks"]]


@pytest.mark.parametrize(
    ("options", "prompts", "multimask"),
    [
        (["--point", "300,180"], Prompts([[[300, 180]]]), True),
        (["--point", "300,180", "--single"], Prompts([[[300, 180]]]), False),
        (["--point", "300,180", "--point", "20,20,0"],
         Prompts([[[300, 180], [20, 20]]], [[1, 0]]), False),
        (["--box", "150,80,450,330"], Prompts(boxes_xyxy=[[150, 80, 450, 330]]), False),
        (["--box", "150,80,450,330", "--point", "300,180", "--multimask"],
         Prompts([[[300, 180]]], boxes_xyxy=[[150, 80, 450, 330]]), True),
    ],
)  # fmt: skip
def test_one_prompt_is_what_python_gives(options, prompts, multimask, model, tmp_path):
    result = run(COFFEE, *options, "--threads", "1", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = lines_of(result)
    assert (line["line"], line["id"], line["width"], line["height"]) == (1, None, 600, 400)
    wanted = predict(model, encode_image(model, read_image(COFFEE)), prompts, multimask=multimask)
    assert len(line["masks"]) == (3 if multimask else 1)
    for i, (mask, found) in enumerate(zip(line["masks"], masks_in(line), strict=True)):
        assert (found != wanted.masks[0, i]).mean() < 1e-4
        assert mask["predicted_iou"] == pytest.approx(wanted.scores[0, i], abs=1e-4)
        assert 0 <= mask["stability_score"] <= 1
        assert mask["crop_box"] == [0, 0, 600, 400]
        x, y, width, height = mask["bbox"]
        assert [x, y, width, height] == coco_mask.toBbox(mask["segmentation"]).tolist()


def test_an_answers_logits_are_the_next_prompts_mask(model, tmp_path):
    encoded = encode_image(model, read_image(COFFEE))
    first = predict(model, encoded, Prompts([[[300, 180]]]), multimask=False)
    np.save(tmp_path / "first.npy", first.low_res[0])
    result = run(COFFEE, "--point", "300,180", "--mask", "first.npy", cwd=tmp_path)
    (line,) = lines_of(result)
    wanted = predict(model, encoded, Prompts([[[300, 180]]], masks=first.low_res), multimask=False)
    assert (masks_in(line)[0] != wanted.masks[0, 0]).mean() < 1e-4


def test_each_of_several_boxes_is_a_prompt(tmp_path):
    boxes = ["--box", "150,80,450,330", "--box", "10,10,100,100"]
    found = lines_of(run(COFFEE, *boxes, cwd=tmp_path))
    assert [line["line"] for line in found] == [1, 2]
    assert lines_of(run(COFFEE, *boxes[2:], cwd=tmp_path))[0]["masks"] == found[1]["masks"]


LINES = """\
{"image": "b.png", "points": [[75, 100]], "id": "first"}
{"image": "a.png", "box": [75, 40, 225, 160], "id": 7}

{"image": "a.png", "points": [[400, 100]]}
{"image": "a.png", "box": [10, 10, 10, 20]}
no json
{"image": "a.png", "pints": [[1, 2]]}
{"image": "c.png", "points": [[1, 2]]}
{"image": "b.png", "points": [[75, 100], [5, 5]], "labels": [1, 0], "multimask": true}
"""
ERRORS = [
    "PROMPTS line 4: the point 400,100 is outside an image of 300 x 200 pixels; the other prompts ",
    "PROMPTS line 5: the box 10,10,10,20 has no area; the other prompts are done",
    "PROMPTS line 6: Expecting value: line 1 column 1 (char 0); the other lines are done",
    "PROMPTS line 7: 'pints' is not known; known are id, image, points, labels, box, mask, multim",
    "photos/c.png: no such file; it may have been moved since",
]


def test_lines_that_do_not_say_go_by_the_option(photos, tmp_path):
    lines = ['{"image": "a.png", "points": [[9, 9]]}']
    lines.append('{"image": "a.png", "points": [[9, 9]], "multimask": true}')
    found = lines_of(
        run("photos", "--prompts", "-", "--single", cwd=tmp_path, input="\n".join(lines))
    )
    assert [len(line["masks"]) for line in found] == [1, 3]


def test_paths_and_lines_that_no_system_has_cost_only_themselves(photos, tmp_path):
    lines = [r'{"image": "a\u0000.png", "points": [[9, 9]]}', "[" * 100_000]
    lines.append('{"image": "a.png", "points": [[9, 9]]}')
    result = run("photos", "--prompts", "-", cwd=tmp_path, input="\n".join(lines))
    assert result.returncode == 3
    first, second, third = lines_of(result)
    assert first["error"].endswith("cannot read it: embedded null byte; check the path")
    assert second["error"].startswith("stdin line 2: maximum recursion depth exceeded")
    assert len(third["masks"]) == 3


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_lines_are_answered_in_order_and_wrong_ones_cost_only_themselves(source, photos, tmp_path):
    (tmp_path / "p.ndjson").write_text(LINES)
    if source == "file":
        result = run("photos", "--prompts", "p.ndjson", cwd=tmp_path)
    else:
        result = run("photos", "--prompts", "-", cwd=tmp_path, input=LINES)
    assert result.returncode == 3
    found = lines_of(result)
    assert [line["line"] for line in found] == [1, 2, 4, 5, 6, 7, 8, 9]
    assert [line["id"] for line in found] == ["first", 7, *[None] * 6]
    assert [len(line["masks"]) for line in found] == [3, 1, 0, 0, 0, 0, 0, 3]
    name = "p.ndjson" if source == "file" else "stdin"
    wanted = [error.replace("PROMPTS", name) for error in ERRORS]
    errors = [line["error"] for line in found if "error" in line]
    assert len(errors) == 5
    assert all(map(str.startswith, errors, wanted))
    said = sorted(line.removeprefix("amg: ") for line in result.stderr.splitlines())
    assert all(map(str.startswith, said, sorted(wanted)))


def test_each_image_is_encoded_once(photos, tmp_path, monkeypatch):
    from amg_cli.batch import answers as module
    from amg_cli.batch.prompt_lines import questions

    lines = [b'{"image": "%s.png", "points": [[9, 9]]}' % name for name in (b"a", b"b") * 3]
    asked = list(questions("x", lines, photos))
    encoded = []

    def counted(path, model, reading):
        encoded.append(path.name)
        return "image"

    monkeypatch.setattr(module, "_encoded", counted)
    monkeypatch.setattr(module, "_answer", lambda question, image, model: module.Answer(question))
    found = list(module.in_order(module.answers(module.by_image(asked), None, None), asked))
    assert encoded == ["a.png", "b.png"]
    assert [answer.question.number for answer in found] == [1, 2, 3, 4, 5, 6]


def test_answers_come_while_the_prompts_still_arrive(photos, tmp_path):
    command = [AMG, "predict", "photos", "--prompts", "-", *SMALL_MODEL, "--quiet"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for number in (1, 2):
        process.stdin.write('{"image": "a.png", "points": [[100, 100]]}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["line"] == number
    process.stdin.close()
    assert process.wait(60) == 0


def test_a_folder_has_each_images_masks_in_every_format(photos, tmp_path):
    (tmp_path / "p.ndjson").write_text(LINES)
    formats = [word for name in ("png", "rle", "coco", "ndjson") for word in ("--format", name)]
    given = ["photos", "--prompts", "p.ndjson", "--output", "out", *formats, "--category", "cup"]
    result = run(*given, cwd=tmp_path)
    assert result.returncode == 3
    assert result.stdout.split() == [
        "out/b", "out/b.json", "out/a", "out/a.json", "out/annotations.json", "out/masks.ndjson",
    ]  # fmt: skip
    coco = COCO(str(tmp_path / "out/annotations.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["b.png", "a.png"]
    assert len(coco.getAnnIds()) == 7
    assert coco.cats[1]["name"] == "cup"
    assert len(list((tmp_path / "out/b").glob("*.png"))) == 6
    before = files_under(tmp_path / "out")
    again = run(*given, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert "out/annotations.json: exists; give --on-exists overwrite" in again.stderr
    assert files_under(tmp_path / "out") == before
    assert run(*given, "--on-exists", "overwrite", cwd=tmp_path).returncode == 3
    assert files_under(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give --point, --box or --mask, or --prompts"),
        (["--point", "1,2", "--prompts", "p"], 2, "give --point, --box or --mask, or --prompts"),
        (["--point", "1"], 2, "'1' is not X,Y or X,Y,LABEL"),
        (["--box", "1,2,3"], 2, "'1,2,3' is not X0,Y0,X1,Y1"),
        (["--box", "1,2,3,4", "--box", "1,2,3,4", "--point", "1,2"], 2, "several boxes are a prom"),
        (["--point", "1,2", "--format", "png"], 2, "--format is for --output DIR"),
        (["--point", "1,2,5"], 1, "the prompt: labels: 1 foreground, 0 background"),
        (["--prompts", "none"], 1, "none: no such file or directory; check the path"),
        (["--mask", "none.npy"], 1, "none.npy: no such file or directory; check the path"),
        (["--point", "700,2"], 3, "the prompt: the point 700,2 is outside an image of 600 x 400"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(arguments, code, words, tmp_path):
    result = run(COFFEE, *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_pipeline_that_is_closed_ends_quietly(photos, tmp_path):
    line = '{"image": "a.png", "points": [[100, 100]]}\n'
    (tmp_path / "p.ndjson").write_text(30 * line)
    command = [AMG, "predict", "photos", "--prompts", "p.ndjson", *SMALL_MODEL, "--quiet"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert json.loads(process.stdout.readline())["line"] == 1
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141
    process.stderr.close()
