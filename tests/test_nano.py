"""The model in the package: that it is whole, the default, and finds what it found."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from click.testing import CliRunner
from pycocotools import mask as coco_mask

import amg_cli
from amg_cli.cli.main import main
from amg_cli.weights.cache import cached_path, sha256_of
from amg_cli.weights.zoo import DEFAULT, ZOO
from tests.command import amg, visible
from tests.conftest import GOLDENS, REPOSITORY
from tests.goldens.make_nano import CASES, IMAGES

NANO = ZOO["nano"]
# Other processors and torch round otherwise, which moves masks that lie at a threshold: one of
# an image's masks, or a tenth of them, may be missing, and as many new.
SAME_IOU, OTHERS = 0.95, 0.1


def nb_missed(masks, others):
    """How many of `masks` have nothing like them in `others`."""
    rles = [[record["segmentation"] for record in records] for records in (masks, others)]
    iou = coco_mask.iou(*rles, [0] * len(others))
    return int((iou.max(axis=1) < SAME_IOU).sum())


def test_the_file_is_the_one_of_the_table_and_small():
    path = cached_path(NANO)
    assert path.stat().st_size == NANO.size_bytes < 16e6
    assert sha256_of(path) == NANO.sha256


def test_it_is_what_is_loaded_without_a_name():
    assert DEFAULT == "nano"
    model = amg_cli.load_model(device="cpu")
    assert model.config == NANO.config
    assert not model.config.fixed_input_size
    assert amg_cli.load_model(fixed_input_size=True, device="cpu").config.fixed_input_size
    assert sum(parameter.numel() for parameter in model.parameters()) < 8e6


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c == "crops" else c for c in CASES]
)
def test_masks_of_the_examples_are_those_recorded(case, tmp_path):
    done = amg(
        "--input",
        IMAGES,
        "--output",
        "out",
        "--convert-to-rle",
        "--device",
        "cpu",
        *CASES[case],
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    wanted = {path.name: path for path in (GOLDENS / "nano" / case).glob("*.json")}
    assert set(visible(tmp_path / "out")) == set(wanted)
    for name, path in wanted.items():
        recorded = json.loads(path.read_text())
        found = json.loads((tmp_path / "out" / name).read_text())
        assert len(recorded) >= 3
        allowed = max(1, OTHERS * len(recorded))
        assert nb_missed(recorded, found) <= allowed
        assert nb_missed(found, recorded) <= allowed


def test_one_line_names_the_model_and_a_better_one(tmp_path):
    image = IMAGES / "coffee.jpg"
    few = ("--input", image, "--points-per-side", "2")
    (tmp_path / "nano").write_text("no checkpoint, though of its name")
    done = amg(*few, "--output", "out", "--offline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "nano" in line] == [
        "amg: model nano, which comes with amg, with its own --nms mask --box-nms-thresh 0.8 "
        "--crop-nms-thresh 0.8; for better masks --model-type vit_h (2.56 GB, downloaded)"
    ]
    assert done.stdout == "out/coffee\n"
    for name, options in (
        ("quiet", ["--quiet"]),
        ("named", ["--model-type", "nano", "--nms", "box"]),
    ):
        done = amg(*few, "--output", name, *options, cwd=tmp_path)
        assert done.returncode == 0
        assert "nano" not in done.stderr


def test_amg_models_knows_it(tmp_path):
    path = str(cached_path(NANO))
    table = amg("models", cwd=tmp_path).stdout.splitlines()
    assert table[1].split()[0] == "nano"
    assert "yes" in table[1]
    assert amg("models", "path", "nano", cwd=tmp_path).stdout == f"{path}\n"
    assert amg("models", "pull", "nano", cwd=tmp_path).stdout == f"{path}\n"
    assert amg("models", "verify", "nano", cwd=tmp_path).stdout.split() == ["nano", "ok", path]


@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_an_install_without_it_says_so(state, tmp_path, monkeypatch):
    monkeypatch.setattr("amg_cli.weights.cache.PACKAGED", tmp_path)
    if state == "damaged":
        (tmp_path / "nano.pt").write_bytes(b"half of it")
    with pytest.raises(amg_cli.AmgError, match=r"nano\.pt: .*install amg-cli again"):
        amg_cli.load_model(offline=True)
    for command in (["models", "verify", "nano"], ["models", "pull", "nano"], ["doctor"]):
        done = CliRunner().invoke(main, command)
        (line,) = [text for text in done.output.splitlines() if "install amg-cli again" in text]
        assert "nano" in line
        assert done.exit_code == (0 if command == ["doctor"] else 1)


def test_another_model_is_loaded_by_its_type_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path))
    with pytest.raises(amg_cli.AmgError, match=r"sam_vit_h_4b8939\.pth: not there"):
        amg_cli.load_model(model_type="vit_h", offline=True)


def test_wheel_and_source_archive_hold_it(tmp_path):
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout, so what belongs to the project is not known")
    for name in filter(None, listed.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    build = (
        "import setuptools.build_meta as backend\n"
        "print(backend.build_wheel('built')); print(backend.build_sdist('built'))"
    )
    (source / "built").mkdir()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=source, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "built").glob("*.whl")
    (archive,) = (source / "built").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        packed = {info.filename: info.file_size for info in opened.infolist()}
    assert packed["amg_cli/weights/packaged/nano.pt"] == NANO.size_bytes
    assert "amg_cli/weights/packaged/nano.md" in packed
    for licence in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f"licenses/{licence}") for name in packed)
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert {"amg_cli/weights/packaged/nano.pt", "NOTICE", "LICENSE"} <= inside
