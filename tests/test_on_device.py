"""The way for GPUs, on a CPU, against the way for CPUs; and that nothing in it waits."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, edges, generate, segment_boxes, select
from amg_cli.core.rle import decode
from amg_cli.core.timings import collect
from amg_cli.generation import on_device
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.predict import Encoded
from amg_cli.generation.views import views
from amg_cli.models import devices
from amg_cli.models.sam import Sam
from tests.comparing import assert_same_masks
from tests.conftest import photo, shared
from tests.stand_ins import KEEP_ALL, Discs, settings, wide_model

module = import_module("amg_cli.generation.propose")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """From here on every device is taken for a GPU."""
    return lambda: monkeypatch.setattr(devices, "CPUS", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"points_per_side": 1},
        {"points_per_side": 9},  # 81 prompts: two groups, the second mostly padding
        {"points_per_side": 5, "crop_n_layers": 1},
        {"points_per_side": 9, "pred_iou_thresh": "median", "stability_score_thresh": "median"},
        {"points_per_side": 5, "min_mask_region_area": 20},
        {"points_per_side": 5, "use_m2m": True},
    ],
)
@pytest.mark.parametrize(
    "numbers", [{}, {"last_block_updates_image": False, "all_mask_tokens": False}]
)
def test_it_finds_the_masks_of_the_way_for_cpus(noise, as_on_a_gpu, changes, numbers):
    model = wide_model(**numbers)
    drawn = module.propose(model, noise, settings(points_per_side=9, box_nms_thresh=1.0))
    columns = {"pred_iou_thresh": drawn.pred_iou, "stability_score_thresh": drawn.stability_score}
    medians = {name: float(column.median()) + 1e-4 for name, column in columns.items()}
    changes = {name: medians[name] if x == "median" else x for name, x in changes.items()}
    config = settings(**changes)
    with collect() as wanted_timings:
        wanted = generate(noise, model, config)
    as_on_a_gpu()
    with collect() as timings:
        found = generate(noise, model, config)
    assert wanted
    assert_same_masks(found, wanted)
    assert timings.counts == wanted_timings.counts


@pytest.mark.parametrize("radii_px", [(12.0, 16.0, 20.0), (0.0, 30.0, 90.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("nb_layers", [0, 1])
def test_masks_that_are_empty_or_cut_go(as_on_a_gpu, radii_px, nb_layers):
    image, model = np.zeros((60, 90, 3), np.uint8), Discs(radii_px=radii_px)
    config = settings(points_per_side=4, crop_n_layers=nb_layers)
    wanted = generate(image, model, config)
    as_on_a_gpu()
    assert_same_masks(generate(image, model, config), wanted)
    assert bool(wanted) == any(radii_px)


def test_rounds_change_nothing(noise, as_on_a_gpu, monkeypatch):
    model, config = wide_model(), settings(points_per_side=9)
    as_on_a_gpu()
    whole = generate(noise, model, config)
    monkeypatch.setattr(on_device, "BATCHES_A_ROUND", 1)
    monkeypatch.setattr(on_device, "PIXELS_AT_A_TIME", 1)  # one mask at a time
    assert generate(noise, model, config) == whole


def test_only_survivors_become_rles(noise, as_on_a_gpu):
    """The boxes alone decide, so suppression comes first, and only once changes anything."""
    model, config = wide_model(), settings(points_per_side=5)
    as_on_a_gpu()
    candidates = module.candidates_for(model, noise, config)
    assert len(module.propose(model, noise, config)) > len(candidates)
    assert len(candidates) == len(generate(noise, model, config))
    assert all(decode(rle).any() for rle in candidates.rles)


@pytest.mark.parametrize("nms", ["box", "mask", "off"])
def test_what_is_selected_of_all_candidates_is_what_generate_gives(nms, noise, as_on_a_gpu):
    model, config = wide_model(), settings(points_per_side=5, crop_n_layers=1, nms=nms)
    as_on_a_gpu()
    candidates = module.propose(model, noise, config)
    assert candidates.proposed_with.nms == "off"
    assert_same_masks(select(candidates, config), generate(noise, model, config))


@pytest.mark.parametrize("use_m2m", [False, True])
@pytest.mark.parametrize("decoder", ["fast", "plain"])
def test_nothing_waits_for_the_device(decoder, use_m2m):
    """Tensors of the meta device have no values: whoever asks for one gets an error."""
    model = wide_model().to("meta")
    pixels = torch.zeros(1, 3, 64, 64, device="meta")
    with torch.inference_mode():
        embedding = model.encode(pixels)
        embedding = model.prepare(embedding) if decoder == "fast" else embedding
        config = dataclasses.replace(KEEP_ALL, points_per_side=16)
        (view,) = views((60, 90), config)
        frame = EncodedView.of(Discs(), np.zeros((60, 90, 3), np.uint8), view).frame
        again = embedding if use_m2m else None
        encoded = EncodedView(view, Encoded(frame, embedding), view.unit_grid, (60, 90), again)
        points = encoded.input_xy().to("meta")
        scores, drawn = on_device.draw(model, encoded, points, 64)
        measured = on_device.measure(torch.cat(drawn), encoded, 0.0, config)
    assert [low_res.shape for low_res in drawn] == 4 * [(192, 16, 16)]
    assert (scores.shape, measured.boxes_xyxy.shape) == ((256, 3), (768, 4))
    with pytest.raises((NotImplementedError, RuntimeError)):
        measured.boxes_xyxy.cpu()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of this kind is here")
def test_nothing_waits_on_cuda(noise):
    model, config = wide_model().to("cuda"), settings(points_per_side=16)
    (view,) = views(noise.shape[:2], config)
    encoded = EncodedView.of(model, noise, view)
    points = encoded.input_xy().to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, drawn = on_device.draw(model, encoded, points, 256)
        on_device.measure(torch.cat(drawn), encoded, 0.0, config)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.slow
@pytest.mark.weights
def test_a_photograph_gives_the_same_masks(real_model, as_on_a_gpu):
    image = photo(shared("data/samples/dog.jpg"))
    config = GenerationConfig(points_per_side=8)
    wanted = generate(image, real_model, config)
    as_on_a_gpu()
    found = generate(image, real_model, config)
    assert isinstance(real_model, Sam)
    assert len(wanted) > 10
    assert_same_masks(found, wanted)


@pytest.mark.parametrize("refine", [False, True])
def test_boxes_have_the_instances_of_the_way_for_cpus(noise, as_on_a_gpu, refine):
    model = wide_model()
    corners = np.sort(np.random.default_rng(0).uniform(0, 1, (70, 2, 2)), axis=1)
    boxes = (corners * [90, 60]).reshape(-1, 4)  # more than go at a time
    wanted = segment_boxes(noise, model, boxes, refine=refine)
    as_on_a_gpu()
    for a, b in zip(segment_boxes(noise, model, boxes, refine=refine), wanted, strict=True):
        assert (a.mask is None) == (b.mask is None)
        if a.mask is not None:
            assert np.count_nonzero(a.mask.array() != b.mask.array()) <= 2


@pytest.mark.parametrize("nb_layers", [0, 1])
def test_edges_are_those_of_the_way_for_cpus(noise, as_on_a_gpu, nb_layers):
    config = settings(points_per_side=5, crop_n_layers=nb_layers)
    wanted = edges(noise, wide_model(), config, thin=False)
    as_on_a_gpu()
    found = edges(noise, wide_model(), config, thin=False)
    assert (np.abs(found - wanted) > 1e-3).mean() < 2e-3
