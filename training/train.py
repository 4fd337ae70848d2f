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

from amg_cli.models.kinds import Decoded
from amg_cli.models.sam import Sam
from training.data import Kind, Place, View, all_views, features_of_view, prompts_of, read_view
from training.losses import dice, focal, iou
from training.recipe import Recipe
from training.student import embed, learnt, not_frozen

STEPS_A_LINE = 50
ENCODER_LAYERS = "image_encoder.layers."  # which learn more slowly than what follows them
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
        weights = learnt(self.student)
        slow = [weight for name, weight in weights.items() if name.startswith(ENCODER_LAYERS)]
        fast = [weight for name, weight in weights.items() if not name.startswith(ENCODER_LAYERS)]
        groups = [
            {"params": slow, "share": self.recipe.encoder_rate},
            {"params": fast, "share": 1.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)
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
        state = torch.load(path, map_location=self.student.device, weights_only=True)
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
        group["lr"] = rate * group["share"]
    run.optimizer.zero_grad()
    chosen = rng.choice(len(views), recipe.batch_views, replace=False)
    # The fused kernel's gradients of few tokens take longer than the plain one's.
    with sdpa_kernel(SDPBackend.MATH):
        loss = torch.stack([_loss(run, read_view(views[i]), rng) for i in chosen]).mean()
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


def _loss(run: Run, view: View, rng: np.random.Generator) -> Tensor:
    """Of some points, or some boxes, of one view: their masks and their scores."""
    recipe, device = run.recipe, run.student.device
    of_points = rng.random() * (recipe.points + recipe.boxes) < recipe.points
    kind: Kind = "points" if of_points else "boxes"
    count = len(view[kind])
    numbers = rng.choice(count, min(recipe.batch_prompts, count), replace=False)
    multimask = bool(rng.random() >= recipe.clear)
    prompts = prompts_of(view, kind, numbers, device)
    embedding = embed(run.student, features_of_view(view, device))
    decoded = run.student.decode(embedding, prompts, multimask)
    return _apart(run, decoded, view, numbers if of_points else recipe.points + numbers)


def _apart(run: Run, decoded: Decoded, view: View, rows: NDArray[np.int64]) -> Tensor:
    """How far masks and scores are from the teacher's. rows: of the view's prompts, those asked."""
    recipe, logits = run.recipe, decoded.logits()
    logits = logits.view(*decoded.scores.shape, *logits.shape[1:])
    height, width = logits.shape[2:]
    drawn = np.unpackbits(view["masks"][rows], axis=-1)[..., :height, :width]
    masks = torch.from_numpy(drawn).to(logits.device).float()
    scores = torch.from_numpy(view["scores"][rows]).to(logits.device).float()
    if logits.shape[1] == 1:  # for clear prompts, the mask that the teacher thinks the best
        best = scores.argmax(dim=1, keepdim=True)
        masks = masks.take_along_dim(best[:, :, None, None], dim=1)
        scores = scores.take_along_dim(best, dim=1)
    used = torch.zeros(masks.shape[2:], device=logits.device)
    used[: view["used"][0], : view["used"][1]] = 1
    shape = recipe.focal * focal(logits, masks, used) + recipe.dice * dice(logits, masks, used)
    # As sure as the teacher is of its mask, and as near to that as the student's is.
    wanted = scores * iou(logits, masks, used)
    scored = recipe.iou * (decoded.scores - wanted).square()
    return (shape + scored).mean()
