"""The engine for this machine: one image after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from amg_cli.batch.commit import committed, exists_error
from amg_cli.batch.plan import Job, OnExists
from amg_cli.batch.reading import Picture, Reading, read_picture
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import AmgError, ImageError
from amg_cli.core.interrupts import check
from amg_cli.core.timings import Timings, collect, timed
from amg_cli.formats.format import Format
from amg_cli.generation.everything import generate
from amg_cli.models.devices import synchronizer
from amg_cli.models.sam import Sam

NO_MEMORY = ("not enough memory", "out of memory")  # torch's words for it, on a CPU and on a GPU


@dataclass(frozen=True)
class Outcome:
    """What became of one job: masks written, skipped (`nb_masks` None), or an error.

    warnings: what may be wrong with the image, a line each
    """

    job: Job
    nb_masks: int | None = None
    timings: Timings | None = None
    error: AmgError | None = None
    warnings: tuple[ImageError, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is done with each image of a run.

    overwrite: replace output that is there
    reading:   how images are read, and which are refused
    timed:     wait for the device at the end of each stage, so that its time is counted there
    """

    model: Sam
    config: GenerationConfig
    output_format: Format
    overwrite: bool = False
    reading: Reading = field(default_factory=Reading)
    timed: bool = False


def settle(jobs: Sequence[Job], on_exists: OnExists) -> tuple[list[Job], list[Outcome]]:
    """What is left to do, and what is settled: its output is there already, or never can be."""
    to_do: list[Job] = []
    settled: list[Outcome] = []
    for job in jobs:
        try:
            exists = job.target.exists() or job.target.is_symlink()
        except OSError as error:  # such as a name too long for the file system
            settled.append(Outcome(job, error=_as_image_error(job, error)))
            continue
        if not exists or on_exists == "overwrite":
            to_do.append(job)
        else:
            error_or_none = None if on_exists == "skip" else exists_error(job.target)
            settled.append(Outcome(job, error=error_or_none))
    return to_do, settled


def run(jobs: Sequence[Job], work: Work) -> Iterator[Outcome]:
    """Do each job in turn; a job that fails is an outcome too, and the next one follows."""
    for job in jobs:
        check()
        try:
            outcome = process(job, work)
        except AmgError as error:
            outcome = Outcome(job, error=error)
        except Exception as error:  # noqa: BLE001 - the one place: a failure becomes a record
            check()  # it may be what an interrupt was turned into
            outcome = Outcome(job, error=_as_image_error(job, error))
        yield outcome


def process(job: Job, work: Work) -> Outcome:
    """Read one image, generate its masks, commit them."""
    with collect(synchronizer(work.model.device) if work.timed else None) as timings:
        with timed("read"):
            picture = read_picture(job.source, work.reading)
        masks = generate(picture.pixels, work.model, work.config)
        with timed("write"), committed(job.target, work.overwrite) as path:
            work.output_format.write(masks, path)
    return Outcome(job, len(masks), timings, warnings=_warnings(job, picture))


def _warnings(job: Job, picture: Picture) -> tuple[ImageError, ...]:
    return tuple(ImageError(job.source, *fault) for fault in picture.warnings)


def _as_image_error(job: Job, error: Exception) -> ImageError:
    if isinstance(error, OSError):
        cause = f"{error.strerror or error}"
        return ImageError(error.filename or job.target, cause, "mend that and run again")
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return ImageError(job.source, "out of memory", "lower `points_per_batch`")
    first_line = str(error).partition("\n")[0]
    cause = f"unexpected {type(error).__name__}: {first_line}"
    return ImageError(job.source, cause, "please report it with this image")
