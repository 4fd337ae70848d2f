"""Models and settings to try things on: small, or not models at all."""

import dataclasses
from dataclasses import dataclass

import torch

from amg_cli.core.config import GenerationConfig
from amg_cli.models.configs import TwoWayConfig, VitConfig
from amg_cli.models.prompt_encoder import FOREGROUND
from amg_cli.models.sam import Sam
from tests.conftest import TINY, with_seeded_weights
from tests.goldens import seeded

KEEP_ALL = GenerationConfig(pred_iou_thresh=0, stability_score_thresh=0)
SIDE_PX = TINY.input_size[0]
WIDE = {"nb_heads": 2, "mlp_channels": 24, "iou_head_hidden_dim": 16}
TINY_VIT = VitConfig(
    patch_size=seeded.TINY_VIT["patch_size"],
    grid_hw=2 * (seeded.TINY_VIT["grid_size"],),
    embed_dim=seeded.TINY_VIT["embed_dim"],
    nb_blocks=seeded.TINY_VIT["nb_blocks"],
    nb_heads=seeded.TINY_VIT["nb_heads"],
    window_size=seeded.TINY_VIT["window_size"],
    global_blocks=(seeded.TINY_VIT["global_block"],),
)


def settings(**changes):
    return dataclasses.replace(KEEP_ALL, **changes)


def wide_model(**changes):
    """A model hardly larger than the tiny one, for which doing less pays."""
    decoder = TwoWayConfig(**(WIDE | changes))
    return with_seeded_weights(Sam(dataclasses.replace(TINY, embed_dim=64, decoder=decoder)))


@dataclass
class Discs:
    """Stands for `Sam`: a point's three masks are discs around it, whatever the image.

    radii_px: of the three discs, in pixels of the model's input; 0 draws nothing
    slope:    logits for each pixel further inside
    scores:   predicted IoU of the three
    """

    radii_px: tuple[float, float, float] = (12.0, 16.0, 20.0)
    slope: float = 100.0
    scores: tuple[float, float, float] = (0.25, 0.5, 0.75)
    mask_threshold: float = 0.0

    def __post_init__(self):
        self.config = dataclasses.replace(TINY, mask_threshold=self.mask_threshold)
        self.device = torch.device("cpu")
        self.nb_cells = 4096  # so that groups are as of the published models
        self.seen = []  # the model's inputs
        self.nb_prompts = []  # of each call of `decode`

    def encode(self, pixels):
        self.seen.append(pixels)
        return self

    def prepare(self, embedding, resized_hw):
        return embedding

    def decode(self, embedding, prompts):
        assert embedding is self
        assert prompts.points_xy.dtype == torch.float32
        assert (prompts.labels == FOREGROUND).all()
        assert prompts.points_xy.shape == (*prompts.labels.shape, 2) == (len(prompts), 1, 2)
        self.nb_prompts.append(len(prompts))
        return DrawnDiscs(self, prompts.points_xy[:, 0])


@dataclass
class DrawnDiscs:
    """The masks of some points."""

    model: Discs
    points_xy: torch.Tensor

    @property
    def scores(self):
        return torch.tensor(self.model.scores).repeat(len(self.points_xy), 1)

    def logits(self, keep=None):
        if keep is None:
            keep = torch.ones_like(self.scores, dtype=torch.bool)
        centres = torch.arange(SIDE_PX) + 0.5
        drawn = []
        for point, radius in keep.nonzero().tolist():
            x, y = self.points_xy[point].tolist()
            distance = torch.hypot(centres[None] - x, centres[:, None] - y)
            drawn.append(self.model.slope * (self.model.radii_px[radius] - distance))
        return torch.stack(drawn) if drawn else torch.zeros(0, SIDE_PX, SIDE_PX)
