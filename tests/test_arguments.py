"""Arguments in the wrong place or of the wrong kind: one error that names them and the remedy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import briefly
from amg_cli.generation.everything import generate
from amg_cli.generation.predict import encode_image, predict
from amg_cli.generation.prompts import Prompts
from amg_cli.models.sam import Sam
from tests.conftest import TINY, with_seeded_weights
from tests.test_propose import Discs, blank

IMAGE = blank(6, 9)
GRID = np.array([[0.25, 0.5], [0.75, 0.5]])


def refusal(kind, *arguments, **named):
    """The line of the error, which is short, and comes before the model runs."""
    model = next((given for given in arguments if isinstance(given, Discs)), Discs())
    with pytest.raises(kind) as error:
        generate(*arguments, **named)
    assert model.seen == []
    assert len(str(error.value)) < 200
    return str(error.value)


def test_a_model_in_the_images_place_is_told_the_order():
    line = refusal(TypeError, Discs(), IMAGE)
    assert line == (
        "image_rgb: a model is given, and as model ndarray (6, 9, 3) uint8; "
        "the order is generate(image_rgb, model)"
    )


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("sam.pt", "str 'sam.pt'"),
        (Path("sam.pt"), f"{type(Path()).__name__} 'sam.pt'"),
        (None, "None"),
        (Sam, "class Sam"),
        (torch.nn.Linear(2, 2), "Linear"),
        ({"weight": torch.zeros(9)}, "dict"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_no_model_is_told_how_to_load_one(model, given):
    line = refusal(TypeError, IMAGE, model)
    wanted = f"model: a loaded model is wanted, not {given}; load one: amg_cli.load_model(path)"
    assert line == wanted


@pytest.mark.parametrize("settings", [{"points_per_side": 16}, {}], ids=["some", "none"])
def test_a_dict_for_settings_is_told_how_to_make_them(settings):
    line = refusal(TypeError, IMAGE, Discs(), settings)
    assert line == (
        "config: a GenerationConfig is wanted, not dict; write GenerationConfig(**config)"
    )


@pytest.mark.parametrize("settings", [16, [GRID], GenerationConfig])
def test_what_is_no_settings_is_told_how_to_make_them(settings):
    line = refusal(TypeError, IMAGE, Discs(), settings)
    assert line.startswith("config: a GenerationConfig is wanted, not ")
    assert line.endswith("; write GenerationConfig(points_per_side=16)")


def test_none_for_the_image_is_told_where_it_comes_from():
    assert "cv2.imread gives None for a file it cannot read" in refusal(TypeError, None, Discs())


# Grids


@pytest.mark.parametrize(
    ("grids", "given"),
    [
        (GRID, "ndarray (2, 2) float64"),
        (torch.from_numpy(GRID), "Tensor (2, 2) torch.float64"),
        ("grid", "str 'grid'"),
        ({0: GRID}, "dict"),
        (5, "int 5"),
        (iter([GRID]), "list_iterator"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_no_sequence_of_grids_is_told_how_to_make_one(grids, given):
    line = refusal(TypeError, IMAGE, Discs(), point_grids=grids)
    assert line == (
        f"point_grids: a sequence of (N, 2) arrays is wanted, not {given}; "
        "one grid alone is given as point_grids=[grid]"
    )


def test_a_grid_as_plain_pairs_is_told_how_to_make_a_sequence_of_it():
    line = refusal(ValueError, IMAGE, Discs(), point_grids=GRID.tolist())
    wanted = "point_grids: each is (N, 2), not (2,); one grid alone is given as point_grids=[grid]"
    assert line == wanted


@pytest.mark.parametrize(
    "grid",
    [[[0.5, 0.5], [0.5]], [[0.5, "x"]], [[0.5, None], [0.5, {}]], "grid", [[0.5, 10**400]]],
    ids=["ragged", "text", "objects", "name", "huge"],
)
def test_a_grid_of_no_pairs_of_numbers_is_refused(grid):
    line = refusal(ValueError, IMAGE, Discs(), point_grids=[grid])
    assert line.startswith(f"point_grids: each is (N, 2), not {briefly(grid)}")
    assert line.endswith(" whose rows are not two numbers each")


@pytest.mark.parametrize("grids", [[GRID], (GRID,), GRID[None], [GRID.tolist()]])
def test_grids_may_be_a_list_a_tuple_one_array_of_all_or_lists(grids):
    found = generate(IMAGE, Discs(), GenerationConfig(pred_iou_thresh=0), point_grids=grids)
    assert {mask.point_xy for mask in found} == {(2.25, 3.0), (6.75, 3.0)}


def test_no_points_per_side_goes_with_own_grids_only():
    config = GenerationConfig(points_per_side=None)
    found = generate(IMAGE, Discs(), config, point_grids=[GRID])
    assert found == generate(IMAGE, Discs(), point_grids=[GRID])
    line = refusal(ValueError, IMAGE, Discs(), config)
    wanted = "points_per_side: is None, and there are no point_grids; give either of them"
    assert line == wanted


# Precision


@pytest.mark.parametrize("name", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("part", ["", "image_encoder", "mask_decoder"])
def test_a_model_in_another_precision_is_refused_by_name(noise, name, part):
    model = with_seeded_weights(Sam(TINY))
    encoded = encode_image(model, noise)
    model.get_submodule(part).to(getattr(torch, name))
    uses = [
        lambda: generate(noise, model),
        lambda: encode_image(model, noise),
        lambda: predict(model, encoded, Prompts([[[5, 5]]])),
    ]
    for use in uses:
        with pytest.raises(TypeError, match=rf"^model: its weights are torch\.{name}; load it ag"):
            use()
