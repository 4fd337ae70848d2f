"""The MLPs of the student's decoder: smaller than the teacher's, fitted to what those answer.

An MLP sees tokens only, so a fit takes seconds where a training of whole masks takes hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from amg_cli.models.decoders.transformer import TokenMlp
from amg_cli.models.sam import Sam
from training.data import KINDS, View, features_of_view, prompts_of
from training.recipe import Recipe
from training.student import embed


def refit(student: Sam, teacher: Sam, views: Sequence[View], recipe: Recipe) -> list[float]:
    """Fit block after block, on the tokens that reach it in the student.

    -> of each MLP, the share of the teacher's variance that it leaves unexplained
    """
    errors = []
    blocks = zip(_blocks(student), _blocks(teacher), strict=True)
    for number, (mlp, taught) in enumerate(blocks):
        x = _inputs(student, number, views)
        with torch.no_grad():
            y = taught(x)
            _begin(mlp, taught, x)
        errors.append(_fit(mlp, x, y, recipe))
    return errors


def _blocks(model: Sam) -> list[TokenMlp]:
    decoder: Any = model.mask_decoder
    return [block.mlp for block in decoder.transformer.blocks]


@torch.no_grad()
def _inputs(student: Sam, block: int, views: Sequence[View]) -> Tensor:
    """What reaches the MLP of a block with the prompts of those views. -> (tokens, C)."""
    inputs: list[Tensor] = []
    handle = _blocks(student)[block].register_forward_pre_hook(
        lambda _, given: inputs.append(given[0].flatten(0, 1))
    )
    with handle:
        for view in views:
            features = features_of_view(view, student.device)
            embedding = student.prepare(embed(student, features))
            for kind in KINDS:
                every = np.arange(len(view[kind]))
                student.decode(embedding, prompts_of(view, kind, every, student.device))
    return torch.cat(inputs)


def _begin(mlp: TokenMlp, taught: TokenMlp, x: Tensor) -> None:
    """Begin with the hidden units that add the most to the teacher's answers."""
    hidden = F.relu(taught.lin1(x))
    added = hidden.square().mean(dim=0) * taught.lin2.weight.square().sum(dim=0)
    kept = added.topk(mlp.lin1.out_features).indices
    mlp.lin1.weight.copy_(taught.lin1.weight[kept])
    mlp.lin1.bias.copy_(taught.lin1.bias[kept])
    mlp.lin2.weight.copy_(taught.lin2.weight[:, kept])
    mlp.lin2.bias.copy_(taught.lin2.bias)


def _fit(mlp: TokenMlp, x: Tensor, y: Tensor, recipe: Recipe) -> float:
    """Least squares by Adam. x, y: (tokens, C). -> the share of y's variance that is left."""
    draw = torch.Generator(x.device).manual_seed(recipe.seed)
    optimizer = torch.optim.Adam(mlp.parameters(), recipe.refit_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.refit_steps)
    for _ in range(recipe.refit_steps):
        rows = torch.randint(len(x), (recipe.refit_tokens,), generator=draw, device=x.device)
        optimizer.zero_grad()
        F.mse_loss(mlp(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    with torch.no_grad():
        return float((mlp(x) - y).square().mean() / y.var(dim=0).mean())
