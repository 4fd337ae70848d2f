"""What an image encoder and a mask decoder must have: all that a new kind needs.

B counts images, N prompts, M masks a prompt, T tokens of a prompt, K masks that are drawn, C
channels; H W are the model's input, H'' W'' the embedding, H' W' low-resolution masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional as F

from amg_cli.models.modes import Modes


class Encoder(Protocol):
    """An image encoder, an `nn.Module` made of its config and the embedding's channels.

    in_16_bits: whether it may be computed so
    """

    in_16_bits: bool

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalised, padded images (B, 3, H, W) to levels: the embedding (B, C, H'', W'') first.

        Further levels are for decoders that draw on them: finer, or of an earlier layer.
        """

    def fold(self) -> None:
        """Rearrange the parameters for inference, where that saves work."""


@dataclass(frozen=True)
class CellPrompts:
    """What mask prompts add to each cell of an image's embedding: few channels, and a projection.

    channels: (N, R, H'', W''), the last of which is the number of masks, for the bias
    weight:   (R, C), of the projection, and its bias in the last row
    """

    channels: Tensor
    weight: Tensor

    def projected(self) -> Tensor:
        """What is added: (N, C, H'', W'')."""
        return F.conv2d(self.channels, self.weight.T[..., None, None])


@dataclass(frozen=True)
class Embedding:
    """What `Sam.encode` makes of images and `Sam.decode` takes.

    levels: the embedding (B, C, H'', W''), then those that the decoder draws on too, if any
    positions: (1, C, H'', W''), the encoding of each cell's place
    no_mask: (1, C, 1, 1), what is added to each cell where no prompt is a mask
    input_hw: the padded input's size in pixels
    shared: what the decoder has computed for all prompts on one image; None without `Sam.prepare`
    """

    levels: tuple[Tensor, ...]
    positions: Tensor
    no_mask: Tensor
    input_hw: tuple[int, int]
    shared: Any = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def features(self) -> Tensor:
        """The embedding itself: (B, C, H'', W'')."""
        return self.levels[0]

    @property
    def cells_hw(self) -> tuple[int, int]:
        """H'' and W''."""
        return self.features.shape[2], self.features.shape[3]

    @property
    def nb_cells(self) -> int:
        """Cells of one image: H'' * W''."""
        return self.cells_hw[0] * self.cells_hw[1]

    def __getitem__(self, image: int) -> Embedding:
        """The embedding of one image, B = 1."""
        levels = tuple(level[image][None] for level in self.levels)
        return Embedding(levels, self.positions, self.no_mask, self.input_hw)


class Decoded(Protocol):
    """The masks of N prompts, M each, scored but not drawn.

    scores: (N, M), the model's estimate of each mask's IoU with the object
    """

    @property
    def scores(self) -> Tensor:
        """(N, M)"""

    def logits(self, keep: Tensor | None = None) -> Tensor:
        """Draw the masks that `keep`, (N, M) bool, names; all without it. -> (K, H', W').

        K masks in row-major order of `keep`. On a CPU prompts without one cost nothing, but for
        those of one part with others; on a GPU the program waits to learn which they are, where
        without `keep` it goes on.
        """


class CoarseDecoded(Decoded, Protocol):
    """The same, of a decoder that can draw little of each mask."""

    def coarse(self) -> Tensor:
        """All masks at one place of each of the U cells that the image covers. -> (N, M, U)"""


class Decoder(Protocol):
    """A mask decoder, an `nn.Module` made of its config and the embedding's channels."""

    def __call__(
        self,
        embedding: Embedding,
        tokens: Tensor,
        cells: CellPrompts | None,
        multimask: bool,
        over: float | None = None,
    ) -> Decoded:
        """Score the masks of N prompts on one image.

        embedding: of one image, B = 1; where it is prepared, decoding may do less
        tokens: (N, T, C), of the prompts; cells: of mask prompts, or None
        multimask: the masks for ambiguous prompts, or the M = 1 for clear ones
        over: masks that score no more are not asked for, so that such a mask may have any such
            score, and need not be drawn to learn which; None for all. Others are as without it
        """

    def prepare(self, embedding: Embedding, used_hw: tuple[int, int], modes: Modes) -> Any:
        """What all prompts have in common on one image, B = 1; None for nothing.

        used_hw: the cells that the image covers, from the first on; no others need be drawn
        """

    def draws_coarsely(self, embedding: Embedding) -> bool:
        """Whether the masks of points on it are `CoarseDecoded`."""
