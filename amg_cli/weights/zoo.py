"""The table of known models: one row each. No network access here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from amg_cli.core.errors import ConfigError
from amg_cli.models.configs import (
    FineTwoWayConfig,
    HieraConfig,
    HqTwoWayConfig,
    SamConfig,
    TinyVitConfig,
    TwoWayConfig,
    VitConfig,
)


@dataclass(frozen=True)
class KnownModel:
    """One published model.

    name:       what `--model-type` calls it
    config:     its architecture
    url:        where its authors publish the checkpoint; None for one that comes with this package
    size_bytes, sha256: of that file; 0 and "" where no two public sources agree on them
    licence:    of the weights
    settings:   of `GenerationConfig`, by name, those whose default is another for it
    refines_boxes: whether a second prompt, by the mask found, betters the masks of boxes
    held_against: the published code whose answers its network has in the tests, and how
    """

    name: str
    config: SamConfig
    url: str | None
    size_bytes: int
    sha256: str
    licence: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    refines_boxes: bool = True
    held_against: str = ""

    @property
    def filename(self) -> str:
        """The file's own name, which it also has in the cache."""
        return f"{self.name}.pt" if self.url is None else self.url.rpartition("/")[2]

    @property
    def can_be_checked(self) -> bool:
        """Whether it is known what the file must be; no other is downloaded."""
        return self.size_bytes > 0 and self.sha256 != ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its other names."""
        return tuple(alias for alias, name in ALIASES.items() if name == self.name)


# MobileSAM at half its input, unpadded, with small MLPs in its decoder, which are half its weights,
# with five tokens for a point where it has seven, as each costs a seventh of the time, and with an
# image that attends to the tokens once, as all that is done with it later costs half as much then.
NANO = SamConfig(
    decoder=TwoWayConfig(mlp_channels=256, all_mask_tokens=False, last_block_updates_image=False),
    input_size=(512, 512),
    fixed_input_size=False,
    pad_points=False,
)

_FACEBOOK = "https://dl.fbaipublicfiles.com/segment_anything"

_SAM = "segment-anything 1.0, seeded weights"

_VIT_B = VitConfig()
_VIT_L = VitConfig(embed_dim=1024, nb_blocks=24, nb_heads=16, global_blocks=(5, 11, 17, 23))
_VIT_H = VitConfig(embed_dim=1280, nb_blocks=32, nb_heads=16, global_blocks=(7, 15, 23, 31))


def _sam2(encoder: HieraConfig) -> SamConfig:
    """SAM 2, or 2.1, whose image parts are of one architecture."""
    return SamConfig(
        encoder=encoder,
        decoder=FineTwoWayConfig(),
        stretched=True,
        pad_boxes=True,
        logit_bound=32.0,
    )


_HIERA_T, _HIERA_S, _HIERA_L = (
    HieraConfig(
        embed_dim=96,
        nb_heads=1,
        depths=(1, 2, 7, 2),
        global_blocks=(5, 7, 9),
        position_hw=(7, 7),
    ),
    HieraConfig(
        embed_dim=96,
        nb_heads=1,
        depths=(1, 2, 11, 2),
        global_blocks=(7, 10, 13),
        position_hw=(7, 7),
    ),
    HieraConfig(
        embed_dim=144,
        nb_heads=2,
        depths=(2, 6, 36, 4),
        window_sizes=(8, 4, 16, 8),
        global_blocks=(23, 33, 43),
        position_hw=(7, 7),
    ),
)
# Name, encoder, file, bytes and SHA-256.
_SAM2_FILES = (
    (
        "sam2.1_t", _HIERA_T, "092824/sam2.1_hiera_tiny.pt", 156008466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    (
        "sam2.1_s", _HIERA_S, "092824/sam2.1_hiera_small.pt", 184416285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    (
        "sam2.1_b+", HieraConfig(), "092824/sam2.1_hiera_base_plus.pt", 323606802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    (
        "sam2.1_l", _HIERA_L, "092824/sam2.1_hiera_large.pt", 898083611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
    (
        "sam2_t", _HIERA_T, "072824/sam2_hiera_tiny.pt", 155906050,
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    ),
    (
        "sam2_s", _HIERA_S, "072824/sam2_hiera_small.pt", 184309650,
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    ),
    (
        "sam2_b+", HieraConfig(), "072824/sam2_hiera_base_plus.pt", 323493298,
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    ),
    (
        "sam2_l", _HIERA_L, "072824/sam2_hiera_large.pt", 897952466,
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    ),
)  # fmt: skip


def _hq(encoder: VitConfig | TinyVitConfig, early_channels: int) -> SamConfig:
    """SAM-HQ: a model whose encoder gives an early level too, and whose decoder draws on it."""
    return SamConfig(
        encoder=replace(encoder, early_level=True),
        decoder=HqTwoWayConfig(early_channels=early_channels),
    )


# Name, architecture, file, bytes and SHA-256. Of the file of hq_vit_t two sources agree on the
# SHA-256, and none says its size.
_HQ_FILES = (
    ("hq_vit_b", _hq(_VIT_B, _VIT_B.embed_dim), "sam_hq_vit_b.pth", 0, ""),
    ("hq_vit_l", _hq(_VIT_L, _VIT_L.embed_dim), "sam_hq_vit_l.pth", 0, ""),
    (
        "hq_vit_h", _hq(_VIT_H, _VIT_H.embed_dim), "sam_hq_vit_h.pth", 2570940653,
        "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
    ),
    (
        "hq_vit_t", _hq(TinyVitConfig(), TinyVitConfig().embed_dims[2]), "sam_hq_vit_tiny.pth", 0,
        "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
    ),
)  # fmt: skip

ZOO = {
    row.name: row
    for row in (
        KnownModel(
            name="nano",
            config=NANO,
            url=None,
            size_bytes=15808160,
            sha256="e11f30a356d311a640106d154dfe3b67976ff69f59bf6c79df429659dcd782c4",
            licence="Apache-2.0",
            # By boxes 11 % of its masks have an IoU over .9 with a better one.
            settings={"nms": "mask", "box_nms_thresh": 0.8, "crop_nms_thresh": 0.8},
            held_against="none: it was made here",
        ),
        KnownModel(
            name="vit_b",
            config=SamConfig(encoder=_VIT_B),
            url=f"{_FACEBOOK}/sam_vit_b_01ec64.pth",
            size_bytes=375042383,
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            licence="Apache-2.0",
            held_against=_SAM,
        ),
        KnownModel(
            name="vit_l",
            config=SamConfig(encoder=_VIT_L),
            url=f"{_FACEBOOK}/sam_vit_l_0b3195.pth",
            size_bytes=1249524607,
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            licence="Apache-2.0",
            held_against=_SAM,
        ),
        KnownModel(
            name="vit_h",
            config=SamConfig(encoder=_VIT_H),
            url=f"{_FACEBOOK}/sam_vit_h_4b8939.pth",
            size_bytes=2564550879,
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            licence="Apache-2.0",
            held_against=_SAM,
        ),
        KnownModel(
            name="vit_t",
            config=SamConfig(),
            url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            size_bytes=40728226,
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            licence="Apache-2.0",
            # By a detector's boxes AP falls from .304 to .300; by true ones it rises, .512 to .521.
            refines_boxes=False,
            held_against="MobileSAM, trained weights, whole runs too",
        ),
        *(
            KnownModel(
                name=name,
                config=_sam2(encoder),
                url=f"{_FACEBOOK}_2/{file}",
                size_bytes=size_bytes,
                sha256=sha256,
                licence="Apache-2.0",
                # The default of SAM 2's own generator.
                settings={"pred_iou_thresh": 0.8},
                held_against="sam2 1.1.0, seeded weights; whole runs at a small size",
            )
            for name, encoder, file, size_bytes, sha256 in _SAM2_FILES
        ),
        *(
            KnownModel(
                name=name,
                config=config,
                url=f"https://huggingface.co/lkeab/hq-sam/resolve/main/{file}",
                size_bytes=size_bytes,
                sha256=sha256,
                licence="Apache-2.0",
                held_against="segment-anything-hq 0.3, seeded weights, all at a small size",
            )
            for name, config, file, size_bytes, sha256 in _HQ_FILES
        ),
        # A fine-tune of the architecture of vit_t. That code's own generator asks for fewer points
        # where masks are sure; here all are asked for.
        KnownModel(
            name="tinysam",
            config=SamConfig(),
            url="https://github.com/xinghaochen/TinySAM/releases/download/3.0/tinysam_42.3.pth",
            size_bytes=0,
            sha256="",
            licence="Apache-2.0",
            held_against="as vit_t; its own code was not run",
        ),
        # A fine-tune of vit_b for boxes on medical images, which it takes stretched, and scaled to
        # 0 to 1. Its own code scales by the least and the largest value of an image, not by 255,
        # resizes with cubics, and enlarges masks as probabilities.
        KnownModel(
            name="medsam",
            config=SamConfig(
                encoder=_VIT_B, stretched=True, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)
            ),
            url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
            size_bytes=0,
            sha256="",
            licence="CC-BY-4.0",
            refines_boxes=False,  # it has learnt of boxes alone, and its own code asks once
            held_against="as vit_b; its own code was not run",
        ),
    )
}

# What is taken where no model is named.
DEFAULT = "nano"

# What the field also calls them; `default` is what the reference's registry gives by that name.
ALIASES = {
    "default": "vit_h",
    "sam_vit_b": "vit_b",
    "sam_vit_l": "vit_l",
    "sam_vit_h": "vit_h",
    "mobile_sam": "vit_t",
    "mobilesam": "vit_t",
    **{f"sam_hq_vit_{size}": f"hq_vit_{size}" for size in "blh"},
    "sam_hq_vit_tiny": "hq_vit_t",
    "light_hq_sam": "hq_vit_t",
    "medsam_vit_b": "medsam",
    **{
        f"{release}_hiera_{size}": f"{release}_{letter}"
        for release in ("sam2.1", "sam2")
        for size, letter in (("tiny", "t"), ("small", "s"), ("base_plus", "b+"), ("large", "l"))
    },
}


def find_known(name: str) -> KnownModel | None:
    """The model of that name or alias, whatever its case, hyphens for underscores."""
    key = name.lower().replace("-", "_")
    return ZOO.get(ALIASES.get(key, key))


def own_settings(sha256: str | None) -> Mapping[str, Any]:
    """Of `GenerationConfig`, those that weights have of their own, which their SHA-256 names."""
    return next((row.settings for row in ZOO.values() if row.sha256 == sha256), {})


def known_model(name: str) -> KnownModel:
    """As `find_known`. Raises ConfigError, which lists those there are, for another name."""
    known = find_known(name)
    if known is None:
        raise ConfigError("model type", f"{name} is not known", f"known: {', '.join(ZOO)}")
    return known
