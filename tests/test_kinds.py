"""A new kind of model is its file and a row; rows of one architecture are told apart."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amg_cli import generate, load_model
from amg_cli.core.errors import WeightsError
from amg_cli.models import sam
from amg_cli.models.configs import SamConfig
from amg_cli.models.sam import Sam
from amg_cli.weights.cache import sha256_of
from amg_cli.weights.zoo import ZOO, KnownModel
from tests.conftest import TINY, with_seeded_weights
from tests.stand_ins import settings

# A third kind, as its own files would have it.


@dataclass(frozen=True)
class PatchesConfig:
    kind: str = "patches"
    stride: int = 8
    side_multiple: int = 8
    first_conv: str = "image_encoder.coarse"


@dataclass(frozen=True)
class DotConfig:
    kind: str = "dot"
    nb_masks: int = 2


class Patches(nn.Module):
    """A projection of patches, and of quarter patches as a finer level."""

    in_16_bits = False

    def __init__(self, config, embed_dim):
        super().__init__()
        self.coarse = nn.Conv2d(3, embed_dim, config.stride, config.stride)
        self.fine = nn.Conv2d(3, embed_dim, config.stride // 4, config.stride // 4)

    def fold(self):
        pass

    def forward(self, image):
        return self.coarse(image), self.fine(image)


class Dot(nn.Module):
    """Masks are products of a prompt's token with the finer level, shifted by the coarse one."""

    def __init__(self, config, embed_dim):
        super().__init__()
        self.masks = nn.Linear(embed_dim, config.nb_masks * embed_dim)
        self.score = nn.Linear(embed_dim, config.nb_masks)

    def prepare(self, embedding, used_hw, modes):
        return embedding.features.mean()

    def forward(self, embedding, tokens, cells, multimask, over=None):
        assert cells is None
        token = tokens.mean(dim=1)
        kernels = self.masks(token).unflatten(1, (self.score.out_features, -1))
        return DotDecoded(self.score(token).sigmoid(), kernels, embedding)


@dataclass(frozen=True)
class DotDecoded:
    scores: torch.Tensor
    kernels: torch.Tensor
    embedding: object

    def logits(self, keep=None):
        coarse, fine = self.embedding.levels
        image = fine + F.interpolate(coarse, scale_factor=4.0) - self.embedding.shared
        drawn = torch.einsum("nmc,chw->nmhw", self.kernels, image[0])
        return drawn.flatten(0, 1) if keep is None else drawn[keep]


TOY = SamConfig(
    encoder=PatchesConfig(),
    decoder=DotConfig(),
    input_size=(64, 64),
    embed_dim=16,
    mask_hidden_dim=8,
    fixed_input_size=False,
)


@pytest.fixture
def toy(monkeypatch):
    """Its rows: in the dicts of kinds, and in the table of known models."""
    monkeypatch.setitem(sam.ENCODERS, "patches", Patches)
    monkeypatch.setitem(sam.DECODERS, "dot", Dot)
    monkeypatch.setitem(ZOO, "toy", KnownModel("toy", TOY, "https://host/toy.pt", 1, "", "none"))
    return with_seeded_weights(Sam(TOY))


def test_a_third_kind_generates_masks_and_nothing_else_is_touched(toy, noise):
    masks = generate(noise, toy, settings(points_per_side=3, crop_n_layers=1))
    assert masks
    for mask in masks:
        assert mask.array().shape == noise.shape[:2]
        assert mask.area_px == mask.array().sum() > 0
    fewer = generate(noise, toy, settings(points_per_side=3, pred_iou_thresh=0.5))
    assert {mask.pred_iou > 0.5 for mask in fewer} == {True}


def test_a_third_kind_is_loaded_by_its_keys(toy, noise, tmp_path):
    torch.save(toy.state_dict(), tmp_path / "any.pt")
    loaded = load_model(tmp_path / "any.pt", device="cpu")
    assert (loaded.name, loaded.config) == ("toy", TOY)
    config = settings(points_per_side=2)
    assert generate(noise, loaded, config) == generate(noise, toy, config)


# Rows of one architecture


@pytest.fixture
def twins(monkeypatch, tmp_path):
    """Two models of one architecture: a release, and a fine-tune of it. -> the file of each"""
    files = {}
    for name in ("release", "tuned"):
        model = with_seeded_weights(Sam(TINY))
        with torch.no_grad():
            model.mask_decoder.iou_token.weight += len(name)
        files[name] = tmp_path / f"{name}.pt"
        torch.save(model.state_dict(), files[name])
        size, sha256 = files[name].stat().st_size, sha256_of(files[name])
        row = KnownModel(name, TINY, f"https://host/{name}.pt", size, sha256, "none")
        monkeypatch.setitem(ZOO, name, row)
    return files


@pytest.mark.parametrize("name", ["release", "tuned"])
def test_the_row_that_was_asked_for_is_carried_through(name, twins):
    for file in twins.values():
        assert load_model(file, model_type=name, device="cpu").name == name


@pytest.mark.parametrize("name", ["release", "tuned"])
def test_without_a_name_the_file_is_known_by_its_own(name, twins):
    assert load_model(twins[name], device="cpu").name == name


@pytest.mark.parametrize("name", ["release", "tuned"])
def test_a_renamed_file_is_known_by_its_hash(name, twins, tmp_path):
    renamed = twins[name].rename(tmp_path / "best.pt")
    assert load_model(renamed, device="cpu").name == name


def test_an_unknown_file_is_of_the_first_row_that_fits(twins, tmp_path):
    torch.save(with_seeded_weights(Sam(TINY)).state_dict(), tmp_path / "mine.pt")
    model = load_model(tmp_path / "mine.pt", device="cpu")
    assert (model.name, model.checkpoint) == ("release", tmp_path / "mine.pt")


def test_a_file_of_another_architecture_than_asked_for_is_refused(twins):
    with pytest.raises(WeightsError, match="holds release, but vit_t was asked for"):
        load_model(twins["tuned"], model_type="vit_t", device="cpu")
