"""Edges in Python and by `amg edges`: the recipe, against the same written out in full."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

import amg_cli
from amg_cli import GenerationConfig, edges, encode_image, load_model, predict
from amg_cli.core.config import settings_of_edges
from amg_cli.core.presets import EDGE_RECIPE
from amg_cli.generation.prompts import Prompts
from amg_cli.generation.views import views
from amg_cli.tasks import edges as task
from tests.command import SMALL_MODEL, amg, error_lines, files_under, save, visible
from tests.conftest import REPOSITORY, photo
from tests.stand_ins import Discs

RECIPE = GenerationConfig(**EDGE_RECIPE)
FEW = GenerationConfig(**{**EDGE_RECIPE, "points_per_side": 4})


@pytest.fixture(scope="module")
def coffee():
    image = photo(REPOSITORY / "examples/images/coffee.jpg")
    return cv2.resize(image, (180, 120), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def model():
    return load_model("nano", device="cpu", image_size=256)


def box_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return shared / (sum(areas) - shared)


def survivors(boxes, scores, thresh):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(not box_iou(boxes[i], boxes[j]) > thresh for j in kept):
            kept.append(i)
    return kept


def in_full(image, model, config):
    """The recipe with all maps at full size, by other code: edges before thinning."""
    height, width = image.shape[:2]
    maps, boxes, scores, smallness = [], [], [], []
    looks = views((height, width), config)
    for view in looks:
        x0, y0, x1, y1 = view.crop.box_xyxy
        crop = np.ascontiguousarray(image[y0:y1, x0:x1])
        asked = Prompts(view.points_xy[:, None])
        found = predict(model, encode_image(model, crop), asked, return_logits=True)
        of_view = []
        for logits, score in zip(found.masks.reshape(-1, *crop.shape[:2]), found.scores.ravel(),
                                 strict=True):  # fmt: skip
            ys, xs = np.nonzero(logits > 0)
            if not len(ys):
                continue
            box = (xs.min() + x0, ys.min() + y0, xs.max() + x0, ys.max() + y0)
            near = [abs(b - c) <= 20 for b, c in zip(box, (x0, y0, x1, y1), strict=True)]
            rim = [abs(b - c) <= 20 for b, c in zip(box, (0, 0, width, height), strict=True)]
            if any(n and not r for n, r in zip(near, rim, strict=True)):
                continue
            whole = np.full((height, width), -np.inf)
            whole[y0:y1, x0:x1] = logits
            of_view.append((whole, box, float(score), 1 / ((x1 - x0) * (y1 - y0))))
        for i in survivors([v[1] for v in of_view], [v[2] for v in of_view], config.box_nms_thresh):
            for values, value in zip((maps, boxes, scores, smallness), of_view[i], strict=True):
                values.append(value)
    kept = range(len(maps))
    if len(looks) > 1:
        kept = survivors(boxes, smallness, config.crop_nms_thresh)
    strength = np.zeros((height, width))
    for i in kept:
        strength = np.maximum(strength, edge_in_full(maps[i]))
    return strength / strength.max()


def edge_in_full(logits):
    with np.errstate(over="ignore"):
        padded = np.pad(1 / (1 + np.exp(-logits)), 1, mode="reflect")
    inside = np.pad(logits > 0, 1)
    height, width = logits.shape
    at = {
        (dy, dx): (slice(1 + dy, 1 + dy + height), slice(1 + dx, 1 + dx + width))
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    gx = sum((2 - abs(dy)) * dx * padded[where] for (dy, dx), where in at.items())
    gy = sum((2 - abs(dx)) * dy * padded[where] for (dy, dx), where in at.items())
    touches = np.any([inside[where] for where in at.values()], axis=0)
    return np.where(touches & ~(logits > 0), np.hypot(gx, gy), 0)


@pytest.mark.parametrize("layers", [0, 1])
def test_edges_are_the_recipes(coffee, model, layers):
    config = GenerationConfig(**{**EDGE_RECIPE, "points_per_side": 6, "crop_n_layers": layers})
    found = edges(coffee, model, config, thin=False)
    wanted = in_full(coffee, model, config)
    assert (found.shape, found.dtype) == ((120, 180), np.float32)
    assert found.max() == 1
    assert found.min() == 0
    # A pixel whose logit rounds to the other side of the threshold is a boundary's, or none.
    assert (np.abs(found - wanted) > 1e-3).mean() < 2e-3


def test_the_edge_of_a_disc_is_the_ring_around_it():
    image = np.zeros((96, 96, 3), np.uint8)
    one_point = GenerationConfig(**{**EDGE_RECIPE, "points_per_side": 1})
    found = edges(image, Discs(radii_px=(0, 0, 30), slope=1), one_point, thin=False)
    distance = np.hypot(*(np.indices((96, 96)) + 0.5 - 48))
    assert (found[(distance > 30.5) & (distance < 31)] > 0).all()
    assert (found[(distance < 29) | (distance > 33)] == 0).all()


def test_the_default_is_the_recipe(coffee, model, monkeypatch):
    asked = []
    monkeypatch.setattr(task, "_edges_of_masks", lambda *given: asked.append(given[2]) or [])
    assert not edges(coffee, model).any()  # and no mask is no edge
    assert asked == [RECIPE]
    assert (RECIPE.points_per_side, RECIPE.box_nms_thresh, RECIPE.nms) == (16, 0.7, "box")
    assert (RECIPE.pred_iou_thresh, RECIPE.stability_score_thresh) == (0, 0)


def test_strips_are_as_the_whole(coffee, model, monkeypatch):
    whole = edges(coffee, model, FEW, thin=False)
    monkeypatch.setattr(task, "STRIP_PX", 500)
    assert np.abs(edges(coffee, model, FEW, thin=False) - whole).max() < 1e-4


def test_masks_are_not_held_at_full_size(coffee, model):
    """Each edge lies in the window of its mask, and is gone when the next one comes."""
    parts = task._edges_of_masks(model, coffee, FEW)
    sizes = [edge.size for _, edge in parts]
    assert len(sizes) > 3
    assert np.mean(sizes) < 0.7 * coffee[..., 0].size


def test_settings_change_edges(coffee, model):
    plain = edges(coffee, model, FEW, thin=False)
    changes = (
        {"points_per_side": 6},
        {"pred_iou_thresh": 0.9},
        {"box_nms_thresh": 0.2},
        {"nms": "off"},
        {"nms": "mask"},
        {"crop_n_layers": 1},
    )
    for change in changes:
        other = edges(coffee, model, dataclasses.replace(FEW, **change), thin=False)
        assert (other != plain).any(), change


def test_it_does_not_matter_how_many_prompts_are_in_memory(coffee, model):
    found = [
        edges(coffee, model, GenerationConfig(**EDGE_RECIPE, points_per_batch=count))
        for count in (1, 64)
    ]
    assert (found[0] == found[1]).all()


# Thinning


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120])
def test_a_broad_line_becomes_its_ridge(angle):
    y, x = np.indices((61, 61), dtype=np.float32) - 30
    radians = np.deg2rad(angle)
    off = np.abs(x * np.sin(radians) - y * np.cos(radians))
    line = np.clip(1 - off / 4, 0, 1).astype(np.float32)
    thin = task.thinned(line)
    inner = np.hypot(x, y) < 25
    assert (thin[inner & (off > 1.3)] < 1e-6).all()
    kept = thin[inner] > 1e-6
    assert 34 < kept.sum() < 110  # a line of 50 pixels, or 35 diagonal ones; two that tie stay
    assert (thin[thin > 0] == line[thin > 0]).all()


def test_two_lines_side_by_side_become_one():
    strength = np.zeros((21, 21), np.float32)
    strength[:, 10:12] = 1
    strength[:, 14] = 0.9
    thin = task.thinned(strength)
    assert (thin[3:18, :13].max(axis=1) == 1).all()
    assert (thin[3:18, 14] == np.float32(0.9)).all()


def test_tiles_thin_as_the_whole(monkeypatch):
    strength = np.random.default_rng(0).random((70, 95)).astype(np.float32)
    strength = cv2.GaussianBlur(strength, (0, 0), 2)
    whole = task.thinned(strength)
    monkeypatch.setattr(task, "TILE_PX", 16)
    assert 100 < np.count_nonzero(whole) < 3000
    assert (task.thinned(strength) != whole).mean() < 1e-3  # of coordinates that round otherwise


def test_a_panorama_is_thinned():
    strength = np.zeros((9, 40_000), np.float32)
    strength[4] = 1
    assert (task.thinned(strength)[:, 10:-10] == strength[:, 10:-10]).all()


def test_nothing_thins_to_nothing():
    assert not task.thinned(np.zeros((5, 7), np.float32)).any()
    assert not task.thinned(np.full((9, 9), 0.5, np.float32)).any()
    assert task.thinned(np.ones((1, 1), np.float32)).shape == (1, 1)


# The command


@pytest.fixture
def folder(tmp_path, coffee):
    save(tmp_path / "photos/a.png", coffee[..., ::-1])
    save(tmp_path / "photos/sub/b.png", coffee[:60, :90, ::-1])
    return tmp_path


def run(folder, *more, output="out"):
    given = ["--input", "photos", "--recursive", "--output", output, "--points-per-side", "4"]
    return amg("edges", *given, *SMALL_MODEL, *more, cwd=folder)


def test_a_run_writes_a_grey_png_an_image(folder, coffee, model):
    result = run(folder, "--threads", "1", "--workers", "1")
    assert (result.returncode, error_lines(result)) == (0, [error_lines(result)[0]])
    assert "2 done, 0 skipped, 0 failed, in" in result.stderr
    assert result.stdout.splitlines() == ["out/a.png", "out/sub/b.png"]
    found = cv2.imread(str(folder / "out/a.png"), cv2.IMREAD_UNCHANGED)
    wanted = edges(coffee, model, FEW)
    assert (found.shape, found.dtype) == ((120, 180), np.uint8)
    assert (np.abs(found.astype(int) - np.rint(wanted * 255)) > 1).mean() < 2e-3


def test_16_bits_are_the_same_in_more_steps(folder):
    for bits in ("8", "16"):
        assert run(folder, "--edge-bits", bits, output=bits).returncode == 0
    coarse, fine = (
        cv2.imread(str(folder / bits / "a.png"), cv2.IMREAD_UNCHANGED) for bits in ("8", "16")
    )
    assert fine.dtype == np.uint16
    assert np.abs(fine / 65535 - coarse / 255).max() <= 0.5 / 255 + 1e-6


def test_all_of_an_edge_can_be_kept(folder):
    assert run(folder).returncode == 0
    assert run(folder, "--no-thin", output="thick").returncode == 0
    thin, thick = (cv2.imread(str(folder / name / "a.png"), 0) for name in ("out", "thick"))
    assert (thin <= thick).all()
    assert np.count_nonzero(thin) < np.count_nonzero(thick)


def test_a_run_goes_on_by_shards_and_with_the_same_settings_alone(folder):
    for i in (1, 2):
        assert run(folder, "--shard", f"{i}/2", output="parts").returncode == 0
    assert run(folder).returncode == 0
    assert files_under(folder / "parts") == files_under(folder / "out")
    assert "2 done before" in run(folder).stderr
    for more, words in ((["--no-thin"], "--thin true, now false"),
                        (["--nms", "off"], '--nms "box", now "off"')):  # fmt: skip
        result = run(folder, *more)
        assert result.returncode == 1
        assert any(words.replace('"', "") in line.replace('"', "") for line in error_lines(result))


def test_masks_and_edges_do_not_go_to_one_folder(folder):
    assert run(folder).returncode == 0
    given = ["--input", "photos", "--recursive", "--output", "out", "--points-per-side", "4"]
    result = amg(*given, *SMALL_MODEL, cwd=folder)
    assert result.returncode == 1
    assert "the task edges, now everything" in result.stderr


def test_a_broken_image_fails_alone(folder):
    (folder / "photos/c.png").write_bytes(b"no image")
    result = run(folder)
    assert result.returncode == 3
    assert visible(folder / "out") == ["a.png", "sub"]


def test_edges_do_not_go_to_stdout(folder):
    result = run(folder, output="-")
    assert result.returncode == 2
    assert "edges are pictures: --output needs a folder" in result.stderr


def test_the_help_has_the_recipes_defaults_and_what_edges_go_by(tmp_path):
    text = " ".join(amg("edges", "--help", cwd=tmp_path).stdout.split())
    assert "[default: 16; 1 to 1024]" in text
    for name in settings_of_edges():
        assert f"--{name.replace('_', '-')}" in text
    for name in ("--preset", "--disjoint", "--format", "--min-area"):
        assert name not in text


def test_it_is_public(model):
    assert amg_cli.edges is task.edges
    with pytest.raises(TypeError, match="model"):
        edges(np.zeros((5, 5, 3), np.uint8), torch.nn.Identity())
