"""The installed `amg` command: files, output, messages and exit codes."""

import csv
import json
import subprocess
import sys

import click
import cv2
import numpy as np
import pytest

from amg_cli import __version__
from amg_cli.cli.lazy_commands import LazyCommands
from amg_cli.cli.main import COMMANDS, main
from amg_cli.formats import reference_png, reference_rle
from tests.command import amg, error_lines, files_under, save, visible


def test_a_folder_becomes_png_masks_and_metadata(run, tmp_path, noise):
    save(tmp_path / "photos/b.png", noise)
    save(tmp_path / "photos/a.jpg", noise)
    result = run("--input", "photos", "--output", "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "out/a\nout/b\n"
    assert error_lines(result) == []
    assert "2 done (" in result.stderr
    with (tmp_path / "out/b/metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 0
    assert (tmp_path / "out/b/metadata.csv").read_text().endswith(rows[-1]["crop_box_h"])
    names = {f"{i}.png" for i in range(len(rows))} | {"metadata.csv"}
    assert {path.name for path in (tmp_path / "out/b").iterdir()} == names
    assert visible(tmp_path / "out") == ["a", "b"]
    mask = cv2.imread(str(tmp_path / "out/b/0.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == noise.shape[:2]
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask > 0).sum() == int(rows[0]["area"])


def test_convert_to_rle_writes_the_same_masks_as_json(run, tmp_path, noise):
    save(tmp_path / "a.png", noise)
    assert run("--input", "a.png", "--output", "png").returncode == 0
    result = run("--input", "a.png", "--output", "rle", "--convert-to-rle")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "rle/a.json\n"
    records = json.loads((tmp_path / "rle/a.json").read_text())
    assert list(records[0]) == [
        "segmentation",
        "area",
        "bbox",
        "predicted_iou",
        "point_coords",
        "stability_score",
        "crop_box",
    ]
    assert reference_rle.read(tmp_path / "rle/a.json") == reference_png.read(tmp_path / "png/a")


def test_points_per_batch_changes_no_byte_of_the_output(run, tmp_path, noise):
    save(tmp_path / "a.png", noise)
    outputs = []
    for batch in ("1", "5", "64"):
        more = ["--points-per-side", "3", "--points-per-batch", batch, "--box-nms-thresh", "1"]
        result = run("--input", "a.png", "--output", f"out{batch}", *more, "--convert-to-rle")
        assert result.returncode == 0, result.stderr
        outputs.append(files_under(tmp_path / f"out{batch}"))
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(json.loads(outputs[0]["a.json"])) > 1


def test_bad_images_get_a_line_each_and_the_others_are_done(run, tmp_path, noise):
    photos = tmp_path / "photos"
    jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
    grey = cv2.cvtColor(noise, cv2.COLOR_BGR2GRAY)
    save(photos / "good.webp", noise)
    save(photos / "grey.png", grey)
    save(photos / "alpha.png", np.dstack([noise, grey]))
    save(photos / "deep.tif", noise.astype(np.uint16) * 256)
    save(photos / "dot.bmp", noise[:1, :1])
    save(photos / "strip.png", np.zeros((1, 5000, 3), np.uint8))
    (photos / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "notes.jpg").write_text("not a picture")
    result = run("--input", "photos", "--output", "out", "--convert-to-rle")
    assert result.returncode == 3
    assert result.stdout.split() == [
        f"out/{name}.json" for name in ("alpha", "deep", "dot", "good", "grey", "strip")
    ]
    assert error_lines(result) == [
        "amg: photos/cut.jpg: truncated JPEG; re-export or download it again",
        "amg: photos/empty.jpg: empty file; re-export or download it again",
        "amg: photos/notes.jpg: not a JPEG, PNG, WebP, BMP or TIFF image; "
        "convert it to one of these",
    ]
    assert "6 done (" in result.stderr
    assert "3 failed" in result.stderr
    sizes = {
        name: reference_rle.read(tmp_path / f"out/{name}.json")[0].rle["size"]
        for name in ("dot", "strip", "deep")
    }
    assert sizes == {"dot": [1, 1], "strip": [1, 5000], "deep": [60, 90]}


def test_images_of_one_stem_are_both_written_and_the_rule_is_printed(run, tmp_path, noise):
    save(tmp_path / "photos/a.jpg", noise)
    save(tmp_path / "photos/a.png", noise)
    result = run("--input", "photos", "--output", "out", "--convert-to-rle")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "out/a.jpg.json\nout/a.png.json\n"
    assert error_lines(result) == [
        "amg: photos/a.jpg: goes to out/a.jpg.json, as its plain name is another's too",
        "amg: photos/a.png: goes to out/a.png.json, as its plain name is another's too",
    ]


def test_recursive_mirrors_sub_folders_and_leaves_the_output_alone(run, tmp_path, noise):
    save(tmp_path / "photos/a.png", noise)
    save(tmp_path / "photos/sub/deep/b.png", noise)
    arguments = ("--input", "photos", "--output", "photos/masks", "--recursive", "--quiet")
    result = run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "photos/masks/a\nphotos/masks/sub/deep/b\n"
    again = run(*arguments, "--on-exists", "skip")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_output_that_exists_is_an_error_before_the_model_is_loaded(tmp_path, noise):
    save(tmp_path / "a.png", noise)
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "none.pt").write_bytes(b"no model")
    result = amg("--input", "a.png", "--output", "out", "--checkpoint", "none.pt", cwd=tmp_path)
    assert result.returncode == 3
    assert error_lines(result) == [
        "amg: out: 1 image has output in it that no recorded run has made; "
        "give --on-exists skip or overwrite"
    ]
    assert list((tmp_path / "out/a").iterdir()) == []


def test_on_exists_skip_does_the_rest_and_overwrite_replaces(run, tmp_path, noise):
    save(tmp_path / "photos/a.png", noise)
    save(tmp_path / "photos/b.png", noise)
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/old.txt").write_text("old")
    result = run("--input", "photos", "--output", "out", "--on-exists", "skip")
    assert (result.returncode, result.stdout) == (0, "out/b\n")
    assert "1 skipped" in result.stderr
    assert files_under(tmp_path / "out/a") == {"old.txt": b"old"}
    result = run("--input", "photos", "--output", "out", "--on-exists", "overwrite")
    assert (result.returncode, result.stdout) == (0, "out/a\nout/b\n")
    assert "old.txt" not in files_under(tmp_path / "out/a")
    assert "metadata.csv" in files_under(tmp_path / "out/a")
    assert visible(tmp_path / "out") == ["a", "b"]


def test_odd_names_stay_on_one_line_and_are_written(run, tmp_path, noise):
    png = cv2.imencode(".png", noise)[1].tobytes()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "with space 'and quote'.png").write_bytes(png)
    (photos / "two\nlines.png").write_bytes(b"")
    result = run("--input", "photos", "--output", "-out", "--convert-to-rle")
    assert result.returncode == 3
    assert error_lines(result) == [
        r"amg: photos/two\nlines.png: empty file; re-export or download it again"
    ]
    assert list(files_under(tmp_path / "-out")) == ["with space 'and quote'.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--input", "none"], 1, "none: no such file or folder; check the path"),
        (["--input", "a.png", "--checkpoint", "none.pt"], 1,
         "none.pt: No such file or directory; check --checkpoint"),
        (["--input", "a.png", "--checkpoint", "a.png"], 1,
         "a.png: not a PyTorch checkpoint; give an official .pt or .pth file"),
        (["--input", "a.png", "--output", "a.png/out"], 1,
         "a.png/out: Not a directory; give a folder that can be written to"),
        (["--input", "a.png", "--model-type", "vit_x"], 2,
         "model type: vit_x is not known; known: nano, vit_b, vit_l, vit_h, vit_t, sam2.1_t, "
         "sam2.1_s, sam2.1_b+, sam2.1_l, sam2_t, sam2_s, sam2_b+, sam2_l, hq_vit_b, hq_vit_l, "
         "hq_vit_h, hq_vit_t, tinysam, medsam"),
        (["--input", "a.png", "--device", "gpu"], 1,
         "device gpu: unknown; use auto, cpu, mps, cuda or cuda:N"),
    ],
)  # fmt: skip
def test_what_cannot_start_says_why_in_one_line(
    arguments, code, line, tmp_path, noise, random_checkpoint
):
    save(tmp_path / "a.png", noise)
    defaults = ["--output", "out", "--checkpoint", random_checkpoint]
    result = amg(*defaults, *arguments, cwd=tmp_path)
    assert result.returncode == code
    assert error_lines(result) == [f"amg: {line}"]
    assert result.stdout == ""


