"""`coarse_nms_thresh`: less is drawn, and what is drawn is as it was."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, load_model, propose
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.generation.coarse_nms import (
    BEST_OF_A_CLUSTER,
    FEWEST_CELLS,
    NEARLY_STABLE,
    clusters_of,
    keys_of,
    propose_best,
)
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.grid import decode
from amg_cli.generation.propose import candidates_for
from amg_cli.generation.views import views
from tests.command import FEW_POINTS, SMALL_MODEL, amg, save
from tests.stand_ins import settings, wide_model
from tests.test_propose import assert_identical

COARSE = {"coarse_nms_thresh": 0.9}


@pytest.fixture(scope="module")
def nano():
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def scene():
    """A few discs on a gradient, 120 x 160 pixels."""
    rows, columns = np.mgrid[:120, :160]
    image = np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)
    for y, x, radius, colour in ((30, 40, 20, 250), (80, 110, 30, 10), (60, 30, 12, 120)):
        image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = colour
    return image


def keys(candidates):
    """What tells a candidate from the others: its mask, score and point."""
    columns = zip(
        (rle["counts"] for rle in candidates.rles),
        candidates.pred_iou.tolist(),
        map(tuple, candidates.points_xy.tolist()),
        strict=True,
    )
    return list(columns)


@pytest.mark.parametrize("shape", [(60, 90), (90, 41)])
@pytest.mark.parametrize("changes", [{}, {"all_mask_tokens": False}])
def test_the_coarse_logits_are_those_of_the_whole_at_a_pixel_of_each_cell(shape, changes, noise):
    model = wide_model(**changes)
    image = np.ascontiguousarray(np.resize(noise, (*shape, 3)))
    config = settings(points_per_side=3)
    (view,) = views(shape, config)
    with torch.inference_mode():
        crop = EncodedView.of(model, image, view)
        decoded = decode(model, crop, config, crop.prompts())
        coarse, whole = decoded.coarse(), decoded.logits()
    height, width = crop.embedding.shared.layout.used_hw
    whole = whole.view(*coarse.shape[:2], *whole.shape[-2:])
    wanted = whole[:, :, 1 : 4 * height : 4, 1 : 4 * width : 4].flatten(2)
    assert coarse.shape == wanted.shape
    assert (coarse - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("changes", [{}, {"crop_n_layers": 1}, {"stability_score_thresh": 0.8}])
def test_what_is_drawn_is_some_of_all_candidates_bit_for_bit_and_in_their_order(
    changes, nano, scene
):
    config = GenerationConfig(points_per_side=12, **changes)
    every = keys(propose(nano, scene, config))
    some = candidates_for(nano, scene, dataclasses.replace(config, **COARSE))
    found = keys(some)
    assert 0 < len(found) < len(every)
    assert [key for key in every if key in set(found)] == found


def test_each_object_is_among_what_is_drawn(nano, scene):
    config = GenerationConfig(points_per_side=16, **nano.settings)
    task = Everything(config)
    wanted = task.found(nano, scene, Job("scene", ())).masks
    quick = Everything(dataclasses.replace(config, **COARSE))
    found = {mask.rle["counts"] for mask in quick.found(nano, scene, Job("scene", ())).masks}
    assert len(wanted) > 2
    assert sum(mask.rle["counts"] in found for mask in wanted) >= len(wanted) - 1


@pytest.mark.parametrize("points_per_batch", [1, 17, 1000])
def test_points_per_batch_and_threads_change_nothing(points_per_batch, nano, scene):
    config = GenerationConfig(points_per_side=12, **COARSE)
    wanted = candidates_for(nano, scene, config)
    config = dataclasses.replace(config, points_per_batch=points_per_batch)
    found = candidates_for(nano, scene, config)
    assert_identical(found, dataclasses.replace(wanted, proposed_with=config))


def test_candidates_that_are_kept_are_all(nano, scene):
    config = GenerationConfig(points_per_side=8, **COARSE)
    plain = dataclasses.replace(config, coarse_nms_thresh=1)
    assert_identical(propose(nano, scene, config), propose(nano, scene, plain))
    found = Everything(config, floors=(0.7, 0.8)).found(nano, scene, Job("scene", ()))
    wanted = Everything(plain, floors=(0.7, 0.8)).found(nano, scene, Job("scene", ()))
    assert found.masks == wanted.masks
    assert found.candidates.proposed_with.coarse_nms_thresh == 1


def test_where_there_is_nothing_nothing_is_found(nano):
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    config = GenerationConfig(points_per_side=4, pred_iou_thresh=5, **COARSE)
    assert len(candidates_for(nano, image, config)) == 0


def test_masks_that_are_refined_are_all_drawn(noise):
    model, config = wide_model(), settings(points_per_side=2, use_m2m=True)
    wanted = propose(model, noise, config)
    found = candidates_for(model, noise, dataclasses.replace(config, **COARSE))
    assert keys(found) == keys(wanted)


def brute_force(inside, thresh):
    """Clusters as NMS would have them, mask by mask."""
    clusters, firsts = [], []
    for i, mask in enumerate(inside):
        first = i
        if mask.sum() >= FEWEST_CELLS:
            for j in firsts:
                other = inside[j]
                if (mask & other).sum() / (mask | other).sum() > thresh:
                    first = j
                    break
            if first == i:
                firsts.append(i)
        clusters.append(first)
    return clusters


@pytest.mark.parametrize("at_a_time", [7, 1024])
@pytest.mark.parametrize("thresh", [0.0, 0.5, 0.9])
def test_clusters_are_those_of_nms_whatever_is_compared_together(at_a_time, thresh, monkeypatch):
    monkeypatch.setattr("amg_cli.generation.coarse_nms.AT_A_TIME", at_a_time)
    draw = np.random.default_rng(5)
    kinds = draw.random((6, 80)) < draw.random((6, 1))
    inside = kinds[draw.integers(0, 6, 60)] ^ (draw.random((60, 80)) < 0.04)
    found = clusters_of(torch.from_numpy(inside), thresh).tolist()
    assert found == brute_force(inside, thresh)
    assert thresh == 0.0 or 1 < len(set(found)) < 60
    assert clusters_of(torch.zeros(0, 80, dtype=torch.bool), thresh).tolist() == []


def test_the_best_of_a_cluster_are_drawn_then_others_where_none_stays(nano, scene, monkeypatch):
    drawn = []
    module = "amg_cli.generation.coarse_nms"

    def none_stays(model, crop, config, chosen):
        drawn.append(chosen)
        found = candidates_for(model, np.zeros((9, 9, 3), np.uint8), nothing)
        return found, keys_of(chosen)[:0]

    nothing = GenerationConfig(points_per_side=1, pred_iou_thresh=9)
    monkeypatch.setattr(f"{module}._drawn", none_stays)
    config = GenerationConfig(points_per_side=16, stability_score_thresh=0.9, **COARSE)
    (view,) = views(scene.shape[:2], config)
    with torch.inference_mode():
        propose_best(nano, EncodedView.of(nano, scene, view), config)
    first, second = drawn
    assert len(second.prompt)
    assert not set(keys_of(first).tolist()) & set(keys_of(second).tolist())
    clusters = clusters_of(first.inside, 0.9)
    assert torch.bincount(clusters).max() == BEST_OF_A_CLUSTER
    assert second.may_be_stable(0.9, NEARLY_STABLE).all()
    assert (first.pred_iou.diff() <= 0).all()


def test_the_command_takes_it_and_edges_do_not(tmp_path):
    save(tmp_path / "in/a.png", np.full((20, 30, 3), 90, np.uint8))
    run = ["--input", "in", "--output", "out", *SMALL_MODEL, *FEW_POINTS]
    given = ["--coarse-nms-thresh", "0.9"]
    assert amg(*run, *given, cwd=tmp_path).returncode == 0
    said = amg("edges", *run, *given, cwd=tmp_path)
    assert said.returncode == 2
    assert "No such option" in said.stderr
