"""Candidates: prompt the model at every point of every crop. Costly, and knows the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.candidates import Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.host import in_own_precision
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.region import Region
from amg_cli.generation.arguments import check_arguments
from amg_cli.generation.coarse_nms import propose_best
from amg_cli.generation.encoded_view import EncodedView
from amg_cli.generation.grid import LowRes, draw, in_batches, measure, passing_of
from amg_cli.generation.on_device import propose_on_device
from amg_cli.generation.views import views
from amg_cli.models.devices import is_cpu
from amg_cli.models.sam import Sam


def propose(
    model: Sam,
    image_rgb: ImageLike,
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
    roi: Any = None,
) -> Candidates:
    """Every mask that passes the thresholds and ends at no inner edge of its crop, for `select`.

    Of the settings only the grid's, the crops', the thresholds and the offset matter here.
    Arguments and errors as of `generate`.
    Source: the reference generator, steps 1 to 7.
    """
    check_arguments(image_rgb, model, config)
    return candidates_for(model, image_rgb, config.for_all_candidates(), point_grids, roi)


@in_own_precision
@torch.inference_mode()
def candidates_for(
    model: Sam,
    image_rgb: ImageLike,
    config: GenerationConfig,
    point_grids: Sequence[NDArray[np.float64]] | None = None,
    roi: Any = None,
) -> Candidates:
    """As `propose`; but on a GPU without those that `select` would drop by the same settings.

    They are suppressed there, so that they need no RLE.
    """
    check_arguments(image_rgb, model, config)
    pixels = as_rgb(image_rgb)
    image_hw = (pixels.shape[0], pixels.shape[1])
    looks = views(image_hw, config, point_grids)
    about = replace(
        Candidates.empty(), nb_views=len(looks), image_hw=image_hw, proposed_with=config
    )
    if roi is not None:
        region = Region.of(roi)
        looks = [view.within(region, image_hw) for view in looks]
    parts = [about]
    for view in looks:
        if not len(view.unit_grid):  # all of its points lie out of the region
            continue
        encoded = EncodedView.of(model, pixels, view, use_m2m=config.use_m2m)
        if not is_cpu(model.device):
            parts.append(propose_on_device(model, encoded, config))
        elif _coarsely(model, encoded, config):
            parts.append(propose_best(model, encoded, config))
        else:
            parts += _propose_on_cpu(model, encoded, config)
    return Candidates.concat(parts)


def _coarsely(model: Sam, crop: EncodedView, config: GenerationConfig) -> bool:
    """Whether masks are to be drawn coarsely first, and can be."""
    wanted = config.coarse_nms_thresh < 1 and not config.use_m2m
    return wanted and model.mask_decoder.draws_coarsely(crop.embedding)


def _propose_on_cpu(model: Sam, crop: EncodedView, config: GenerationConfig) -> list[Candidates]:
    """The candidates of one batch of points after another."""

    def measured(groups: Sequence[Tensor]) -> Candidates:
        """Without what they were drawn from, which is a batch's alone."""
        drawn = _passing(model, crop, config, groups)
        return measure(drawn, crop, model.config.mask_threshold, config)[0]

    return in_batches(crop, config, crop.prompts(), measured)


def _passing(
    model: Sam, crop: EncodedView, config: GenerationConfig, groups: Sequence[Tensor]
) -> LowRes:
    """Decode groups of prompts, and draw the masks that pass the score."""
    return draw(model, crop, config, groups, partial(passing_of, config))


@in_own_precision
@torch.inference_mode()
def propose_with_logits(
    model: Sam, crop: EncodedView, config: GenerationConfig
) -> tuple[Candidates, Tensor]:
    """As `propose`, of one view; and the logits of its K candidates, (K, h, w), on the CPU.

    These are a quarter of a megabyte a mask for the published models.
    """

    def measured(groups: Sequence[Tensor]) -> tuple[Candidates, Tensor]:
        """The candidates of a batch, and their logits."""
        drawn = _passing(model, crop, config, groups)
        found, places = measure(drawn, crop, model.config.mask_threshold, config)
        return found, drawn.low_res[places]

    candidates, low_res = zip(*in_batches(crop, config, crop.prompts(), measured), strict=True)
    return Candidates.concat(candidates), torch.cat(low_res)
