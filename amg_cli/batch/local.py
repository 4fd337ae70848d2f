"""One image of a run, from its file to its outputs; and the engine that does one after another."""

from __future__ import annotations

import errno
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from amg_cli.batch.commit import committed
from amg_cli.batch.job import FileFacts, Job, Outcome
from amg_cli.batch.reading import Picture, Reading, read_picture
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import AmgError, ImageError, OutputError, reason
from amg_cli.core.interrupts import check
from amg_cli.core.timings import collect, timed
from amg_cli.formats.format import ImageFormat
from amg_cli.formats.result import Result
from amg_cli.generation.everything import generate
from amg_cli.models.devices import synchronizer
from amg_cli.models.sam import Sam

NO_MEMORY = ("not enough memory", "out of memory")  # torch's words for it, on a CPU and on a GPU
# What the next image would meet too: a disk that is full, or can only be read.
DISK_ERRORS = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS") if hasattr(errno, name)
)


@dataclass(frozen=True)
class Work:
    """What is done with each image of a run.

    formats: how the masks of an image are kept, if in outputs of its own
    reading: how images are read, and which are refused
    timed:   wait for the device at the end of each stage, so that its time is counted there
    """

    model: Sam
    config: GenerationConfig
    formats: tuple[ImageFormat, ...]
    reading: Reading = field(default_factory=Reading)
    timed: bool = False


def run(jobs: Iterable[Job], work: Work) -> Generator[Outcome, None, None]:
    """Do each job in turn; a job that fails is an outcome too, and the next one follows."""
    for job in jobs:
        check()
        yield attempt(job, work)


def attempt(job: Job, work: Work) -> Outcome:
    """Do one job. Whatever fails is an error in its outcome.

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
            picture = read_picture(job.source, work.reading)
        masks = generate(picture.pixels, work.model, work.config)
        with timed("write"):
            for format_, target in zip(work.formats, job.targets, strict=True):
                with committed(target, job.overwrite) as path:
                    format_.write(masks, path)
    height, width = picture.pixels.shape[:2]
    return Outcome(
        job,
        Result(job.number, job.name, job.file_name, (height, width), masks),
        warnings=_warnings(job, picture),
        timings=timings,
        file=replace(file, sha256=picture.sha256),
        seconds=time.perf_counter() - start,
    )


def _file_of(path: Path) -> FileFacts:
    """Looked at before it is read, so that a file that is replaced meanwhile counts as another."""
    try:
        status = path.stat()
    except OSError:
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
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return ImageError(job.source, "out of memory", "lower `points_per_batch`")
    first_line = str(error).partition("\n")[0]
    cause = f"unexpected {type(error).__name__}: {first_line}"
    return ImageError(job.source, cause, "please report it with this image")
