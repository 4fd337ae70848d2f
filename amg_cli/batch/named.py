"""A run's masks with names: the task of any run, with what an encoder calls what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli.batch.convert import fault_of, with_pixels
from amg_cli.batch.image_tasks import Found, Task
from amg_cli.batch.job import Job
from amg_cli.core.errors import ImageError
from amg_cli.core.naming import NamingConfig
from amg_cli.core.timings import timed
from amg_cli.formats.result import Result
from amg_cli.models.sam import Sam
from amg_cli.tasks.names import Namer
from amg_cli.weights.text_image import EncoderSource, on_device


@dataclass(frozen=True)
class Named:
    """Another task, whose masks are named; candidates stay as they are."""

    task: Task
    naming: NamingConfig
    encoder: EncoderSource

    @property
    def frugal(self) -> Named | None:
        """As `Task`."""
        fewer = self.task.frugal
        return None if fewer is None else replace(self, task=fewer)

    def found(self, model: Sam, pixels: NDArray[np.uint8], job: Job) -> Found:
        """As `Task`."""
        found = self.task.found(model, pixels, job)
        with timed("names"):
            namer = namer_on(model.device, self.encoder, self.naming)
            return replace(found, masks=namer.named(pixels, found.masks))


@lru_cache(maxsize=1)
def namer_of(encoder: EncoderSource, naming: NamingConfig) -> Namer:
    """The encoder loaded and its texts read, once in a process, and in those forked from it.

    Errors as of `load_text_image_encoder`.
    """
    return Namer(encoder.load(), naming)


def namer_on(device: torch.device, encoder: EncoderSource, naming: NamingConfig) -> Namer:
    """As `namer_of`, its encoder on a device."""
    namer = namer_of(encoder, naming)
    on_device(namer.encoder, device)
    return namer


def with_names(
    results: Iterator[Result | ImageError], naming: NamingConfig, load: Callable[[], Namer]
) -> Iterator[Result | ImageError]:
    """Images of an earlier run, their masks named; an image that cannot be read is an error.

    load: what names by `naming`, called where there are masks
    """
    for result in results:
        if isinstance(result, ImageError):
            yield result
            continue
        try:
            yield _named(result, naming, load)
        except ImageError as error:
            yield error
        except (RuntimeError, MemoryError) as error:  # of the encoder, such as of memory
            first_line = str(error).partition("\n")[0]
            cause = f"cannot be named: {type(error).__name__}: {first_line}"
            yield ImageError(result.file_name, cause, "the others are done")


def _named(result: Result, naming: NamingConfig, load: Callable[[], Namer]) -> Result:
    """Raises ImageError where the image cannot be read, or has masks of another size."""
    fault = fault_of(result)
    if fault:
        raise fault
    if not result.masks:
        return replace(result, categories=naming.categories)
    shown = with_pixels(result)
    masks = [] if shown.image_rgb is None else load().named(shown.image_rgb, shown.masks)
    return replace(shown, masks=masks, categories=naming.categories)
