"""The steps: the student learns the teacher's masks and how good its own are."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from amg_cli.models.mask_decoder import Decoded
from amg_cli.models.sam import Embedding, Sam
from training.data import Kind, Place, View, all_views, prompts_of, read_view
from training.losses import dice, focal, iou
from training.recipe import Recipe
from training.student import embed, learnt, not_frozen

STEPS_A_LINE = 50
SECONDS_BETWEEN_SAVES = 120.0


@dataclass
class Run:
    """A training as far as it has come. step: how many are done; average: of the weights."""

    student: Sam
    recipe: Recipe
    optimizer: torch.optim.Optimizer = field(init=False)
    average: dict[str, Tensor] = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        recipe, weights = self.recipe, learnt(self.student)
        self.optimizer = torch.optim.AdamW(
            weights.values(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.average = {name: weight.detach().clone() for name, weight in weights.items()}

    def save(self, path: Path) -> None:
        """Write all that `load` needs, whole or not at all."""
        state = {
            "step": self.step,
            "weights": not_frozen(self.student),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from where `save` was called."""
        state = torch.load(path, weights_only=True)
        self.step, self.average = state["step"], state["average"]
        self.student.load_state_dict(self.student.state_dict() | state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(run: Run, parts: list[Path], saved: Path, until: float) -> bool:
    """Do steps until all are done or the clock says `until`. -> whether all are done."""
    losses: list[float] = []
    last_save = time.monotonic()
    views = all_views(parts)
    while run.step < run.recipe.steps and time.monotonic() < until:
        losses.append(take_step(run, views))
        if run.step % STEPS_A_LINE == 0:
            print(f"step {run.step}: loss {np.mean(losses[-STEPS_A_LINE:]):.4f}", flush=True)
        if time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
            run.save(saved)
            last_save = time.monotonic()
    run.save(saved)
    return run.step >= run.recipe.steps


def take_step(run: Run, views: list[Place]) -> float:
    """One step, on views and prompts that its number alone decides. -> its loss."""
    recipe = run.recipe
    rng = np.random.default_rng((recipe.seed, run.step))
    rate = learning_rate(run.step, recipe)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    chosen = rng.choice(len(views), recipe.batch_views, replace=False)
    rows = [read_view(views[i]) for i in chosen]
    features = torch.from_numpy(np.stack([view["features"] for view in rows]))
    # The fused kernel's gradients of few tokens take longer than the plain one's.
    with sdpa_kernel(SDPBackend.MATH):
        embeddings = embed(run.student, features.float())
        parts = [_loss(run, embeddings[i], view, rng) for i, view in enumerate(rows)]
        loss = torch.stack(parts).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    weights = learnt(run.student)
    torch.nn.utils.clip_grad_norm_(weights.values(), recipe.clip_norm)
    run.optimizer.step()
    run.step += 1
    # Early on the average follows soon; later it is over many steps.
    keep = min(recipe.ema, run.step / (run.step + 10))
    for name, weight in weights.items():
        run.average[name].lerp_(weight.detach(), 1 - keep)
    return float(loss.detach())


def learning_rate(step: int, recipe: Recipe) -> float:
    """Rising over the warm-up, then falling as a cosine to 0."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _loss(run: Run, embedding: Embedding, view: View, rng: np.random.Generator) -> Tensor:
    """Of some points, or some boxes, of one view: their masks and their scores."""
    recipe = run.recipe
    of_points = rng.random() * (recipe.points + recipe.boxes) < recipe.points
    kind: Kind = "points" if of_points else "boxes"
    count = len(view[kind])
    numbers = rng.choice(count, min(recipe.batch_prompts, count), replace=False)
    multimask = bool(rng.random() >= recipe.clear)
    decoded = run.student.decode(embedding, prompts_of(view, kind, numbers), multimask)
    return _apart(run, decoded, view, numbers if of_points else recipe.points + numbers)


def _apart(run: Run, decoded: Decoded, view: View, rows: NDArray[np.int64]) -> Tensor:
    """How far masks and scores are from the teacher's. rows: of the view's prompts, those asked."""
    recipe, logits = run.recipe, decoded.logits()
    logits = logits.view(*decoded.scores.shape, *logits.shape[1:])
    masks = torch.from_numpy(np.unpackbits(view["masks"][rows], axis=-1)).float()
    scores = torch.from_numpy(view["scores"][rows].astype(np.float32))
    if logits.shape[1] == 1:  # for clear prompts, the mask that the teacher thinks the best
        best = scores.argmax(dim=1, keepdim=True)
        masks = masks.take_along_dim(best[:, :, None, None], dim=1)
        scores = scores.take_along_dim(best, dim=1)
    used = torch.zeros(masks.shape[2:])
    used[: view["used"][0], : view["used"][1]] = 1
    drawn = recipe.focal * focal(logits, masks, used) + recipe.dice * dice(logits, masks, used)
    # As sure as the teacher is of its mask, and as near to that as the student's is.
    wanted = scores * iou(logits, masks, used)
    scored = recipe.iou * (decoded.scores - wanted).square()
    return (drawn + scored).mean()
