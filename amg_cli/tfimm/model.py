"""`SegmentAnythingModel`: images and their prompts to masks in one call, which can be trained.

Shape letters: N images; M1 points, M2 boxes and M3 masks each, K answers; H W the input, H' W' a
mask at low resolution, H'' W'' the embedding, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amg_cli.models.configs import SamConfig
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from amg_cli.tfimm.config import SegmentAnythingModelConfig
from amg_cli.weights.channels import of_channels
from amg_cli.weights.download import pull
from amg_cli.weights.loading import at_size, load_checkpoint
from amg_cli.weights.zoo import known_model

Size = tuple[int, int]


class SegmentAnythingModel(nn.Module):
    """A model of the Segment Anything family, over `Sam`.

    cfg: the numbers of a new model; or a `Sam`, whose weights these are
    """

    def __init__(self, cfg: SegmentAnythingModelConfig | SamConfig | Sam) -> None:
        super().__init__()
        if isinstance(cfg, Sam):
            self.sam = cfg
        else:
            config = cfg.to_sam_config() if isinstance(cfg, SegmentAnythingModelConfig) else cfg
            self.sam = Sam(config).eval()
        self.cfg = cfg if isinstance(cfg, SegmentAnythingModelConfig) else self.sam.config
        self.train(self.sam.training)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        training: bool = False,
        multimask_output: bool = False,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The masks of N images, each with its own prompt.

        inputs: `images`, (N, H, W, C), normalised; and what each is prompted with, in pixels of the
            input: `points`, (N, M1, 2), with `labels`, (N, M1); `boxes`, (N, M2, 4), left, top,
            right, bottom; `masks`, (N, M3, H', W') logits. M1, M2 and M3 may be 0, and what is not
            given is missing.
        training: with dropout and drop path, and batch norms by the batch; the mode that the model
            was in comes back
        multimask_output: K = 3 masks a prompt instead of 1

        -> masks (N, K, H, W) bool, or logits; scores (N, K); logits at low resolution. There are
        gradients through all of it, unless torch is told otherwise.

        Of several boxes the corners' tokens are joined, of several masks the embeddings added up:
        published code has one of each at most. Points without a box get its padding point.
        Raises ValueError for images of another size or number of channels than the model takes, and
        for prompts of another N.
        """
        images = self._checked(inputs)
        prompts = _prompts(inputs, len(images), images.device)
        with _mode(self, training):
            embedding = self.sam.encode(images.permute(0, 3, 1, 2))
            decoded = [
                self.sam.decode(embedding[i], prompt, multimask_output)
                for i, prompt in enumerate(prompts)
            ]
            scores = torch.cat([answer.scores for answer in decoded])
            low_res = torch.stack([answer.logits() for answer in decoded])
        masks = F.interpolate(low_res, images.shape[1:3], mode="bilinear", align_corners=False)
        return masks if return_logits else masks > self.mask_threshold, scores, low_res

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """What `forward` takes, all zeros: an image with a point, a box and a mask."""
        config = self.sam.config
        shapes = {
            "images": (1, *config.input_size, len(config.mean)),
            "points": (1, 1, 2),
            "labels": (1, 1),
            "boxes": (1, 1, 4),
            "masks": (1, 1, *self.mask_size()),
        }
        return {
            name: torch.zeros(shape, dtype=torch.float32, device=self.sam.device)
            for name, shape in shapes.items()
        }

    def grid_size(self, input_size: Size | None = None) -> Size:
        """(H'', W'') of an input of that size; by default of the model's own."""
        height, width = input_size or self.sam.config.input_size
        stride = self.sam.config.stride
        if height % stride or width % stride:
            raise ValueError(f"input_size: multiples of {stride} are wanted, not {input_size}")
        return height // stride, width // stride

    def mask_size(self, input_size: Size | None = None) -> Size:
        """(H', W') of an input of that size; by default of the model's own."""
        height, width = self.grid_size(input_size)
        return 4 * height, 4 * width

    @property
    def mask_threshold(self) -> float:
        """A pixel belongs to a mask where its logit is above."""
        return self.sam.config.mask_threshold

    def _checked(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The images. Raises ValueError."""
        config, images = self.sam.config, inputs["images"]
        channels = len(config.mean)
        if images.ndim != 4 or images.shape[3] != channels:
            raise ValueError(f"images: (N, H, W, {channels}) is wanted, not {tuple(images.shape)}")
        size = (images.shape[1], images.shape[2])
        if config.fixed_input_size and size != tuple(config.input_size):
            height, width = config.input_size
            wanted = f"(N, {height}, {width}, {channels}) is wanted, as the size is fixed"
            raise ValueError(f"images: {wanted}; not {tuple(images.shape)}")
        self.grid_size(size)
        return images


def create_model(
    model_name: str,
    pretrained: bool = False,
    model_path: str | Path = "",
    *,
    in_channels: int | None = None,
    input_size: Size | None = None,
    fixed_input_size: bool | None = None,
) -> SegmentAnythingModel:
    """A model by its name, such as sam_vit_b, to be trained or used; in the mode of inference.

    pretrained: with its known weights, downloaded if they are not in the cache; else random ones
    model_path: a file with its weights, instead
    in_channels: of images, if not three; known weights are adapted as `with_channels` says
    input_size, fixed_input_size: as of `load_model`

    Errors as of `load_model`.
    """
    row = known_model(model_name)
    if pretrained or model_path:
        path = Path(model_path) if model_path else pull(row, progress=False)
        sam = load_checkpoint(path, row.name, in_channels)
    else:
        sam = Sam(of_channels(row.config, in_channels) if in_channels else row.config)
    sam.config = at_size(sam.config, input_size, fixed_input_size)
    return SegmentAnythingModel(sam.eval())


def _prompts(inputs: Mapping[str, Tensor], count: int, device: torch.device) -> Iterator[Prompts]:
    """Of each image. Raises ValueError for parts of another N."""
    names = {"points": "points_xy", "labels": "labels", "boxes": "boxes_xyxy", "masks": "masks"}
    given = {name: inputs[name] for name in names if inputs.get(name) is not None}
    for name, values in given.items():
        if len(values) != count:
            raise ValueError(f"{name}: N is {len(values)}, and that of images {count}")
    for i in range(count):
        of_image = {names[name]: values[i : i + 1].to(device) for name, values in given.items()}
        yield Prompts(**of_image)


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Inside, a module is in the mode of training or not; afterwards as it was, part by part."""
    before = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        yield
    finally:
        for part, mode in before.items():
            part.training = mode
