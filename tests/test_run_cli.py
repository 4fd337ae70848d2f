"""The command over many images: formats, pipelines, breaks and bad ones, as a user has them."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import cv2
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from amg_cli.formats.table import FORMATS, run_formats
from tests.command import AMG, SMALL_MODEL, amg, error_lines, files_under, save

# Of nano, which comes with amg: real masks in a second.
FAST = [
    *SMALL_MODEL,
    "--points-per-side",
    "4",
    "--pred-iou-thresh",
    "0.5",
    "--stability-score-thresh",
    "0.5",
]
ALL_FORMATS = [word for name in FORMATS for word in ("--format", name)]
EXAMPLES = Path(__file__).parent.parent / "examples/images"


@pytest.fixture
def photos(tmp_path):
    """Small ones, six of different sizes."""
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a", "b", "c", "d", "e", "f")):
        image = cv2.imread(str(sorted(EXAMPLES.glob("*.jpg"))[number % 2]))
        save(tmp_path / f"photos/{name}.jpg", cv2.resize(image, (150 + 10 * number, 120)))
    return tmp_path / "photos"


def run(*arguments, cwd, **options):
    return amg(*FAST, *arguments, cwd=cwd, **options)


def test_a_coco_file_loads_and_its_boxes_and_areas_are_pycocotools(photos, tmp_path):
    result = run("--input", "photos", "--output", "out", "--format", "coco", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "out/annotations.json\n"
    dataset = COCO(str(tmp_path / "out/annotations.json"))
    assert [image["file_name"] for image in dataset.dataset["images"]] == [
        f"{name}.jpg" for name in "abcdef"
    ]
    annotations = dataset.dataset["annotations"]
    assert len(annotations) > 10
    for annotation in annotations:
        rle = annotation["segmentation"]
        assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
        assert annotation["area"] == coco_mask.area(rle)
        assert annotation["id"] // 100_000 == annotation["image_id"]
        assert annotation["iscrowd"] == 0
    assert dataset.loadCats(1)[0]["name"] == "object"


def test_images_in_folders_named_like_the_runs_own_lose_nothing_and_stay_done(tmp_path, noise):
    for name in ("x", "yolo/x", "parquet/y", "sa1b/x", "yolo"):
        save(tmp_path / f"photos/{name}.png", noise)
    formats = [word for name in ("rle", "yolo", "parquet", "sa1b") for word in ("--format", name)]
    arguments = ["--input", "photos", "--recursive", "--output", "out", *formats]
    assert run(*arguments, cwd=tmp_path).returncode == 0
    names = ["parquet~2/y", "sa1b~2/x", "x", "yolo.png", "yolo~2/x"]
    for name in names:
        assert (tmp_path / f"out/{name}.json").is_file(), name
        assert (tmp_path / f"out/sa1b/{name}.json").is_file(), name
    assert "5 done before" in run(*arguments, cwd=tmp_path).stderr


def test_what_a_killed_run_left_is_removed_whatever_the_formats(photos, tmp_path):
    left = tmp_path / "out/.amg-abcdefgh"
    (left / "new").mkdir(parents=True)
    (left / "lock").touch()
    arguments = ["--input", "photos", "--output", "out", "--format", "coco"]
    assert run(*arguments, cwd=tmp_path).returncode == 0
    assert not left.exists()


def test_images_named_like_the_runs_own_files_lose_nothing(tmp_path, noise):
    names = ["cutout", "annotations", "sa1b", "parquet", "a"]
    for name in (*names, "overlay/b"):
        save(tmp_path / f"photos/{name}.png", noise)
    result = run(
        "--input", "photos", "--recursive", "--output", "out", *ALL_FORMATS, cwd=tmp_path
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    kept = [f"{name}.png" for name in names[:4]]
    for name in (*kept, "a", "overlay~2/b"):
        assert (out / name / "metadata.csv").is_file(), name
        assert (out / f"{name}.json").is_file(), name
        assert (out / f"labelmap/{name}/labels.png").is_file()
        assert (out / f"overlay/{name}.jpg").is_file()


def test_polygons_are_the_masks_but_for_holes(photos, tmp_path):
    both = ["--format", "coco", "--format", "ndjson", "--polygons", "--category", "thing"]
    assert run("--input", "photos", "--output", "out", *both, cwd=tmp_path).returncode == 0
    dataset = COCO(str(tmp_path / "out/annotations.json"))
    assert dataset.loadCats(1)[0]["name"] == "thing"
    lines = (tmp_path / "out/masks.ndjson").read_text().splitlines()
    rles = [mask["segmentation"] for line in lines for mask in json.loads(line)["masks"]]
    outlines = [dataset.annToRLE(a) for a in dataset.dataset["annotations"]]
    assert len(rles) == len(outlines) > 10
    for rle, outline in zip(rles, outlines, strict=True):
        assert (coco_mask.decode(outline) >= coco_mask.decode(rle)).all()
    same = sum(coco_mask.iou([a], [b], [0])[0, 0] == 1 for a, b in zip(rles, outlines, strict=True))
    assert same > len(rles) / 2


def test_a_pipeline_has_a_line_an_image_and_nothing_else(photos, tmp_path):
    (photos / "0 bad.jpg").write_bytes(b"no image")
    command = f"find photos -name '*.jpg' -print0 | sort -z | {AMG} -0 --input - --output - "
    done = subprocess.run(
        ["bash", "-c", command + " ".join(FAST)], cwd=tmp_path, capture_output=True, timeout=300
    )
    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["photos/0 bad.jpg", *(f"photos/{name}.jpg" for name in "abcdef")]
    assert [line["file_name"] for line in lines] == names
    assert lines[0]["masks"] == []
    assert lines[0]["error"].startswith("photos/0 bad.jpg: ")
    assert all(line["masks"] for line in lines[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_pipeline_that_is_closed_ends_quietly(photos, tmp_path):
    command = f"find photos -name '*.jpg' -print0 | {AMG} -0 --input - --output - --quiet"
    script = f"{command} {' '.join(FAST)} | head -1; echo ${{PIPESTATUS[1]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    first, code = done.stdout.splitlines()
    assert json.loads(first)["masks"]
    assert (code, done.stderr) == ("141", "")


def test_the_first_line_comes_before_the_list_has_ended(photos, tmp_path):
    process = subprocess.Popen(
        [AMG, "--input", "-", "--output", "-", "--quiet", *FAST],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdin.write("photos/a.jpg\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["file_name"] == "photos/a.jpg"
    rest, _ = process.communicate("photos/b.jpg\n", timeout=60)
    assert json.loads(rest)["file_name"] == "photos/b.jpg"
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(photos, tmp_path):
    arguments = ["--input", "photos", *ALL_FORMATS, "--workers", "2", "--quiet"]
    assert run(*arguments, "--output", "whole", cwd=tmp_path).returncode == 0
    moments = random.Random(4)
    for _ in range(4):
        process = subprocess.Popen(
            [AMG, *FAST, *arguments, "--output", "out"], cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(1, 5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(*arguments, "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files_under(tmp_path / "out") == files_under(tmp_path / "whole")
    assert len(files_under(tmp_path / "out")) > 20
    assert done.stderr == ""


def test_the_same_again_does_nothing_and_loads_no_model(photos, tmp_path):
    arguments = ["--input", "photos", "--output", "out", "--format", "rle"]
    assert run(*arguments, cwd=tmp_path).returncode == 0
    before = files_under(tmp_path / "out")
    again = run(*arguments, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert "0 done (0 masks), 6 done before, 0 skipped, 0 failed" in again.stderr
    other = run(*arguments, "--box-nms-thresh", "0.5", cwd=tmp_path)
    assert other.returncode == 1
    assert other.stderr == (
        "amg: out: what is in it was made with --box-nms-thresh 0.8, now 0.5; "
        "give the same, --on-exists overwrite, or another --output\n"
    )
    assert files_under(tmp_path / "out") == before


def test_bad_images_among_good_ones_are_lines_and_records(photos, tmp_path):
    for number in range(300):
        (photos / f"bad{number:03}.jpg").write_bytes(b"\xff\xd8\xff" + number.to_bytes(2, "big"))
    arguments = ["--input", "photos", "--output", "out", "--format", "coco"]
    result = run(*arguments, "--log-format", "json", cwd=tmp_path)
    assert result.returncode == 3
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    errors = [line for line in lines if line["level"] == "error"]
    assert len(errors) == 300
    assert errors[0]["where"] == "photos/bad000.jpg"
    assert (lines[-1]["done"], lines[-1]["failed"]) == (6, 300)
    images = json.loads((tmp_path / "out/annotations.json").read_text())["images"]
    assert [image["id"] for image in images] == [1, 2, 303, 304, 305, 306]
    again = run(*arguments, cwd=tmp_path)
    assert again.returncode == 3
    assert "300 failed before; --retry-failed does them again" in again.stderr


def test_a_run_ends_at_so_many_failures(photos, tmp_path):
    for number in range(5):
        (photos / f"0{number}.jpg").write_bytes(b"no image")
    result = run("--input", "photos", "--output", "out", "--max-failures", "2", cwd=tmp_path)
    assert result.returncode == 3
    assert error_lines(result)[-1] == (
        "amg: the run: 2 images have failed, which is as many as --max-failures allows; "
        "what is done is kept"
    )


def test_shards_are_merged_to_what_one_run_writes(photos, tmp_path):
    arguments = ["--input", "photos", *ALL_FORMATS, "--quiet", "--threads", "1"]
    for shard in ("1/2", "2/2"):
        result = run(*arguments, "--output", "out", "--shard", shard, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        merged = amg("merge", "out", cwd=tmp_path)
        assert merged.returncode == (3 if shard == "1/2" else 0)
    written = {f"out/{format_.file_name}" for format_ in run_formats(FORMATS)}
    assert set(merged.stdout.splitlines()) == written
    assert merged.stderr == "amg: 6 done, 0 failed, 0 missing\n"
    assert run(*arguments, "--output", "whole", cwd=tmp_path).returncode == 0
    assert files_under(tmp_path / "out") == files_under(tmp_path / "whole")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(photos, tmp_path):
    result = run("--input", "photos", "--output", "out", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0
    assert "amg: 6 images, to out as png" in result.stderr
    assert "6 to do, 0 done, 0 failed before" in result.stderr
    assert "s an image" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--output", "out"], "Missing option '--input'."),
        (["--input", "a", "--output", "out", "--convert-to-rle", "--format", "png"],
         "--convert-to-rle is --format rle; give it so beside another"),
        (["--input", "a", "--output", "-", "--format", "png"],
         "--output - writes ndjson, and no other format"),
        (["--input", "-", "--input", "a", "--output", "out"],
         "--input - takes no other input beside it"),
        (["--input", "a", "--output", "out", "-0"], "-0 is for paths on stdin or in --input-list"),
        (["--input", "a", "--output", "out", "--shard", "3/2"], "is not a shard such as 2/8"),
        (["--input", "a", "--output", "-", "--shard", "1/2"], "--shard needs a folder to write to"),
        (["--input", "a", "--output", "out", "--polygons"], "--polygons is for --format coco"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_usage_errors(arguments, line, tmp_path):
    result = amg(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert line in result.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_eval_reads_the_files_of_a_whole_run(photos, tmp_path):
    run("--input", "photos", "--output", "rle", "--format", "rle", cwd=tmp_path)
    for name in ("coco", "ndjson"):
        run("--input", "photos", "--output", name, "--format", name, cwd=tmp_path)
        scores = amg("eval", "--masks", name, "--against", "rle", "--min-match", "1", cwd=tmp_path)
        assert scores.returncode == 0, scores.stderr + scores.stdout
    files = ["eval", "--masks", "coco/annotations.json", "--truth", "coco/annotations.json"]
    scores = amg(*files, "--images", "photos", cwd=tmp_path)
    assert scores.returncode == 0, scores.stderr
