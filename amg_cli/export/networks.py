"""The parts of a model that are exported, each a network from tensors to tensors.

Between images' sizes and theirs lies `amg_cli.export.pixels`. N prompts of P points and M masks
each, C channels; h w the embedding's cells.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from amg_cli.models.kinds import Decoded, Embedding
from amg_cli.models.modes import Modes
from amg_cli.models.prompt_encoder import FOREGROUND, PADDING
from amg_cli.models.sam import Sam


class EncoderNetwork(nn.Module):
    """The image encoder."""

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.encoder = model.image_encoder

    def forward(self, image: Tensor) -> Tensor:
        """Normalised and padded, (1, 3, H, W) -> the embedding, (1, C, h, w)."""
        (embedding,) = self.encoder(image)
        return embedding


class DecoderNetwork(nn.Module):
    """Prompt encoder and mask decoder, with the arguments of the published export.

    single: only the best mask of each prompt, as the published export chooses it
    """

    def __init__(self, model: Sam, single: bool) -> None:
        super().__init__()
        self.model = model
        self.single = single

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of prompts, as published: the mask for clear ones first, then those for ambiguous ones.

        image_embeddings: (1, C, h, w); point_coords: (N, P, 2), in pixels of the input
        point_labels: (N, P) float: as of `models.prompt_encoder.Prompts`, padding points given too
        mask_input: (1, 1, 4h, 4w) logits, which count where has_mask_input, (1,), is 1, not 0
        -> scores (N, K), logits (N, K, 4h, 4w); K is 4, or 1 for the best
        """
        embedding = _embedding(self.model, image_embeddings)
        prompts = self.model.prompt_encoder
        tokens = prompts.embed_points(point_coords, point_labels, embedding.input_hw)
        cells = prompts.embed_masks(mask_input).projected()
        per_cell = has_mask_input * cells + (1 - has_mask_input) * embedding.no_mask
        masked = replace(embedding, no_mask=per_cell)
        clear, ambiguous = (
            self.model.mask_decoder(masked, tokens, None, multimask) for multimask in (False, True)
        )
        scores = torch.cat([clear.scores, ambiguous.scores], dim=1)
        logits = torch.cat([_by_prompt(each) for each in (clear, ambiguous)], dim=1)
        # Counted, as a size that may change is no number that the exporter could multiply.
        nb_points = torch.ones_like(point_labels[0]).sum()
        return _best(scores, logits, nb_points) if self.single else (scores, logits)


class PointsNetwork(nn.Module):
    """One foreground point a prompt, for everything: what `generate` asks of a model."""

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_embeddings: Tensor, points_xy: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, h, w), (N, 2) in pixels of the input -> scores (N, M), logits (N, M, 4h, 4w)."""
        embedding = _prepared(self.model, _embedding(self.model, image_embeddings))
        encoder = self.model.prompt_encoder
        points, labels = points_xy[:, None], torch.full_like(points_xy[:, :1], FOREGROUND)
        if encoder.pad_points:
            points = torch.cat([points, torch.zeros_like(points)], dim=1)
            labels = torch.cat([labels, torch.full_like(labels, PADDING)], dim=1)
        tokens = encoder.embed_points(points, labels, embedding.input_hw)
        decoded = self.model.mask_decoder(embedding, tokens, None, multimask=True)
        return decoded.scores, _by_prompt(decoded)


class TokensNetwork(nn.Module):
    """The mask decoder alone, for prompts without masks.

    multimask: as of `Decoder`
    """

    def __init__(self, model: Sam, multimask: bool) -> None:
        super().__init__()
        self.model = model
        self.multimask = multimask

    def forward(self, image_embeddings: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, h, w), (N, T, C) -> scores (N, M), logits (N, M, 4h, 4w)."""
        embedding = _prepared(self.model, _embedding(self.model, image_embeddings))
        decoded = self.model.mask_decoder(embedding, tokens, None, self.multimask)
        return decoded.scores, _by_prompt(decoded)


def _embedding(model: Sam, features: Tensor) -> Embedding:
    height, width = features.shape[2:]
    stride = model.config.stride
    return model.embedding((features,), (height * stride, width * stride))


def _prepared(model: Sam, embedding: Embedding) -> Embedding:
    """For decoding by less work, all of it drawn."""
    shared = model.mask_decoder.prepare(embedding, embedding.cells_hw, Modes())
    return replace(embedding, shared=shared)


def _best(scores: Tensor, logits: Tensor, nb_points: Tensor) -> tuple[Tensor, Tensor]:
    """The mask for clear prompts where there are three points or more, padding counted; else the
    best of the others. Source: the published export.
    """
    is_first = torch.arange(scores.shape[1], dtype=torch.int64, device=scores.device) == 0
    best = (scores + (nb_points - 2.5) * 1000 * is_first).argmax(dim=1, keepdim=True)
    place = best[..., None, None].expand(-1, -1, *logits.shape[2:])
    return scores.gather(1, best), logits.gather(1, place)


def _by_prompt(decoded: Decoded) -> Tensor:
    """All masks drawn: (N, M, 4h, 4w)."""
    logits = decoded.logits()
    return logits.view(-1, decoded.scores.shape[1], *logits.shape[1:])
