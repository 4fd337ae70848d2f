"""What the student is to lessen, mask by mask. Source: Kirillov et al. 2023, appendix A.

N counts prompts, M masks of a prompt, h w low-resolution pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss: weight of mask pixels; how little sure ones count


def focal(logits: Tensor, target: Tensor, used: Tensor) -> Tensor:
    """Focal loss of each mask. logits, target (N, M, h, w), used (h, w) in {0, 1} -> (N, M)."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = (logits.sigmoid() - target).abs()
    alpha = ALPHA * target + (1 - ALPHA) * (1 - target)
    return (alpha * wrong**GAMMA * entropy * used).sum(dim=(2, 3)) / used.sum()


def dice(logits: Tensor, target: Tensor, used: Tensor) -> Tensor:
    """One less twice the overlap's share in both, of each mask. As `focal`."""
    found = logits.sigmoid() * used
    both = (found * target).sum(dim=(2, 3))
    return 1 - (2 * both + 1) / (found.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)


@torch.no_grad()
def iou(logits: Tensor, target: Tensor, used: Tensor) -> Tensor:
    """IoU of each mask with its target; 1 where both are empty. As `focal`."""
    found, wanted = (logits > 0) & (used > 0), target > 0.5
    union = (found | wanted).sum(dim=(2, 3))
    both = (found & wanted).sum(dim=(2, 3))
    return torch.where(union > 0, both / union.clamp(min=1), 1.0)
