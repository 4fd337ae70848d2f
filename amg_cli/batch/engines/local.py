"""One image of a run, from its file to its outputs; and the engine that does one after another."""

from __future__ import annotations

import errno
import gc
import os
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli.batch.cloud.place import Place
from amg_cli.batch.cloud.uploads import Uploads
from amg_cli.batch.commit import committed
from amg_cli.batch.image_tasks import Found, Task
from amg_cli.batch.job import FileFacts, Job, Outcome
from amg_cli.batch.jobs_ahead import UntilError
from amg_cli.batch.reading import Picture, Reading, read_picture
from amg_cli.batch.sources.address import Address
from amg_cli.core.errors import AmgError, ImageError, OutputError, reason
from amg_cli.core.interrupts import check
from amg_cli.core.timings import collect, timed
from amg_cli.formats.format import FormatOptions, ImageFormat, Output
from amg_cli.formats.result import Result
from amg_cli.models.compiled import compile_model
from amg_cli.models.devices import synchronizer
from amg_cli.models.sam import Sam

# Torch's words for it, on Linux, on Windows and on a GPU; OpenCV's.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Insufficient memory")
# What the next image would meet too: a disk that is full, or can only be read.
DISK_ERRORS = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS") if hasattr(errno, name)
)


@dataclass(frozen=True)
class Work:
    """What is done with each image of a run.

    task:    what is made of an image
    formats: how that is kept, if in outputs of the image's own
    options: what the user says of that
    reading: how images are read, and which are refused
    timed:   wait for the device at the end of each stage, so that its time is counted there
    compiled: let torch compile the model, in each process
    place:   where in the cloud the outputs go, if they do
    """

    model: Sam
    task: Task
    formats: tuple[ImageFormat, ...]
    options: FormatOptions = FormatOptions()  # noqa: RUF009 - it is frozen
    reading: Reading = field(default_factory=Reading)
    timed: bool = False
    compiled: bool = False
    place: Place | None = None

    def on(self, device: torch.device) -> Work:
        """The same, ready to be done on a device. The model is moved there, not copied."""
        model = self.model.to(device)
        if self.compiled:
            compile_model(model)
        return replace(self, model=model)


def run(jobs: Iterable[Job], work: Work) -> Generator[Outcome, None, None]:
    """Do each job in turn; a job that fails is an outcome too, and the next one follows.

    Outputs that go to the cloud are on their way while the next job is done.
    """
    if work.place is None:
        for job in jobs:
            check()
            yield made(job, work)
        return
    uploads = Uploads(work.place)
    given = UntilError(jobs)
    try:
        for job in given:
            check()
            yield from uploads.add(made(job, work))
        yield from uploads.rest()
        given.raise_error()
    finally:
        uploads.stop()


def attempt(job: Job, work: Work) -> Outcome:
    """Do one job, and wait until its outputs are where they go. Errors as of `made`."""
    outcome = made(job, work)
    return outcome if work.place is None else work.place.sent(outcome)


def made(job: Job, work: Work) -> Outcome:
    """Do one job, up to its outputs on this disk. Whatever fails is an error in its outcome.

    An OutputError there is one that every other job would meet too.
    """
    start = time.perf_counter()
    file = _file_of(job.source)
    try:
        return _process(job, work, file, start)
    except AmgError as raised:
        error = raised
    except Exception as raised:  # noqa: BLE001 - the one place: a failure becomes a record
        check()  # it may be what an interrupt was turned into
        error = _as_error(job, raised)
    return Outcome(job, error=error, file=file, seconds=time.perf_counter() - start)


def _process(job: Job, work: Work, file: FileFacts, start: float) -> Outcome:
    """Read one image, generate its masks, commit them."""
    with collect(synchronizer(work.model.device) if work.timed else None) as timings:
        with timed("read"):
            if job.fault is not None:
                raise ImageError(job.source, *job.fault)
            picture = read_picture(job.source, work.reading, job.copy)
        found = _found(picture.pixels, work, job)
        result = _result(job, picture, found)
        with timed("write"):
            shown = replace(
                result,
                image_rgb=picture.pixels,
                candidates=found.candidates,
                edges=found.edges,
            )
            for format_, target in zip(work.formats, job.targets, strict=True):
                with committed(target, job.overwrite) as path:
                    there = Output(path, target, work.options, stays=work.place is None)
                    _write(format_, shown, there)
    return Outcome(
        job,
        result,
        warnings=_warnings(job, picture),
        refused=found.refused,
        timings=timings,
        file=replace(file, sha256=picture.sha256),
        seconds=time.perf_counter() - start,
    )


def _write(format_: ImageFormat, result: Result, output: Output) -> None:
    try:
        format_.write(result, output)
    except ValueError as error:
        remedy = "leave out its `format`"
        raise ImageError(output.target, f"cannot be made: {error}", remedy) from error


def _found(pixels: NDArray[np.uint8], work: Work, job: Job) -> Found:
    """What is in an image; where memory runs out, with as little at a time as there can be."""
    try:
        return work.task.found(work.model, pixels, job)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error) or work.task.frugal is None:
            raise
    # Out of the block above: its error holds what was in memory.
    gc.collect()
    if work.model.device.type == "cuda":
        torch.cuda.empty_cache()
    return work.task.frugal.found(work.model, pixels, job)


def _result(job: Job, picture: Picture, found: Found) -> Result:
    height, width = picture.pixels.shape[:2]
    return Result(
        job.number,
        job.name,
        job.file_name,
        (height, width),
        found.masks,
        source=_whole(job.source),
        data_set_id=job.data_set_id if job.boxes is None else job.boxes.image_id,
    )


def _is_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _whole(source: Path | Address) -> str:
    return str(source) if isinstance(source, Address) else os.path.realpath(source)


def _file_of(path: Path | Address) -> FileFacts:
    """Looked at before it is read, so that a file that is replaced meanwhile counts as another."""
    if isinstance(path, Address):
        return FileFacts(*(path.facts or ()))
    try:
        status = path.stat()
    except (OSError, ValueError):  # which reading it says too
        return FileFacts()
    return FileFacts(status.st_size, status.st_mtime_ns)


def _warnings(job: Job, picture: Picture) -> tuple[ImageError, ...]:
    return tuple(ImageError(job.source, *fault) for fault in picture.warnings)


def _as_error(job: Job, error: Exception) -> AmgError:
    if isinstance(error, OSError):
        where = error.filename or (job.targets[0] if job.targets else job.source)
        if error.errno in DISK_ERRORS:
            remedy = "what is done is kept; make room and run again"
            return OutputError(where, reason(error), remedy)
        return ImageError(where, f"{error.strerror or error}", "mend that and run again")
    if _is_of_memory(error):
        remedy = "give fewer `workers`, or a smaller `image_size`, and `retry_failed`"
        return ImageError(job.source, "out of memory", remedy)
    first_line = str(error).partition("\n")[0]
    cause = f"unexpected {type(error).__name__}: {first_line}"
    return ImageError(job.source, cause, "please report it with this image")
