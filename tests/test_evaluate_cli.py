"""The installed `amg eval`: figures, files, messages and exit codes."""

import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch

from amg_cli import __version__
from amg_cli.cli.main import main
from amg_cli.core import rle as rle_codec
from amg_cli.evaluate.partitions import flatten
from amg_cli.formats import reference_png, reference_rle
from tests.command import FEW_POINTS, amg, files_under
from tests.eval_data import block, coco_image, made, write_json
from tests.writing import write

SIZE_HW = (40, 60)
THING = block(SIZE_HW, 0, 0, 20, 30)  # 600 pixels, small
STUFF = block(SIZE_HW, 20, 0, 40, 60)  # 1,200 pixels, medium
HALF_OF_STUFF = block(SIZE_HW, 20, 0, 40, 30)
WHOLE = block(SIZE_HW, 0, 0, 40, 60)
DOT = block(SIZE_HW, 0, 0, 10, 10)
MASKS = {
    "a": [made(THING, 0.9), made(HALF_OF_STUFF, 0.8)],
    "b": [made(WHOLE, 0.9), made(WHOLE, 0.7)],
}
NO_MASKS = "no masks of it; it counts as none found"


def amg_eval(*arguments, cwd):
    return amg("eval", *arguments, cwd=cwd)


@pytest.fixture
def in_process(tmp_path, monkeypatch, capsys):
    """Run `amg eval` in this process and in `tmp_path`. -> exit code, stdout, stderr"""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["eval", *map(str, arguments)])
        return caught.value.code, *capsys.readouterr()

    return run


def annotation(image_id, pixels, isthing):
    rle = rle_codec.encode(pixels)
    return {"image_id": image_id, "segmentation": rle, "isthing": isthing, "iscrowd": 0}


def write_truth(folder):
    """Three images with truth; a has a thing and stuff, b a thing, c a thing."""
    images = [coco_image(i, f"{name}.jpg", SIZE_HW) for i, name in enumerate("abc", start=4)]
    annotations = [
        annotation(4, THING, 1),
        annotation(4, STUFF, 0),
        annotation(5, WHOLE, 1),
        annotation(6, DOT, 1),
    ]
    return write_json(folder / "truth.json", {"images": images, "annotations": annotations})


def write_masks(folder, masks=MASKS, png=()):
    """As `amg` writes them: JSON, but for those named in `png`."""
    folder.mkdir()
    for name, found in masks.items():
        if name in png:
            write(reference_png.FORMAT, found, folder / name)
        else:
            write(reference_rle.FORMAT, found, folder / f"{name}.json")
    return folder


def write_images(folder, names):
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), cv2.resize(coarse, SIZE_HW[::-1]))


# Against COCO truth

