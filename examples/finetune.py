"""Fine-tune a model's mask decoder on your own masks: `python finetune.py --help`.

Each step takes a few annotated objects of one photograph, prompts half of them by a point inside
and half by their box, and lessens the published loss: focal and dice, 20 to 1, of the best of the
three masks, and the squared error of the predicted IoU. Source: Kirillov et al. 2023, appendix A.

    amg --input photos --output out --format coco                # or annotations of your own
    python finetune.py --images photos --annotations out/annotations.json --output mine.pt
    amg --input photos --output new --checkpoint mine.pt
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from torch import Tensor
from torch.nn import functional as F

from amg_cli.core.frame import Frame
from amg_cli.models.kinds import Embedding
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.tfimm import SegmentAnythingModel, create_model

ALPHA, GAMMA, FOCAL_WEIGHT = 0.25, 2.0, 20.0
OBJECTS_A_STEP = 8
SMALLEST_PX = 200


@click.command()
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Their folder.")
@click.option("--annotations", type=click.Path(path_type=Path), required=True, help="COCO JSON.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The new weights.")
@click.option("--model", "name", default="nano", show_default=True, help="As of --model-type.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Its weights. [known ones]")
@click.option("--limit", default=8, show_default=True, help="Photographs that are used.")
@click.option("--epochs", default=4, show_default=True, help="Times that each is seen.")
@click.option("--rate", default=2e-5, show_default=True, help="Learning rate of AdamW.")
def main(
    images: Path, annotations: Path, output: Path, name: str, checkpoint: Path | None,
    limit: int, epochs: int, rate: float,
) -> None:  # fmt: skip
    """Fine-tune the mask decoder; the encoders stay, so that each photograph is encoded once."""
    model = create_model(name, pretrained=checkpoint is None, model_path=checkpoint or "")
    photographs = read(COCO(str(annotations)), images, model, limit)
    learnt = list(model.get_submodule("sam.mask_decoder").parameters())
    optimizer = torch.optim.AdamW(learnt, lr=rate, weight_decay=1e-4)
    for epoch in range(epochs + 1):
        generator = np.random.default_rng(epoch)
        losses = []
        for embedding, frame, masks in photographs:
            chosen = masks[generator.permutation(len(masks))[:OBJECTS_A_STEP]]
            loss = step_loss(model, embedding, frame, chosen, np.random.default_rng(0))
            losses.append(loss.item())
            if epoch:  # the first round only measures
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(learnt, 0.1)
                optimizer.step()
        click.echo(f"round {epoch} of {epochs}: loss {np.mean(losses):.4f}")
    torch.save(model.sam.state_dict(), output)


def read(
    coco: COCO, folder: Path, model: SegmentAnythingModel, limit: int
) -> list[tuple[Embedding, Frame, NDArray[np.bool_]]]:
    """Photographs with masks: each encoded, how it lies in the input, its masks (N, H, W)."""
    config = model.sam.config
    found: list[tuple[Embedding, Frame, NDArray[np.bool_]]] = []
    for image_id in coco.getImgIds():
        objects = coco.loadAnns(coco.getAnnIds(image_id, iscrowd=False))
        masks = [coco.annToMask(o).astype(bool) for o in objects if o["area"] >= SMALLEST_PX]
        if masks and len(found) < limit:
            image = cv2.imread(str(folder / coco.imgs[image_id]["file_name"]))
            assert image is not None, coco.imgs[image_id]["file_name"]
            rgb = np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)
            frame = config.frame((rgb.shape[0], rgb.shape[1]))
            with torch.no_grad():
                embedding = model.sam.encode(frame.model_input(rgb, config.mean, config.std))
            found.append((embedding, frame, np.stack(masks)))
    return found


def step_loss(
    model: SegmentAnythingModel,
    embedding: Embedding,
    frame: Frame,
    masks: NDArray[np.bool_],
    generator: np.random.Generator,
) -> Tensor:
    """The loss of masks (N, H, W) of one photograph, prompted by a point or by their box."""
    by_box = len(masks) // 2
    losses = []
    for kind, part in (("box", masks[:by_box]), ("point", masks[by_box:])):
        if len(part):
            prompts = prompts_for(kind, part, frame, generator)
            decoded = model.sam.decode(embedding, prompts, multimask=True)
            logits = decoded.logits().view(*decoded.scores.shape, *model.mask_size(frame.input_hw))
            losses.append(loss_of(logits, decoded.scores, targets(part, frame, logits)))
    return torch.cat(losses).mean()


def prompts_for(
    kind: str, masks: NDArray[np.bool_], frame: Frame, generator: np.random.Generator
) -> Prompts:
    """A point inside each mask, or its box, in pixels of the input."""
    corners, points = [], []
    for mask in masks:
        y, x = np.nonzero(mask)
        corners.append([[x.min(), y.min()], [x.max() + 1, y.max() + 1]])
        i = generator.integers(len(x))
        points.append([[x[i] + 0.5, y[i] + 0.5]])
    if kind == "box":
        return Prompts(boxes_xyxy=frame.to_input_xy(np.array(corners, float)).flatten(1))
    ones = torch.ones(len(masks), 1, dtype=torch.int64)
    return Prompts(frame.to_input_xy(np.array(points)), ones)


def targets(masks: NDArray[np.bool_], frame: Frame, logits: Tensor) -> Tensor:
    """Masks of the image as they lie in low-resolution logits: (N, 1, H', W') in [0, 1]."""
    whole = torch.from_numpy(masks[:, None].astype(np.float32))
    resized = F.interpolate(whole, frame.resized_hw, mode="area")
    return F.interpolate(frame.pad(resized), logits.shape[2:], mode="area")


def loss_of(logits: Tensor, scores: Tensor, target: Tensor) -> Tensor:
    """Of each prompt's best mask. logits (N, K, H', W'), scores (N, K) -> (N,)."""
    target = target.expand_as(logits)
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    alpha = ALPHA * target + (1 - ALPHA) * (1 - target)
    focal = (alpha * (probability - target).abs() ** GAMMA * entropy).mean(dim=(2, 3))
    overlap, total = (probability * target).sum(dim=(2, 3)), (probability + target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    with torch.no_grad():
        found, wanted = logits > 0, target > 0.5
        union = (found | wanted).sum(dim=(2, 3)).clamp(min=1)
        iou = (found & wanted).sum(dim=(2, 3)) / union
    of_masks = FOCAL_WEIGHT * focal + dice
    best = of_masks.argmin(dim=1)
    rows = torch.arange(len(best))
    return of_masks[rows, best] + (scores[rows, best] - iou[rows, best]) ** 2


if __name__ == "__main__":
    main()
