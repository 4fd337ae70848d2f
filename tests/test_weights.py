"""Checkpoints people hold: recognised, loaded strictly, or refused with the reason."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from amg_cli import load_model
from amg_cli.cli.main import main
from amg_cli.core.errors import ConfigError, DeviceError, WeightsError
from amg_cli.models.devices import find_device
from amg_cli.models.sam import Sam
from amg_cli.weights.zoo import ZOO


def saved(state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    return path


@pytest.fixture
def state(random_vit_t):
    return dict(random_vit_t.state_dict())


def refusal(path, **arguments):
    with pytest.raises(WeightsError) as caught:
        load_model(path, device="cpu", **arguments)
    assert caught.value.exit_code == 1
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(path), "FILE")


def test_the_architecture_is_read_from_the_keys(random_checkpoint, random_vit_t):
    model = load_model(random_checkpoint, device="cpu")
    assert model.config == ZOO["vit_t"].config
    assert not model.training
    loaded = model.state_dict()
    for key, tensor in random_vit_t.state_dict().items():
        if not key.startswith("image_encoder."):
            assert torch.equal(loaded[key], tensor), key
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = random_vit_t.encode(image).features
        torch.testing.assert_close(model.encode(image).features, wanted, rtol=0, atol=1e-4)


def test_a_model_type_that_agrees_is_accepted(random_checkpoint):
    assert load_model(random_checkpoint, model_type="vit_t", device="cpu")


def test_the_classifier_in_the_official_file_is_passed_over(state, tmp_path):
    state["image_encoder.head.weight"] = torch.zeros(1000, 320)
    state["image_encoder.norm_head.bias"] = torch.zeros(320)
    assert load_model(saved(state, tmp_path), device="cpu")


def test_a_path_is_a_file_even_where_it_has_a_models_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(Path("vit_b")) == "FILE: No such file or directory; check `checkpoint`"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_tilde_is_the_users_folder(random_checkpoint, tmp_path, monkeypatch, kind):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(random_checkpoint.parent))
    monkeypatch.chdir(tmp_path)
    assert load_model(kind(f"~/{random_checkpoint.name}"), device="cpu")
    assert refusal(kind("~no_such_user/a.pt")).startswith("FILE: No such file")


@pytest.mark.parametrize("given", [5, {}, b"a.pt", torch.zeros(3)])
def test_what_is_neither_a_path_nor_a_name_is_named(given):
    wanted = r"^name_or_path: the path of a checkpoint or a model's name is wanted, not "
    with pytest.raises(TypeError, match=wanted):
        load_model(given)


def test_a_device_may_be_torchs_and_an_image_size_numpys(random_checkpoint):
    model = load_model(random_checkpoint, device=torch.device("cpu"), image_size=np.int64(512))
    assert model.device == torch.device("cpu")
    assert [type(side) for side in model.config.input_size] == [int, int]


@pytest.mark.parametrize("size", [512.0, True, "512"])
def test_an_image_size_that_is_no_whole_number_is_refused(random_checkpoint, size):
    with pytest.raises(ConfigError, match=f"^image size: {size!r} is not a whole number$"):
        load_model(random_checkpoint, device="cpu", image_size=size)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_stated_sizes_fit_the_architectures(name):
    with torch.device("meta"):
        state = Sam(ZOO[name].config).state_dict()
    archive_bytes = ZOO[name].size_bytes - 4 * sum(tensor.numel() for tensor in state.values())
    assert 310 < archive_bytes / len(state) < 322  # what torch.save adds to each tensor


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "none.pt") == ("FILE: No such file or directory; check `checkpoint`")


def test_a_folder_is_no_checkpoint(tmp_path):
    assert refusal(tmp_path) == "FILE: Is a directory; check `checkpoint`"


def test_a_known_name_is_found_in_the_cache(random_checkpoint, tmp_path, monkeypatch):
    data = random_checkpoint.read_bytes()
    known = dataclasses.replace(ZOO["vit_t"], size_bytes=len(data))
    monkeypatch.setitem(ZOO, "vit_t", known)
    monkeypatch.setenv("AMG_CACHE", str(tmp_path))
    (tmp_path / "mobile_sam.pt").write_bytes(data)
    assert load_model("mobile_sam", device="cpu", offline=True).config == known.config


def test_a_known_name_that_is_not_here_says_where_to_get_it_when_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_model("vit_b", device="cpu", offline=True)
    assert str(caught.value) == (
        f"{tmp_path}/sam_vit_b_01ec64.pth: not there, and not downloaded when offline; get it at "
        "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth and save it there, "
        "or give it with `checkpoint`"
    )


def test_a_contradiction_names_both_models(random_checkpoint):
    assert refusal(random_checkpoint, model_type="default") == (
        "FILE: holds vit_t, but vit_h was asked for; "
        "give vit_h weights, or leave the model type out"
    )


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80\x02}q\x00.", bytes(range(256)) * 50])
def test_a_file_of_another_kind_is_no_checkpoint(data, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(data)
    assert "not a" in refusal(path)
    assert "checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_named_as_such(share, random_checkpoint, tmp_path):
    data = random_checkpoint.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: int(len(data) * share)])
    cut = int(len(data) * share)
    assert refusal(path) == f"FILE: cut off after {cut} bytes; download it again"


def test_objects_that_could_run_code_are_not_loaded(tmp_path):
    class Exploit:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = saved({"weight": Exploit()}, tmp_path)
    assert "could run code" in refusal(path)
    legacy = tmp_path / "legacy.pt"
    legacy.write_bytes(pickle.dumps(Exploit()))
    refusal(legacy)
    assert not (tmp_path / "ran").exists()


def test_another_architecture_is_told_from_the_nearest_known(state, tmp_path):
    state["mask_decoder.extra"] = torch.zeros(1)
    del state["prompt_encoder.no_mask_embed.weight"]
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 128)
    line = refusal(saved(state, tmp_path))
    assert "holds no architecture amg knows; nearest is vit_t" in line
    assert "mask_decoder.iou_token.weight is (1, 128), not (1, 256)" in line
    assert "prompt_encoder.no_mask_embed.weight is missing" in line
    assert "mask_decoder.extra is foreign" in line


def test_values_that_are_no_tensors_are_refused(tmp_path):
    assert "not a checkpoint of tensors by name" in refusal(saved({"epoch": 3}, tmp_path))
    assert "not a checkpoint of tensors by name" in refusal(saved([1, 2], tmp_path))


def test_an_unknown_model_type_is_a_usage_error(random_checkpoint):
    with pytest.raises(ConfigError, match="vit_x is not known") as caught:
        load_model(random_checkpoint, model_type="vit_x")
    assert caught.value.exit_code == 2


def test_devices_are_found_by_name():
    assert find_device("cpu") == torch.device("cpu")
    best = "mps" if torch.backends.mps.is_available() else "cpu"
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else best)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "cuda:99", ""])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(DeviceError) as caught:
        find_device(name)
    assert str(caught.value).startswith(f"device {name}: ")


def test_the_doctor_says_what_of_each_model_was_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path))
    lines = CliRunner().invoke(main, ["doctor"]).output.splitlines()
    of_model = {line.split()[0]: line for line in lines}
    for name, row in ZOO.items():
        assert row.held_against
        assert of_model[name].endswith(f"; network held against: {row.held_against}")
        assert ("file: not verified" in of_model[name]) == (not row.can_be_checked)