def test_a_device_that_is_not_here_is_named(run, tmp_path, noise):
    save(tmp_path / "a.png", noise)
    result = run("--input", "a.png", "--output", "out", "--device", "cuda:99")
    assert result.returncode == 1
    assert "amg: device cuda:99: not on this machine, as torch" in result.stderr


def test_a_folder_without_images_says_what_was_looked_for(run, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("--input", "empty", "--output", "out")
    assert result.returncode == 1
    assert error_lines(result) == [
        "amg: empty: no image in it "
        "(looked for .bmp .jpe .jpeg .jpg .png .tif .tiff .webp); check the path"
    ]


@pytest.mark.parametrize(
    ("option", "value", "wrong"),
    [
        ("--points-per-side", "0", "must be a whole number (1 to 1024), not 0"),
        ("--points-per-side", "many", "'many' is not a valid integer"),
        ("--box-nms-thresh", "1.5", "must be a number (0 to 1), not 1.5"),
        ("--crop-overlap-ratio", "1", "must be a number (0 to under 1), not 1.0"),
        ("--pred-iou-thresh", "nan", "must be a number (any finite value), not nan"),
        ("--threads", "0", "0 is not in the range"),
        ("--on-exists", "ask", "'ask' is not one of"),
    ],
)
def test_a_setting_out_of_range_is_a_usage_error(option, value, wrong, tmp_path):
    arguments = ["--input", "none", "--output", "out", "--checkpoint", "none.pt"]
    result = amg(*arguments, option, value, cwd=tmp_path)
    assert result.returncode == 2
    assert f"Invalid value for {option!r}".replace("'", "") in result.stderr.replace("'", "")
    assert wrong.replace("'", "") in result.stderr.replace("'", "")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["--points-per-side", "0"], ["models", "path", "vit_b"]],
)
def test_help_version_usage_errors_and_paths_load_no_torch(arguments, tmp_path):
    script = (
        "import sys; from amg_cli.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        "assert sys.modules.keys().isdisjoint(('torch', 'cv2', 'urllib.request'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        (["--version"], set()),
        (["--input", "none.png", "--output", "out", "--quiet"], set()),
        (["selct"], set()),
        (["merge", "--help"], {"merge"}),
        (["eval", "--help"], {"eval"}),
        (["--help"], set(COMMANDS)),
    ],
)
def test_a_command_is_imported_when_it_is_asked_for(arguments, imported, tmp_path):
    script = (
        "import sys; from amg_cli.cli.main import COMMANDS, main\n"
        f"try: main({arguments}, prog_name='amg')\n"
        "except SystemExit: pass\n"
        "found = {name for name, home in COMMANDS.items() if home.split(':')[0] in sys.modules}\n"
        f"assert found == {imported}, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_where_it_is_said_to_be():
    commands = main.commands
    assert list(commands) == sorted(commands) == list(COMMANDS)
    assert [command.name for command in commands.values()] == list(COMMANDS)


def test_a_command_can_be_added_and_taken_away():
    commands = LazyCommands({"merge": "amg_cli.cli.merge:merge"})
    group = click.Group(commands=commands)
    group.add_command(click.Command("own"))
    assert set(commands) == {"merge", "own"}
    assert group.get_command(None, "own").name == "own"
    del commands["own"]
    assert len(commands) == 1
    assert group.get_command(None, "own") is None
    assert group.get_command(None, "other") is None


def test_a_mistyped_command_is_told_what_was_meant(tmp_path):
    result = amg("selct", cwd=tmp_path)
    assert result.returncode == 2
    assert "No such command 'selct'. Did you mean 'select'?" in result.stderr


def test_version_and_the_module_answer_alike(tmp_path):
    assert amg("--version", cwd=tmp_path).stdout == f"amg, version {__version__}\n"
    module = [sys.executable, "-m", "amg_cli", "--version"]
    assert subprocess.run(module, capture_output=True, text=True).stdout == (
        f"amg, version {__version__}\n"
    )
