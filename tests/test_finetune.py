"""The example that fine-tunes a decoder: its loss falls, and what it saves loads."""

import re
import subprocess
import sys

import pytest

from amg_cli import load_model
from tests.conftest import REPOSITORY, shared

pytestmark = pytest.mark.slow


def test_the_loss_falls_and_the_weights_load(tmp_path):
    data = shared("data/coco_dev")
    command = [sys.executable, REPOSITORY / "examples/finetune.py", "--images", data / "images"]
    command += ["--annotations", data / "instances.json", "--output", tmp_path / "mine.pt"]
    command += ["--limit", "3", "--epochs", "6"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert len(losses) == 7
    assert losses[-1] < 0.95 * losses[0]
    assert load_model(tmp_path / "mine.pt", device="cpu").name == "nano"
