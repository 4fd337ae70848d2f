"""Which engine a run has: how many processes, and how many CPU threads each."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from amg_cli.batch.cores import available_bytes, nb_cores
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.local import Work, run
from amg_cli.batch.workers import run_in_workers
from amg_cli.models.configs import VitConfig
from amg_cli.models.devices import is_cpu, set_threads
from amg_cli.models.sam import Sam

# What a worker needs beside the weights, with an image of a few megapixels; as measured, and half
# more. A plain ViT has attention over the whole image.
WORKER_BYTES, WORKER_BYTES_OF_VIT = 1.0e9, 6.0e9


@dataclass(frozen=True)
class Engine:
    """`workers` processes of `threads` CPU threads each; one worker is this process."""

    workers: int
    threads: int

    def run(self, jobs: Iterable[Job], work: Work) -> Generator[Outcome, None, None]:
        """What becomes of each job, in their order. Closed early, it leaves nothing behind."""
        if self.workers == 1:
            set_threads(self.threads)
            return run(jobs, work)
        return run_in_workers(jobs, work, self.workers, self.threads)


def choose_engine(model: Sam, threads: int, workers: int | None, nb_images: int | None) -> Engine:
    """The engine for a model: as many workers as there are cores for, and images, and memory.

    On a GPU one, which has it to itself.
    """
    if workers is None:
        workers = max(1, nb_cores() // threads) if is_cpu(model.device) else 1
        need = WORKER_BYTES
        if isinstance(model.config.encoder, VitConfig):
            need = WORKER_BYTES_OF_VIT
        workers = max(1, min(workers, int(available_bytes() // need)))
    return Engine(max(1, workers if nb_images is None else min(workers, nb_images)), threads)
