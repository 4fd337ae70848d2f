"""What a command has a run do with each image, as its options say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amg_cli.batch.image_tasks import Task
    from amg_cli.batch.job import Job
    from amg_cli.batch.sources.images import Source
    from amg_cli.core.errors import AmgError


def as_it_is(job: Job, _source: Source) -> Job:
    """The job of an image that nothing comes with."""
    return job


def nothing_refused(_sources: Iterable[Source]) -> Sequence[AmgError]:
    """Where every input there can be is of use."""
    return ()


@dataclass(frozen=True)
class RunTask:
    """A task, before what it needs is loaded.

    name:     by which records tell it from others
    settings: what of it decides the results, by name, in types that JSON has
    make:     the task itself, which loads torch
    own:      of `GenerationConfig`, settings of the model's own that count
    has_masks: whether these are what it finds
    given:    a job with what comes with its image beside the pixels
    refused:  of all images of a run, what was asked for and is not to be had, a line each
    """

    name: str
    settings: Mapping[str, Any]
    make: Callable[[], Task]
    own: Mapping[str, Any] = field(default_factory=dict)
    has_masks: bool = True
    given: Callable[[Job, Source], Job] = as_it_is
    refused: Callable[[Iterable[Source]], Sequence[AmgError]] = nothing_refused
