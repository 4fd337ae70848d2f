"""`--save-candidates` and `amg select`; presets; regions of interest; nano's own settings."""

import dataclasses
import random
import shutil

import cv2
import numpy as np
import pytest

import amg_cli
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError
from amg_cli.core.presets import PRESETS
from amg_cli.core.region import Region
from amg_cli.formats.manifest import Shard, read_settings
from tests.command import SMALL_MODEL, amg, error_lines, files_under, save
from tests.comparing import assert_same_masks
from tests.stand_ins import settings, wide_model

GRID = ["--points-per-side", "4"]
KEPT_OVER = ["--candidate-floors", "0.2,0.3"]
OWN = "--nms mask --box-nms-thresh 0.8 --crop-nms-thresh 0.8"
LOW = ["--pred-iou-thresh", "0.2", "--stability-score-thresh", "0.3"]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A run that has kept its candidates, of images with masks, and one that is black."""
    folder = tmp_path_factory.mktemp("old")
    for seed, name in enumerate(("b", "sub/a", "sub/a b")):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        save(folder / f"photos/{name}.png", cv2.resize(coarse, (90, 60)))
    save(folder / "photos/none.png", np.zeros((20, 30, 3), np.uint8))
    result = run(folder, "old", "--save-candidates", *KEPT_OVER)
    assert result.returncode == 0, result.stderr
    return folder


def run(folder, output, *more):
    arguments = ["--input", "photos", "--recursive", "--output", output, *GRID, *SMALL_MODEL]
    return amg(*arguments, *more, cwd=folder)


def select(folder, output, *more, source="old"):
    return amg("select", source, "--output", output, *more, cwd=folder)


# The same as a new run


def test_keeping_candidates_changes_no_output(old):
    assert run(old, "plain").returncode == 0
    kept = files_under(old / "old")
    files = [name for name in kept if name.startswith("candidates/")]
    assert sorted(files) == [f"candidates/{name}.npz" for name in ("b", "none", "sub/a b", "sub/a")]
    assert {name: kept[name] for name in kept if name not in files} == files_under(old / "plain")


@pytest.mark.parametrize(
    "changes",
    [
        LOW,
        [
            *LOW,
            "--nms",
            "box",
            "--box-nms-thresh",
            "0.4",
            "--format",
            "coco",
            "--format",
            "overlay",
        ],
        [*LOW, "--roi", "20%,0,80%,45", "--min-area", "1%", "--parents", "--format", "ndjson"],
        ["--preset", "parts", "--pred-iou-thresh", "0.3", "--format", "rle"],
    ],
)
def test_other_settings_give_what_a_new_run_gives(changes, old, tmp_path):
    new = run(old, tmp_path / "new", *changes)
    result = select(old, tmp_path / "again", *changes)
    assert (new.returncode, result.returncode) == (0, 0), result.stderr
    assert files_under(tmp_path / "again") == files_under(tmp_path / "new")
    assert sorted(result.stdout.splitlines()) == sorted(
        line.replace("/new", "/again") for line in new.stdout.splitlines()
    )


def random_settings(seed, candidates):
    """Thresholds among the scores there are, and some of the other settings."""
    choose = random.Random(seed)
    found = {
        "pred_iou_thresh": float(choose.choice(candidates.pred_iou.tolist())),
        "stability_score_thresh": float(choose.choice(candidates.stability_score.tolist())),
        "box_nms_thresh": choose.random(),
        "crop_nms_thresh": choose.random(),
        "nms": choose.choice(["box", "mask", "off"]),
    }
    others = {
        "min_mask_region_area": choose.choice([5, 50]),
        "min_area": choose.choice([10, "1%"]),
        "max_area": "60%",
        "drop_border": True,
        "largest_component": True,
        "smooth": 1,
        "containment_thresh": 0.8,
        "max_masks": 5,
        "disjoint": choose.choice(["score", "smallest", "largest"]),
        "parents": True,
    }
    names = choose.sample(sorted(others), choose.choice([0, 1, 2, 3]))
    return found | {name: others[name] for name in names}


@pytest.mark.parametrize("nb_layers", [0, 1])
def test_twenty_random_settings_give_what_generate_gives(nb_layers, noise, tmp_path):
    model, floors = wide_model(), settings(points_per_side=6, crop_n_layers=nb_layers)
    amg_cli.propose(model, noise, floors).save(tmp_path / "a.npz")
    candidates = amg_cli.Candidates.load(tmp_path / "a.npz")
    nb_masks = []
    for seed in range(20):
        config = dataclasses.replace(floors, **random_settings(seed, candidates))
        masks = amg_cli.select(candidates, config)
        assert masks == amg_cli.generate(noise, model, config), config
        nb_masks.append(len(masks))
    assert len(set(nb_masks)) > 4


def test_candidates_of_a_model_of_its_own_settings_are_selected_by_them(old, tmp_path):
    assert select(old, tmp_path / "box", *LOW, "--nms", "box").returncode == 0
    assert select(old, tmp_path / "own", *LOW).returncode == 0
    thresholds = ["--box-nms-thresh", "0.8", "--crop-nms-thresh", "0.8"]
    assert select(old, tmp_path / "mask", *LOW, "--nms", "mask", *thresholds).returncode == 0
    assert files_under(tmp_path / "own") == files_under(tmp_path / "mask")
    assert files_under(tmp_path / "own") != files_under(tmp_path / "box")


# What is refused, and what is damaged


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--points-per-side", "8"], "--points-per-side cannot be changed"),
        (["--crop-n-layers", "1"], "--crop-n-layers cannot be changed"),
        (["--stability-score-offset", "2"], "--stability-score-offset cannot be changed"),
        (["--pred-iou-thresh", "0.1"], "--pred-iou-thresh: 0.1 is under 0.2"),
        (["--stability-score-thresh", "0"], "--stability-score-thresh: 0 is under 0.3"),
        (["--box-nms-thresh", "2"], "--box-nms-thresh"),
        (["--max-area", "x"], "--max-area"),
        (["--roi", "1,2,3"], "--roi"),
        (["--fill"], "--fill"),
    ],
)
def test_what_candidates_cannot_give_is_refused_by_name(changes, words, old, tmp_path):
    result = select(old, tmp_path / "new", *changes)
    assert result.returncode in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_run_without_candidates_is_named(old, tmp_path):
    assert run(old, tmp_path / "none").returncode == 0
    result = select(old, tmp_path / "new", source=tmp_path / "none")
    assert result.returncode == 1
    assert error_lines(result) == [
        f"amg: {tmp_path / 'none'}: no candidates of a run in it; "
        "run amg again with --save-candidates"
    ]


def test_a_file_that_is_damaged_or_missing_is_named_and_the_others_are_done(old, tmp_path):
    shutil.copytree(old / "old", tmp_path / "old")
    cut, missing = (tmp_path / "old/candidates" / name for name in ("b.npz", "sub/a.npz"))
    cut.write_bytes(cut.read_bytes()[:-100])
    missing.unlink()
    result = select(tmp_path, "new", *LOW, "--format", "rle")
    assert result.returncode == 3
    lines = error_lines(result)
    assert len(lines) == 2
    assert lines[0].startswith("amg: old/candidates/b.npz: no candidates of amg")
    assert lines[1].startswith("amg: old/candidates/sub/a.npz: is missing")
    assert sorted(files_under(tmp_path / "new")) == ["none.json", "sub/a b.json"]


def test_output_that_is_there_stays_unless_it_is_to_go(old, tmp_path):
    assert select(old, tmp_path / "new", "--format", "coco").returncode == 0
    before = files_under(tmp_path / "new")
    result = select(old, tmp_path / "new", *LOW, "--format", "coco")
    assert result.returncode == 1
    assert "exists; give --on-exists overwrite" in result.stderr
    assert files_under(tmp_path / "new") == before
    assert select(old, tmp_path / "new", *LOW, "--on-exists", "overwrite").returncode == 0


@pytest.mark.parametrize(
    "more",
    [
        ["--candidate-floors", "0.5,0.5"],
        ["--save-candidates", "--candidate-floors", "0.5"],
        ["--save-candidates", "--candidate-floors", "0.5,2"],
        ["--save-candidates", "--candidate-floors", "nan,0.5"],
        ["--save-candidates", "--output", "-"],
    ],
)
def test_bad_values_of_a_run_are_refused_by_name(more, old):
    result = run(old, "never", *more)
    assert result.returncode == 2
    assert "--candidate-floors" in result.stderr or "--save-candidates" in result.stderr


def test_a_run_with_other_floors_is_another(old):
    result = run(old, "old", "--save-candidates", "--candidate-floors", "0.1,0.3")
    assert result.returncode == 1
    assert "--candidate-floors 0.2 0.3, now 0.1 0.3" in result.stderr


# A region of interest


@pytest.mark.parametrize("nb_layers", [0, 1])
@pytest.mark.parametrize("kind", ["box", "shares", "mask"])
def test_only_points_in_the_region_are_asked_for(kind, nb_layers, noise):
    model, config = wide_model(), settings(points_per_side=6, crop_n_layers=nb_layers)
    height, width = noise.shape[:2]
    mask = np.zeros((height, width), dtype=bool)
    mask[10:31, 20:41] = True
    sides = (20, 10, 40, 30)
    shares = [
        f"{100 * side / length}%" for side, length in zip(sides, 2 * (width, height), strict=True)
    ]
    roi = {"box": sides, "shares": shares, "mask": mask}[kind]
    every = amg_cli.propose(model, noise, config)
    some = amg_cli.propose(model, noise, config, roi=roi)
    x, y = every.points_xy.T
    inside = (x >= 20) & (x <= 40) & (y >= 10) & (y <= 30)
    assert 0 < len(some) < len(every)
    assert [m.rle for m in some.masks()] == [m.rle for m in every[inside].masks()]
    found = amg_cli.generate(noise, model, config, roi=roi)
    assert found == amg_cli.select(every, config, roi)
    assert_same_masks(found, amg_cli.select(some, config))


def test_a_region_without_a_point_costs_no_encoding_and_finds_nothing(noise, monkeypatch):
    model = wide_model()
    monkeypatch.setattr(model, "encode", None)
    assert amg_cli.generate(noise, model, settings(points_per_side=2), roi=(0, 0, 1, 1)) == []


@pytest.mark.parametrize(
    "roi", [(1, 2, 3), (5, 5, 1, 1), "box", 7, ("1%", "x%", 3, 4), np.zeros((3, 3)), [None] * 4]
)
def test_what_is_no_region_is_refused_by_name(roi):
    with pytest.raises(ConfigError, match="roi"):
        Region.of(roi)


def test_a_picture_is_a_region_of_images_of_its_size(old, tmp_path):
    picture = np.zeros((60, 90), np.uint8)
    picture[:, :45] = 7
    save(old / "left.png", picture)
    new = run(old, tmp_path / "new", *LOW, "--roi", "left.png", "--format", "rle")
    assert new.returncode == 3
    (line,) = error_lines(new)
    cause = "--roi: the mask has 90 x 60 pixels, the image 30 x 20"
    assert line == f"amg: photos/none.png: {cause}; give a mask of the image's size, or a box"
    box = run(old, tmp_path / "box", *LOW, "--roi", "0,0,44.9,60", "--format", "rle")
    assert box.returncode == 0
    found, wanted = files_under(tmp_path / "new"), files_under(tmp_path / "box")
    del wanted["none.json"]
    assert found == wanted
    again = select(old, tmp_path / "again", *LOW, "--roi", "left.png", "--format", "rle")
    assert again.returncode == 3
    assert "30 x 20" in again.stderr
    assert files_under(tmp_path / "again") == found


def test_a_file_that_is_no_region_is_named(old):
    (old / "text.png").write_text("no picture")
    for name in ("text.png", "nowhere.png"):
        result = run(old, "never", "--roi", name)
        assert result.returncode == 1
        assert result.stderr.startswith(f"amg: {name}: ")


# Presets, and a model's own settings


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_settings_and_what_is_given_wins(name, old, tmp_path):
    result = run(old, tmp_path / "out", "--preset", name, "--box-nms-thresh", "0.33")
    assert result.returncode == 0, result.stderr
    found = read_settings(tmp_path / "out", Shard())
    wanted = GenerationConfig(**(PRESETS[name].settings | {"box_nms_thresh": 0.33}))
    wanted = dataclasses.replace(wanted, points_per_side=4)
    assert {key: found[key] for key in dataclasses.asdict(wanted)} == dataclasses.asdict(wanted)


def test_the_first_line_names_the_models_own_settings(old, tmp_path):
    first = run(old, tmp_path / "a").stderr.splitlines()[0]
    assert first == f"amg: model nano with its own {OWN}"
    unnamed = amg("--input", "photos/none.png", "--output", tmp_path / "b", *GRID, cwd=old)
    line = unnamed.stderr.splitlines()[0]
    assert line.startswith(f"amg: model nano, which comes with amg, with its own {OWN}; for")
    for given in (["--nms", "box"], ["--preset", "parts"]):
        assert "its own" not in run(old, tmp_path / given[1], *given).stderr
    assert read_settings(tmp_path / "box", Shard())["box_nms_thresh"] == 0.7
    some = run(old, tmp_path / "d", "--box-nms-thresh", "0.6").stderr
    assert "with its own --nms mask --crop-nms-thresh 0.8\n" in some


def test_in_python_a_models_own_settings_are_the_default(noise):
    model = amg_cli.load_model(image_size=256)
    config = GenerationConfig(nms="mask", box_nms_thresh=0.8, crop_nms_thresh=0.8)
    assert GenerationConfig(**model.settings) == config
    assert amg_cli.generate(noise, model) == amg_cli.generate(noise, model, config)


def test_candidates_of_shards_are_joined_by_merge(old, tmp_path):
    for shard in ("1/2", "2/2"):
        more = ["--save-candidates", *KEPT_OVER, "--shard", shard]
        assert run(old, tmp_path / "parts", *more).returncode == 0
    merged = amg("merge", tmp_path / "parts", "--output", tmp_path / "whole", cwd=old)
    assert merged.returncode == 0, merged.stderr
    assert files_under(tmp_path / "whole") == files_under(old / "old")
    for source in (old / "old", tmp_path / "whole"):
        result = select(
            old, tmp_path / f"of {source.name}", *LOW, "--format", "coco", source=source
        )
        assert result.returncode == 0, result.stderr
    assert files_under(tmp_path / "of whole") == files_under(tmp_path / "of old")
