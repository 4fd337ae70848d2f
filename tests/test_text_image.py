"""Text-image encoders: the adapter to open_clip, its loading, and encoders of a user's own.

No weights of such an encoder could be had, so that of open_clip real architectures are tested, with
seeded weights: shapes, batches, preprocessing, files, errors. What they would say of a photograph
is not.
"""

import logging
import socket
import time
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from amg_cli import NamingConfig, load_text_image_encoder, name_masks
from amg_cli.batch.reading import read_image
from amg_cli.core.errors import WeightsError
from amg_cli.formats import ndjson
from amg_cli.models.text_image import CROPS_AT_A_TIME, TEXTS_AT_A_TIME, OpenClip
from amg_cli.weights import text_image
from amg_cli.weights.text_image import EncoderSource
from tests.colour_encoder import ColourHistogram
from tests.command import SMALL_MODEL, amg
from tests.conftest import REPOSITORY

ARCHITECTURE = "ViT-S-32"  # of 224 pixels, 63 M parameters
MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.5)
NAMES = ["a cat", "a photo of a dog", "Übergrößenträger"]


class StandIn(nn.Module):
    """What is used of a model of open_clip: of a picture its mean colour, of a text its length."""

    def __init__(self, resize_mode="shortest", size=(8, 12)):
        super().__init__()
        self.visual = nn.Module()
        about = {"size": size, "mean": MEAN, "std": STD, "resize_mode": resize_mode}
        self.visual.preprocess_cfg = about
        self.logit_scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float32))
        self.weight = nn.Parameter(torch.eye(3, dtype=torch.float32))
        self.inputs, self.lengths = [], []

    def encode_image(self, pixels, normalize):
        assert normalize
        self.inputs.append(pixels)
        return nn.functional.normalize(pixels.mean(dim=(2, 3)) @ self.weight + 1, dim=1)

    def encode_text(self, tokens, normalize):
        assert normalize
        self.lengths.append(len(tokens))
        return nn.functional.normalize(tokens.float(), dim=1)


def tokens_of(names):
    return torch.tensor([[len(name), 1, 2] for name in names])


