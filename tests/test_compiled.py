"""A compiled model gives the same masks, and compiles nothing anew for images of other sizes."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from amg_cli import generate, load_model
from amg_cli.cli.main import main
from amg_cli.core.errors import DeviceError
from amg_cli.models import devices
from amg_cli.models.compiled import compile_model
from tests.comparing import assert_same_masks
from tests.stand_ins import settings, wide_model


@pytest.mark.parametrize("padded", [pytest.param(True, marks=pytest.mark.slow), False])
def test_one_compilation_serves_images_of_all_sizes(padded, monkeypatch):
    """By torch's tracer and without its code generator, which needs a compiler.

    A model that pads no image by itself does so when it is compiled.
    """
    monkeypatch.setattr(devices, "CPUS", ())  # as on a GPU, for which this is made
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 90), (80, 33))]
    config = settings(points_per_side=3)
    plain, compiled = wide_model(), wide_model()
    compiled.config = dataclasses.replace(compiled.config, fixed_input_size=padded)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compile_model(compiled, backend=backend)
    try:
        for image in images:
            assert_same_masks(generate(image, compiled, config), generate(image, plain, config))
            assert len(graphs) == 3  # the encoder, the transformer, drawing
    finally:
        torch.compiler.reset()


def test_compiling_for_a_cpu_is_refused(random_checkpoint):
    with pytest.raises(DeviceError, match="compiling: makes it slower on a CPU; leave it out"):
        compile_model(load_model(random_checkpoint, device="cpu"))


def test_it_is_refused_before_weights_are_read(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"no checkpoint")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    given = ["--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]
    given += ["--checkpoint", str(tmp_path / "weights.pt"), "--device", "cpu", "--compile"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1
    wanted = "amg: compiling: makes it slower on a CPU; leave it out, or use a GPU\n"
    assert result.stderr == wanted