TABLE = """\
images                    3

all
  AR@10              0.5250
  AR@100             0.5250
  AR@1000            0.5250
  AR@1000 small      0.5000
  AR@1000 medium     0.5500
  AR@1000 large           -

things
  AR@10              0.6667
  AR@100             0.6667
  AR@1000            0.6667
  AR@1000 small      0.5000
  AR@1000 medium     1.0000
  AR@1000 large           -

stuff
  AR@10              0.1000
  AR@100             0.1000
  AR@1000            0.1000
  AR@1000 small           -
  AR@1000 medium     0.1000
  AR@1000 large           -

segments
  mean best IoU      0.6250
  recall at 0.5      0.7500
  recall at 0.75     0.5000
  recall at 0.9      0.5000
  masks an image     1.3333
  coverage           0.5000
  duplicates         0.2500
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """One run against COCO truth with everything it can write, and its folder."""
    folder = tmp_path_factory.mktemp("scored")
    write_truth(folder)
    write_masks(folder / "out", png=["b"])
    write_images(folder / "images", ["a.jpg", "b.jpg", "c.jpg"])
    arguments = ["--truth", "truth.json", "--masks", "out", "--json", "all.json"]
    return amg_eval(*arguments, "--report", "page/of it", cwd=folder), folder


def test_masks_of_both_formats_are_scored_and_the_figures_printed(scored):
    result, _ = scored
    assert result.returncode == 0, result.stderr
    assert result.stdout == TABLE


def test_an_image_without_masks_is_told_of_once_and_counts_as_none_found(scored):
    result, _ = scored
    assert result.stderr == f"amg: c.jpg: {NO_MASKS}\n"


def test_the_json_has_the_printed_figures_those_of_each_image_and_null_for_the_unknown(scored):
    _, folder = scored
    data = json.loads((folder / "all.json").read_text())
    assert list(data) == ["amg", "images", "scores", "per_image"]
    assert (data["amg"], data["images"]) == (__version__, 3)
    assert list(data["scores"]) == ["all", "things", "stuff", "segments"]
    assert data["scores"]["all"] == {
        "AR@10": 0.525, "AR@100": 0.525, "AR@1000": 0.525,
        "AR@1000 small": 0.5, "AR@1000 medium": pytest.approx(0.55), "AR@1000 large": None,
    }  # fmt: skip
    assert data["scores"]["segments"]["masks an image"] == pytest.approx(4 / 3)
    assert data["per_image"] == {
        "a.jpg": {
            "segments": 2, "masks": 2, "mean best IoU": 0.75, "coverage": 0.5, "duplicates": 0
        },
        "b.jpg": {
            "segments": 1, "masks": 2, "mean best IoU": 1, "coverage": 1, "duplicates": 1
        },
        "c.jpg": {
            "segments": 1, "masks": 0, "mean best IoU": 0, "coverage": 0, "duplicates": 0
        },
    }  # fmt: skip


class Page(HTMLParser):
    """Tags that are open, texts, and what would be loaded."""

    ENDLESS = frozenset({"meta", "img"})  # and a void element has no end tag

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.texts, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for key, value in attrs if key in ("src", "href", "srcset", "data")]
        if tag not in self.ENDLESS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_the_report_is_one_page_that_loads_nothing(scored):
    _, folder = scored
    assert [path.name for path in (folder / "page/of it").iterdir()] == ["index.html"]
    text = (folder / "page/of it/index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == ["html"]
    assert len(page.loaded) == 3 + 3 * 3  # plots, and each image, its truth and its masks
    assert all(re.match(r"data:image/(png|jpeg);base64,", value) for value in page.loaded)
    outside_images = re.sub(r'src="data:[^"]*"', "", text)
    assert "http" not in outside_images
    assert "url(" not in outside_images
    assert "@import" not in outside_images
    assert "script" not in page.tags


def test_the_report_shows_the_figures_and_the_worst_and_the_best_images(scored):
    _, folder = scored
    page = Page((folder / "page/of it/index.html").read_text(encoding="utf-8"))
    cells = page.texts
    assert cells[cells.index("mean best IoU") + 1] == "0.6250"
    assert cells[cells.index("AR@1000 large") + 1] == "–"
    shown = [text for text in cells if text.startswith(("The ", "a.jpg", "b.jpg", "c.jpg"))]
    assert shown == [
        "The worst by mean best IoU",
        "c.jpg: 0.0000",
        "a.jpg: 0.7500",
        "The best by mean best IoU",
        "b.jpg: 1.0000",
    ]
    assert [text for text in cells if re.match(r"truth|\d+ mask", text)] == [
        *("truth: 1 segment", "0 masks"),
        *("truth: 2 segments", "2 masks"),
        *("truth: 1 segment", "2 masks"),
    ]


def test_limit_takes_the_first_images_alone(in_process, tmp_path):
    write_truth(tmp_path)
    write_masks(tmp_path / "out")
    code, stdout, stderr = in_process("--truth", "truth.json", "--masks", "out", "--limit", "2")
    assert (code, stderr) == (0, "")
    assert "images                    2\n" in stdout
    assert "mean best IoU      0.8333\n" in stdout


def test_a_coco_results_file_is_scored_like_the_folder(in_process, tmp_path):
    write_truth(tmp_path)
    ids = {"a": 4, "b": 5}
    results = [
        {"image_id": ids[name], "segmentation": mask.rle, "score": mask.pred_iou}
        for name, masks in MASKS.items()
        for mask in masks
    ]
    write_json(tmp_path / "results.json", results)
    code, stdout, stderr = in_process("--truth", "truth.json", "--masks", "results.json")
    assert (code, stdout, stderr) == (0, TABLE, f"amg: c.jpg: {NO_MASKS}\n")


def test_the_truth_given_as_masks_is_refused_and_not_counted_as_none_found(in_process, tmp_path):
    write_truth(tmp_path)
    code, stdout, stderr = in_process("--truth", "truth.json", "--masks", "truth.json")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("amg: truth.json: not a list; it must be a list of records")


def test_masks_of_another_size_are_refused(in_process, tmp_path):
    write_truth(tmp_path)
    write_masks(tmp_path / "out", {"a": [made(THING.T)]})
    arguments = ("--truth", "truth.json", "--masks", "out", "--limit", "1")
    assert in_process(*arguments) == (
        1,
        "",
        "amg: a.jpg: a mask of (h, w) (60, 40), where the truth is (40, 60); "
        "make its masks again, from the truth's own image\n",
    )


def test_masks_that_may_be_of_two_images_are_refused(in_process, tmp_path):
    images = [coco_image(i, f"{name}/a.jpg", SIZE_HW) for i, name in enumerate("xy")]
    write_json(tmp_path / "truth.json", {"images": images, "annotations": []})
    write_masks(tmp_path / "out")
    assert in_process("--truth", "truth.json", "--masks", "out") == (
        1,
        "",
        "amg: out/a.json: the masks of x/a.jpg, or of y/a.jpg?; write them with --recursive\n",
    )


def test_a_report_that_cannot_be_made_costs_no_figures(in_process, tmp_path):
    write_truth(tmp_path)
    write_masks(tmp_path / "out")
    arguments = ("--truth", "truth.json", "--masks", "out", "--limit", "2", "--json", "all.json")
    code, stdout, stderr = in_process(*arguments, "--report", "page")
    assert code == 1
    assert stderr == "amg: images/a.jpg: no such image; check --images\n"
    assert "mean best IoU      0.8333\n" in stdout
    assert (tmp_path / "all.json").exists()


# Against BSDS truth


def test_bsds_truth_is_scored_and_reported(tmp_path):
    (tmp_path / "truth").mkdir()
    halves = STUFF.astype(np.uint16)
    np.savez(tmp_path / "truth/8049.npz", segmentation_0=halves, segmentation_1=WHOLE.astype("u2"))
    write_images(tmp_path / "images", ["8049.jpg"])
    write_masks(tmp_path / "out", {"8049": [made(STUFF)]})
    arguments = ["--truth", "truth", "--masks", "out", "--json", "all.json", "--report", "page"]
    result = amg_eval(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    # Against one whole: covering 0.5, and 1 bit. Pairs: 2 * C(1200, 2) of C(2400, 2) agree.
    rand = 2 * 1200 * 1199 / (2400 * 2399)
    assert result.stdout == (
        "images                    1\n"
        "\ncovering\n  best               1.0000\n  mean               0.7500\n"
        f"\nrand index\n  best               1.0000\n  mean               {(1 + rand) / 2:.4f}\n"
        "\nvariation of information\n  best               0.0000\n  mean               0.5000\n"
        "\nmasks\n  masks an image     1.0000\n"
    )
    data = json.loads((tmp_path / "all.json").read_text())
    assert data["per_image"]["8049"]["covering mean"] == 0.75
    assert data["per_image"]["8049"]["masks"] == 1
    page = Page((tmp_path / "page/index.html").read_text(encoding="utf-8"))
    assert "The worst by covering mean" in page.texts
    assert len(page.loaded) == 1 + 3


def test_what_bsds_truth_cannot_do_is_said(in_process, tmp_path):
    (tmp_path / "truth").mkdir()
    np.savez(tmp_path / "truth/a.npz", segmentation_0=flatten([], SIZE_HW))
    write_json(tmp_path / "results.json", [])
    write_masks(tmp_path / "out", {"a": [made(THING.T)]})
    code, _, stderr = in_process("--truth", "truth", "--masks", "results.json")
    assert code == 1
    assert stderr == (
        "amg: results.json: a results file names images by an id, which this truth does not have; "
        "give a run's --output\n"
    )
    arguments = ("--truth", "truth", "--masks", "out")
    code, _, stderr = in_process(*arguments, "--one-prompt", "--checkpoint", "none.pt")
    assert code == 2
    assert "--one-prompt needs true segments: --truth with a COCO file" in stderr
    code, _, stderr = in_process(*arguments)
    assert code == 1
    assert "amg: a: a mask of (h, w) (60, 40), where the truth is (40, 60)" in stderr


# Against another run


def test_two_runs_are_compared_and_a_share_below_the_minimum_is_exit_code_4(tmp_path):
    write_masks(tmp_path / "ours", MASKS | {"c": [made(DOT, 0.5)]})
    other = {"a": [made(HALF_OF_STUFF, 0.8), made(THING, 0.875)], "b": [made(WHOLE, 0.9)], "d": []}
    write_masks(tmp_path / "theirs", other, png=["a"])
    arguments = ["--masks", "ours", "--against", "theirs", "--json", "all.json"]
    result = amg_eval(*arguments, "--min-match", "0.7", cwd=tmp_path)
    assert result.returncode == 4
    assert result.stderr == "amg: 0.6000 of masks match at IoU 0.9, not 0.7\n"
    assert result.stdout == (
        "images                         4\n"
        "\nrun against run\n"
        "  masks                        5\n"
        "  masks of the other           3\n"
        "  matched at IoU 0.98     0.6000\n"
        "  matched at IoU 0.95     0.6000\n"
        "  matched at IoU 0.9      0.6000\n"
        "  matched at IoU 0.75     0.6000\n"
        "  identical                    3\n"
        "  pred iou diff           0.0250\n"
        "  stability diff          0.0000\n"
        "  out of order                 1\n"
    )
    data = json.loads((tmp_path / "all.json").read_text())
    assert list(data["per_image"]) == ["a", "b", "c", "d"]
    assert data["per_image"]["b"]["matched at IoU 0.9"] == 0.5
    assert data["per_image"]["d"]["matched at IoU 0.9"] == 1


@pytest.mark.parametrize(
    ("pixels", "arguments", "code"),
    [
        (2400, ["--min-match", "1", "--match-iou", "0.98"], 0),
        (2280, ["--min-match", "1", "--match-iou", "0.95"], 0),
        (2279, ["--min-match", "1", "--match-iou", "0.95"], 4),
        (2279, ["--min-match", "1"], 0),  # 0.9 is the default
        (2159, ["--min-match", "0.01"], 4),
        (2159, ["--min-match", "0"], 0),
        (1, [], 0),
    ],
)
def test_min_match_is_of_the_iou_asked_for(pixels, arguments, code, in_process, tmp_path):
    write_masks(tmp_path / "ours", {"a": [made(WHOLE)]})
    part = np.arange(2400).reshape(SIZE_HW) < pixels
    write_masks(tmp_path / "theirs", {"a": [made(part)]})
    assert in_process("--masks", "ours", "--against", "theirs", *arguments)[0] == code


# What cannot start


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "give --truth, or --against"),
        ("--masks a", "give --truth, or --against"),
        ("--truth a --against b --masks c", "give --truth, or --against"),
        ("--against a", "--against needs --masks"),
        ("--truth a --masks b --min-match 0.5", "--min-match needs --against"),
        ("--against a --masks b --images c", "--images needs --truth"),
        ("--against a --masks b --output c", "--output needs --truth"),
        ("--against a --masks b --limit 3", "--limit needs --truth"),
        ("--against a --masks b --report c", "--report needs --truth"),
        ("--against a --masks b --one-prompt", "--one-prompt needs --truth"),
        ("--against a --masks b --min-match 1.5", "1.5 is not in the range 0<=x<=1"),
        ("--against a --masks b --match-iou 0.5", "'0.5' is not one of '0.98', '0.95', '0.9'"),
        ("--truth a --masks b --limit 0", "0 is not in the range x>=1"),
        ("--truth a --masks b --points-per-side 0", "must be a whole number (1 to 1024), not 0"),
        ("--truth a --masks b --no-such", "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_needed(arguments, told, tmp_path):
    result = amg_eval(*arguments.split(), cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert re.sub(r"\s+", " ", result.stderr).count(told) == 1, result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--truth none.json --masks out", "none.json: No such file or directory; check --truth"),
        ("--truth empty --masks out",
         "empty: no .npz in it; give a COCO file, or a folder of BSDS500's truth"),
        ("--truth truth.json --masks none", "none: no such folder; give a run's --output"),
        ("--truth truth.json --masks empty",
         "empty: no masks of amg in it; give a run's --output"),
        ("--masks out --against none", "none: no such folder; give a run's --output"),
        ("--truth truth.json --checkpoint none.pt",
         "none.pt: No such file or directory; check --checkpoint"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_exit_code_1_and_one_line(arguments, line, in_process, tmp_path):
    write_truth(tmp_path)
    write_masks(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert in_process(*arguments.split()) == (1, "", f"amg: {line}\n")


def test_output_that_cannot_be_written_is_said(in_process, tmp_path, random_checkpoint):
    write_truth(tmp_path)
    write_masks(tmp_path / "out")
    arguments = ("--truth", "truth.json", "--masks", "out", "--limit", "2")
    code, _, stderr = in_process(*arguments, "--json", "none/all.json")
    assert (code, stderr) == (1, "amg: none/all.json: No such file or directory; check --json\n")
    write_images(tmp_path / "images", ["a.jpg", "b.jpg"])
    code, _, stderr = in_process(*arguments, "--report", "truth.json/page")
    assert code == 1
    assert stderr == "amg: truth.json/page: Not a directory; check --report\n"
    generated = ("--checkpoint", random_checkpoint, "--output", "truth.json/out")
    code, _, stderr = in_process("--truth", "truth.json", *generated)
    assert (code, stderr) == (1, "amg: truth.json/out: Not a directory; check --output\n")


# Generating first


def test_masks_are_generated_kept_and_not_made_again(tmp_path, random_checkpoint):
    """Images of one stem, and in a sub-folder, each have masks of their own."""
    names = ["a.png", "a.bmp", "sub/b.png"]
    images = [coco_image(i, name, SIZE_HW) for i, name in enumerate(names)]
    annotations = [annotation(0, THING, 1), annotation(1, STUFF, 0), annotation(2, DOT, 1)]
    write_json(tmp_path / "truth.json", {"images": images, "annotations": annotations})
    write_images(tmp_path / "photos", names)
    run = ["--truth", "truth.json", "--images", "photos", "--checkpoint", random_checkpoint]
    run += [*FEW_POINTS, "--output", "kept", "--image-size", "256", "--threads", "1"]
    first = amg_eval(*run, "--one-prompt", "--json", "first.json", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    kept = {
        path.relative_to(tmp_path / "kept").as_posix() for path in tmp_path.rglob("kept/**/*.*")
    }
    assert kept == {"a.png.json", "a.bmp.json", "sub/b.json", "made_by.json"}
    kept.remove("made_by.json")
    assert all(reference_rle.read(tmp_path / "kept" / name) for name in kept)
    scores = json.loads((tmp_path / "first.json").read_text())["scores"]
    assert scores["one point"]["segments"] == scores["one box"]["segments"] == 2  # not the dot
    assert 0 < scores["one box"]["first"] <= scores["one box"]["best of three"] <= 1

    write(reference_rle.FORMAT, [made(THING)], tmp_path / "kept/a.png.json")
    (tmp_path / "kept/sub/b.json").unlink()
    (tmp_path / "photos/sub/b.png").write_bytes(b"")
    second = amg_eval(*run, "--json", "second.json", cwd=tmp_path)
    assert second.returncode == 3
    assert second.stderr == (
        "amg: photos/sub/b.png: empty file; re-export or download it again\n"
        f"amg: sub/b.png: {NO_MASKS}\n"
    )
    per_image = json.loads((tmp_path / "second.json").read_text())["per_image"]
    assert per_image["a.png"]["mean best IoU"] == 1
    assert per_image["sub/b.png"]["masks"] == 0


@pytest.fixture
def kept(in_process, tmp_path, random_checkpoint):
    """A function that scores generated masks kept in `out`. -> exit code, stderr"""
    write_truth(tmp_path)
    write_images(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg"])
    few = ("--limit", 1, *FEW_POINTS, "--image-size", 256)

    def score(*arguments):
        given = ("--truth", "truth.json", "--checkpoint", random_checkpoint, "--output", "out")
        code, _, stderr = in_process(*given, *few, *arguments)
        return code, stderr

    return score


REMEDY = "; give another --output, or --masks to score them as they are\n"


def test_masks_of_other_settings_are_not_scored_in_silence(kept, tmp_path):
    assert kept() == (0, "")
    before = files_under(tmp_path / "out")
    assert kept("--points-per-batch", 64) == (0, "")
    code, stderr = kept("--points-per-side", 3, "--image-size", 128)
    assert (code, stderr) == (
        1,
        "amg: out: the masks in it were made with input_size [256, 256], now [128, 128]; "
        "points_per_side 2, now 3" + REMEDY,
    )
    assert files_under(tmp_path / "out") == before


def test_masks_of_other_weights_are_named_by_their_hash(kept, tmp_path, random_checkpoint):
    assert kept() == (0, "")
    state = torch.load(random_checkpoint, weights_only=True)
    torch.save({key: tensor * 0.5 for key, tensor in state.items()}, tmp_path / "other.pt")
    code, stderr = kept("--checkpoint", tmp_path / "other.pt")
    assert code == 1
    assert re.fullmatch(
        r"amg: out: .* made with weights \w{8}, now \w{8}" + re.escape(REMEDY), stderr
    )


def test_masks_of_an_unknown_maker_are_not_taken_for_ones_own(kept, tmp_path):
    (tmp_path / "out").mkdir()
    write(reference_rle.FORMAT, [], tmp_path / "out/a.json")
    assert kept() == (1, "amg: out: nothing says what made the masks in it" + REMEDY)
    (tmp_path / "out/a.json").unlink()
    assert kept() == (0, "")
    (tmp_path / "out/made_by.json").write_text("{")
    code, stderr = kept()
    assert code == 1
    assert stderr.startswith("amg: out/made_by.json: cannot be read: ")


def test_other_files_among_the_masks_are_passed_over(in_process, tmp_path):
    write_truth(tmp_path)
    write_masks(tmp_path / "out", png=["b"])
    arguments = ("--truth", "truth.json", "--masks", "out")
    assert in_process(*arguments, "--json", "out/scores.json")[0] == 0
    (tmp_path / "out/truth.json").write_bytes((tmp_path / "truth.json").read_bytes())
    (tmp_path / "out/results.json").write_text('[{"image_id": 1, "score": 0.5}]')
    code, stdout, _ = in_process(*arguments)
    assert (code, stdout) == (0, TABLE)


@pytest.mark.parametrize("name", ["", "..", "/"])
def test_a_truth_whose_image_has_no_name_is_refused(name, in_process, tmp_path, random_checkpoint):
    write_json(
        tmp_path / "truth.json", {"images": [coco_image(0, name, SIZE_HW)], "annotations": []}
    )
    given = ("--checkpoint", random_checkpoint, "--output", "out")
    code, _, stderr = in_process("--truth", "truth.json", *given)
    assert (code, stderr.count("\n")) == (1, 1)
    assert "is the name of no image" in stderr


def test_where_no_image_can_be_done_there_is_nothing_to_score(
    in_process, tmp_path, random_checkpoint
):
    write_truth(tmp_path)
    write_images(tmp_path / "images", ["a.jpg", "b.jpg"])
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    arguments = ("--truth", "truth.json", "--limit", "2", "--checkpoint", random_checkpoint)
    assert in_process(*arguments) == (
        3,
        "",
        "amg: images/a.jpg: empty file; re-export or download it again\n"
        "amg: images/b.jpg: empty file; re-export or download it again\n"
        "amg: truth.json: none of its images has masks; mend them and run again\n",
    )