def noise_crops(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_crops_and_texts_go_to_the_model_a_batch_at_a_time():
    model = StandIn()
    encoder = OpenClip(model, tokens_of)
    crops = noise_crops([(4, 5)] * (2 * CROPS_AT_A_TIME + 3))
    vectors = encoder.crops(crops)
    assert [len(batch) for batch in model.inputs] == [CROPS_AT_A_TIME, CROPS_AT_A_TIME, 3]
    assert vectors.shape == (len(crops), 3)
    assert vectors.dtype == np.float32
    for i in (0, 40, len(crops) - 1):
        np.testing.assert_allclose(encoder.crops(crops[i : i + 1])[0], vectors[i], atol=1e-6)
    names = ["x" * i for i in range(TEXTS_AT_A_TIME + 1)]
    assert encoder.texts(names).shape == (TEXTS_AT_A_TIME + 1, 3)
    assert model.lengths == [TEXTS_AT_A_TIME, 1]
    assert encoder.scale == pytest.approx(np.exp(2))


@pytest.mark.parametrize(
    ("crop_hw", "covered"),
    [
        ((8, 12), (slice(0, 8), slice(0, 12))),
        ((16, 24), (slice(0, 8), slice(0, 12))),
        ((40, 10), (slice(0, 8), slice(5, 7))),
        ((500, 1), (slice(0, 8), slice(5, 6))),
        ((1, 100), (slice(3, 4), slice(0, 12))),
    ],
)
def test_a_crop_lies_whole_in_the_middle_of_the_input(crop_hw, covered):
    """Beside it is the mean colour, which is 0 when normalised."""
    model = StandIn()
    crop = np.full((*crop_hw, 3), (255, 102, 0), np.uint8)
    OpenClip(model, tokens_of).crops([crop])
    (found,) = model.inputs[0].numpy()
    wanted = np.zeros((3, 8, 12), np.float32)
    colour = (np.array([1, 0.4, 0]) - MEAN) / STD
    wanted[:, covered[0], covered[1]] = colour[:, None, None]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_model_that_was_trained_on_stretched_pictures_gets_them():
    model = StandIn("squash", size=8)
    OpenClip(model, tokens_of).crops([np.full((40, 10, 3), 255, np.uint8)])
    (found,) = model.inputs[0].numpy()
    assert found.shape == (3, 8, 8)
    assert (found == found[:, :1, :1]).all()


def test_what_the_caller_has_set_of_torch_does_not_change_the_vectors():
    encoder = OpenClip(StandIn(), tokens_of)
    crops = noise_crops([(5, 9), (30, 20)])
    wanted = encoder.crops(crops)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.crops(crops)
    np.testing.assert_array_equal(found, wanted)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(encoder.crops(crops), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_model_is_no_longer_trained():
    model = StandIn()
    encoder = OpenClip(model.train(), tokens_of)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert encoder.to(torch.device("cpu")) is encoder


# Without open_clip.


def test_a_missing_library_is_one_line_with_what_brings_it(monkeypatch):
    monkeypatch.setattr(text_image, "find_spec", lambda name: None)
    line = "text-image encoder ViT-B-32: needs open_clip; pip install 'amg-cli[text]'"
    for use in (load_text_image_encoder, EncoderSource().check):
        with pytest.raises(WeightsError) as caught:
            use()
        assert str(caught.value) == line


def test_a_library_that_does_not_load_is_one_line_too(monkeypatch):
    """As where torchvision was made for another torch."""
    real = text_image.import_module

    def broken(name):
        if name == "open_clip":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name)

    monkeypatch.setattr(text_image, "find_spec", lambda name: name == "open_clip" or None)
    monkeypatch.setattr(text_image, "import_module", broken)
    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder()
    assert str(caught.value) == (
        "text-image encoder ViT-B-32: open_clip does not load: operator torchvision::nms does not "
        "exist; pip install 'amg-cli[text]', and the torchvision that is made for this torch"
    )


def test_an_encoder_of_ones_own_is_what_its_factory_gives():
    encoder = load_text_image_encoder("tests.colour_encoder:encoder", offline=True)
    assert isinstance(encoder, ColourHistogram)


@pytest.mark.parametrize(
    ("name", "weights", "line"),
    [
        (
            "nowhere:x",
            None,
            "nowhere:x: No module named 'nowhere'; give MODUL",
        ),
        ("tests.colour_encoder:none", None, "tests.colour_encoder:none: module 'tests.colour_enco"),
        (
            "tests.colour_encoder:nothing",
            None,
            "tests.colour_encoder:nothing: gives object, which has no texts, no crops, no scale",
        ),
        ("tests.colour_encoder:encoder", "x.pt", "tests.colour_encoder:encoder: is an encoder of"),
    ],
)
def test_what_is_no_encoder_of_ones_own_is_refused(name, weights, line):
    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder(name, weights)
    assert str(caught.value).startswith(line)


def test_what_tells_encoders_apart_is_recorded(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for source, wanted in (
        (EncoderSource(), ("ViT-B-32", "laion2b_s34b_b79k")),
        (EncoderSource("RN50", "openai"), ("RN50", "openai")),
        (EncoderSource("RN50", str(weights)), ("RN50", sha256)),
        (EncoderSource("mine:encoder"), ("mine:encoder", None)),
    ):
        assert tuple(source.recorded().values()) == wanted


# With it.


@pytest.fixture(scope="module")
def open_clip():
    """The library; a test without it is skipped, with the reason."""
    if find_spec("open_clip") is None:
        pytest.skip("needs open_clip: pip install 'amg-cli[text]'")
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"open_clip does not load here: {error}")
    return open_clip


@pytest.fixture(scope="module")
def seeded(open_clip):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return open_clip.create_model(ARCHITECTURE)


@pytest.fixture(scope="module")
def encoder(open_clip, seeded):
    return OpenClip(seeded, open_clip.get_tokenizer(ARCHITECTURE))


@pytest.fixture
def weights(seeded, tmp_path):
    path = tmp_path / "seeded.pt"
    torch.save(seeded.state_dict(), path)
    return path


def test_real_vectors_are_unit_vectors_of_one_length(encoder):
    texts = encoder.texts(NAMES)
    crops = encoder.crops(noise_crops([(10, 500), (300, 200), (1, 1)]))
    assert texts.shape == crops.shape == (3, 384)
    assert texts.dtype == crops.dtype == np.float32
    for vectors in (texts, crops):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.abs(vectors @ vectors.T - 1)[~np.eye(3, dtype=bool)].min() > 1e-4


def test_real_vectors_do_not_depend_on_the_batch_but_for_rounding(encoder):
    crops = noise_crops([(224, 224), (50, 30), (7, 90)] * 12)
    assert len(crops) > CROPS_AT_A_TIME
    together = encoder.crops(crops)
    np.testing.assert_array_equal(encoder.crops(crops), together)
    backwards = encoder.crops(crops[::-1])[::-1]
    alone = np.concatenate([encoder.crops([crop]) for crop in crops[:6]])
    np.testing.assert_allclose(backwards, together, atol=1e-5)
    np.testing.assert_allclose(alone, together[:6], atol=1e-5)
    names = [f"a photo of {i} things" for i in range(5)]
    one_by_one = np.concatenate([encoder.texts([name]) for name in names])
    np.testing.assert_allclose(encoder.texts(names), one_by_one, atol=1e-5)


def test_a_crop_of_the_inputs_size_is_what_open_clips_own_preprocessing_makes_of_it(
    open_clip, seeded, encoder
):
    from PIL import Image

    (crop,) = noise_crops([(224, 224)])
    preprocess = open_clip.image_transform(224, is_train=False)
    wanted = preprocess(Image.fromarray(crop))
    np.testing.assert_allclose(encoder._input(crop), wanted.numpy(), atol=1e-6)
    with torch.inference_mode():
        vectors = seeded.encode_image(wanted[None], normalize=True)
    np.testing.assert_allclose(encoder.crops([crop]), vectors.numpy(), atol=1e-6)


def test_weights_of_a_file_give_the_same_vectors(encoder, weights):
    loaded = load_text_image_encoder(ARCHITECTURE, weights, device="cpu", offline=True)
    np.testing.assert_array_equal(loaded.texts(NAMES), encoder.texts(NAMES))
    crops = noise_crops([(60, 40)])
    np.testing.assert_array_equal(loaded.crops(crops), encoder.crops(crops))
    assert loaded.scale == encoder.scale


def test_weights_that_are_damaged_or_of_another_architecture_are_one_line(open_clip, weights):
    weights.write_bytes(weights.read_bytes()[:100_000])
    text = weights.with_name("text.pt")
    text.write_text("no weights")
    fake = weights.with_name("fake.safetensors")
    fake.write_bytes(b"\x00" * 40)
    for path in (weights, text, fake):
        with pytest.raises(WeightsError) as caught:
            load_text_image_encoder(ARCHITECTURE, path, device="cpu")
        line = str(caught.value)
        assert line.startswith(f"text-image encoder {ARCHITECTURE}: cannot be made of {path}: ")
        assert line.endswith("; give `text_weights` of this architecture, whole ones")
        assert "\n" not in line


def test_weights_of_another_architecture_are_refused(weights):
    with pytest.raises(WeightsError, match=r"^text-image encoder ViT-M-32: cannot be made of"):
        load_text_image_encoder("ViT-M-32", weights, device="cpu")


def test_unknown_architectures_and_tags_say_what_there_is(open_clip):
    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder("ViT-B-23", offline=True)
    assert str(caught.value) == (
        "text-image encoder ViT-B-23: open_clip has no such architecture; near are ViT-B-32, "
        "ViT-S-32, ViT-M-32; python -c 'import open_clip; print(*open_clip.list_models())' lists "
        "them"
    )
    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder("RN101", "laion", offline=True)
    assert str(caught.value) == (
        "text-image encoder RN101: laion is no file, and none of its weights; give `text_weights` "
        "a file, or one of openai, yfcc15m"
    )
    with pytest.raises(WeightsError, match=r"RN101: has no usual weights; .* one of openai, yfcc"):
        load_text_image_encoder("RN101")


@pytest.fixture
def empty_cache(open_clip, monkeypatch, tmp_path):
    """A cache with nothing in it, and a network that must not be looked for: -> what was."""
    from huggingface_hub import constants

    asked = []

    def refuse(*address, **_):
        asked.append(address)
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


def test_offline_nothing_is_connected_to(empty_cache, capfd):
    from huggingface_hub import constants

    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder(offline=True)
    assert str(caught.value) == (
        "weights laion2b_s34b_b79k of text-image encoder ViT-B-32: not in the cache, and not "
        "downloaded when offline; run once without `offline`, or give `text_weights` a file"
    )
    assert empty_cache == []
    assert constants.HF_HUB_OFFLINE is False  # as it was
    assert capfd.readouterr().err == ""


def test_a_download_that_fails_is_one_line_with_its_cause(empty_cache, monkeypatch, capfd):
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    log = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(log, "handlers", [*log.handlers, handler])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(WeightsError) as caught:
        load_text_image_encoder()
    assert str(caught.value) == (
        "weights laion2b_s34b_b79k of text-image encoder ViT-B-32: cannot be downloaded: [Errno "
        "-2] Name or service not known; run again with a network, or give `text_weights` a file"
    )
    assert empty_cache  # so that the test of offline could have seen it
    assert (said, capfd.readouterr().err) == ([], "")


@pytest.mark.parametrize(("tag", "is_quick"), [("openai", True), ("cc12m", True), ("none", False)])
def test_the_activation_is_that_of_the_weights(open_clip, monkeypatch, tmp_path, tag, is_quick):
    """Some tags are of weights that were trained with another than their architecture has."""
    path = tmp_path / "weights.pt"
    torch.save(open_clip.create_model("RN50").state_dict(), path)
    factory = open_clip.factory
    for module in (open_clip, factory):
        monkeypatch.setattr(module, "download_pretrained", lambda *_, **__: str(path))
    given = path if tag == "none" else tag
    loaded = load_text_image_encoder("RN50", given, device="cpu", offline=True)
    kinds = {type(module).__name__ for module in loaded._model.transformer.modules()}
    assert ("QuickGELU" in kinds) is is_quick


def test_the_command_says_so_in_one_line_too(open_clip, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    photos = REPOSITORY / "examples/images"
    given = ["--input", photos, "--output", "out", "--format", "coco", "--classes", "cat,cup"]
    result = amg(*given, "--offline", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        1,
        "amg: weights laion2b_s34b_b79k of text-image encoder ViT-B-32: not in the cache, and not "
        "downloaded when offline; run once without --offline, or give --text-weights a file\n",
    )


def test_seeded_weights_name_the_masks_of_a_run(encoder, weights, tmp_path):
    photos = REPOSITORY / "examples/images"
    asked = ["--classes", "cat,cup", "--text-encoder", ARCHITECTURE, "--text-weights", weights]
    given = ["--input", photos, "--output", "out", "--format", "ndjson", "--points-per-side", "4"]
    result = amg(*given, *asked, "--workers", "2", *SMALL_MODEL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    naming = NamingConfig(classes=("cat", "cup"))
    for found in ndjson.read(tmp_path / "out/masks.ndjson"):
        wanted = name_masks(read_image(photos / found.file_name), found.masks, encoder, naming)
        assert found.masks
        for mask, other in zip(found.masks, wanted, strict=True):
            assert mask.category_score == pytest.approx(other.category_score, abs=1e-4)
            assert mask.category == other.category
