"""The engine of several processes: each does one image after another, with threads of its own.

A CPU does more with a process a core than with threads that share one image's work. The processes
are forked where that is safe, after the model is loaded and before anything runs in threads, so
that its weights are in memory once; elsewhere they share the weights as torch does.

    this process                      each worker
    reads ahead
    job ------------ pipe ----------> made(job, work)
    in order <------ pipe ----------- Outcome

Outcomes come in the order of the jobs, so that what is written of them does not depend on who was
first. A worker has one job in hand and the next in its pipe. One that dies takes the job in hand
with it, which has then failed; the next goes to the worker that takes its place. Images too large
to be worked on at once are so one after another.

Where outputs go to the cloud, a worker says MADE when it has done a job and takes the next one, and
gives the outcome when the outputs have been sent. What it has not sent when it dies is done again.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import torch

from amg_cli.batch.cloud.uploads import Uploads
from amg_cli.batch.engines.local import Work, made
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.jobs_ahead import UntilError
from amg_cli.batch.reading import Reading, look_ahead
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import (
    SIGNALS,
    Interrupted,
    check,
    end_with_parent,
    forget,
    release_signals,
    signals_held,
    signals_raise,
)
from amg_cli.models.devices import is_cpu, set_threads

JOBS_A_WORKER = 2  # one in hand, and one that it need not wait for
AHEAD = 16  # jobs a worker that may be done before the first of them is
POLL_S = 0.05  # how often it is looked whether there is a new job, or a signal
MADE = "made"  # of a job whose outputs are on their way
END_S = 10  # what a worker may take to put away what it was writing


@dataclass(frozen=True)
class Engine:
    """The processes that a run has; one alone is the run's own.

    workers:    how many
    threads:    CPU threads that each has
    devices:    what they work on, in turn
    max_pixels: of the images they have in hand together; one image may have more
    """

    workers: int
    threads: int
    devices: tuple[torch.device, ...] = (torch.device("cpu"),)
    max_pixels: float = math.inf

    @property
    def forks(self) -> bool:
        """Whether a worker can be a copy of this process. What it takes with it must not have
        begun to run in threads, nor on a GPU.
        """
        return sys.platform == "linux" and all(map(is_cpu, self.devices))


def run_in_workers(
    jobs: Iterable[Job], work: Work, engine: Engine
) -> Generator[Outcome, None, None]:
    """Do the jobs, each in one of several processes. Outcomes in the order of the jobs.

    jobs: may take its time to give the next one, and is asked for it in another thread
    If the iteration ends early, by a signal or otherwise, the workers drop what they have in hand.
    """
    pool = _Pool(work, engine)
    try:
        yield from pool.outcomes(_Feed(jobs, work.reading, ahead=JOBS_A_WORKER * engine.workers))
    finally:
        pool.stop()


@dataclass
class _Worker:
    """A process, the pipe to it, and the jobs that it has been given, in order.

    nb_made: of the first of them, whose outputs are on their way; then comes the one in hand
    """

    process: BaseProcess
    pipe: Connection
    device: torch.device
    jobs: deque[tuple[int, Job]] = field(default_factory=deque)
    nb_made: int = 0

    @property
    def nb_left(self) -> int:
        """Jobs in hand or to be."""
        return len(self.jobs) - self.nb_made

    def nb_pixels(self, *more: Job) -> int:
        """Of the largest image among its jobs: it works on one at a time."""
        left = itertools.islice(self.jobs, self.nb_made, None)
        return max((job.nb_pixels for job in (*more, *(job for _, job in left))), default=0)


class _Feed:
    """Jobs from an iterator that may be slow, as where paths come from another program.

    Their files are read ahead here, from disks that may be slow too.
    """

    def __init__(self, jobs: Iterable[Job], reading: Reading, ahead: int) -> None:
        self._reading = reading
        self._queue: queue.Queue[Job | None] = queue.Queue(ahead)
        self._returned: deque[tuple[int, Job]] = deque()
        self._jobs = UntilError(jobs)
        self._nb_taken = 0
        self.ended = False
        threading.Thread(target=self._fill, daemon=True).start()

    def take(self) -> tuple[int, Job] | None:
        """The next job and its place, if there is one yet."""
        if self._returned:
            return self._returned.popleft()
        if self.ended:
            return None
        try:
            job = self._queue.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self.ended = True
            return None
        self._nb_taken += 1
        return self._nb_taken - 1, job

    def give_back(self, jobs: Iterable[tuple[int, Job]]) -> None:
        """Jobs that were taken and not begun, to be taken next."""
        self._returned.extendleft(reversed(list(jobs)))

    @property
    def is_empty(self) -> bool:
        """Whether there will be no more."""
        return self.ended and not self._returned

    def raise_error(self) -> None:
        """Raise what the iterator raised after the last job, if it did."""
        self._jobs.raise_error()

    def _fill(self) -> None:
        try:
            for job in self._jobs:
                here = job.copy or job.source
                nb_pixels = look_ahead(here, self._reading) if isinstance(here, Path) else 0
                self._queue.put(replace(job, nb_pixels=nb_pixels))
        finally:
            self._queue.put(None)


class _Pool:
    """The workers."""

    def __init__(self, work: Work, engine: Engine) -> None:
        self._context: Any = multiprocessing.get_context("fork" if engine.forks else "spawn")
        self._work, self._engine = replace(work, model=work.model.to("cpu")), engine
        devices = itertools.islice(itertools.cycle(engine.devices), engine.workers)
        self._workers = [self._started(device) for device in devices]

    def outcomes(self, feed: _Feed) -> Iterator[Outcome]:
        """What becomes of each job, in their order; then raises what their iterator raised."""
        done: dict[int, Outcome] = {}
        first = 0
        while not feed.is_empty or done or any(worker.jobs for worker in self._workers):
            self._give(feed, end=first + AHEAD * len(self._workers))
            done.update(self._arrived(feed))
            while first in done:
                yield done.pop(first)
                first += 1
        feed.raise_error()

    def stop(self) -> None:
        """End the workers. What they have in hand is dropped, and leaves nothing behind."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(END_S)
            worker.process.kill()
            worker.process.join()

    def _give(self, feed: _Feed, end: int) -> None:
        """Give jobs, up to a place, to those who have fewest, until all have enough."""
        while True:
            worker = min(self._workers, key=lambda worker: worker.nb_left)
            taken = feed.take() if worker.nb_left < JOBS_A_WORKER else None
            if taken is None:
                return
            if taken[0] >= end or not self._has_room(worker, taken[1]):
                feed.give_back([taken])
                return
            try:
                worker.pipe.send(taken[1])
            except OSError:  # it has died, as `_arrived` will find
                feed.give_back([taken])
                return
            worker.jobs.append(taken)

    def _has_room(self, worker: _Worker, job: Job) -> bool:
        """Whether a job may be a worker's next, by the images that others have in hand."""
        others = sum(other.nb_pixels() for other in self._workers if other is not worker)
        return not others or others + worker.nb_pixels(job) <= self._engine.max_pixels

    def _arrived(self, feed: _Feed) -> dict[int, Outcome]:
        """What has become of jobs meanwhile, by their places. Waits for it a moment."""
        check()
        arrived = {}
        for pipe in wait([worker.pipe for worker in self._workers], POLL_S):
            i = next(i for i, worker in enumerate(self._workers) if worker.pipe is pipe)
            worker = self._workers[i]
            try:
                outcome = worker.pipe.recv()
            except (EOFError, OSError):
                self._workers[i] = self._started(worker.device)
                if worker.nb_left:
                    place, job = worker.jobs[worker.nb_made]
                    del worker.jobs[worker.nb_made]
                    arrived[place] = Outcome(job, error=_death_of(worker.process, job))
                feed.give_back(worker.jobs)
                worker.pipe.close()
            else:
                if outcome == MADE:
                    worker.nb_made += 1
                    continue
                worker.nb_made = max(0, worker.nb_made - 1)
                place, _ = worker.jobs.popleft()
                arrived[place] = outcome
        return arrived

    def _started(self, device: torch.device) -> _Worker:
        """A new one, on a device. A signal that arrives meanwhile is for this process alone."""
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._work, device, self._engine.threads)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with signals_held():
            process.start()
        theirs.close()
        return _Worker(process, ours, device)


def _serve(pipe: Connection, work: Work, device: torch.device, nb_threads: int) -> None:
    """What a worker does: the jobs that come, until it is ended."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    # The parent, who gets the others too, ends its workers by SIGTERM. Not ignored for a moment:
    # that would lose one that has arrived since the fork.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    forget()
    try:
        with signals_raise():
            release_signals()
            set_threads(nb_threads)
            ready = work.on(device)
            if ready.place is not None:
                _serve_sending(pipe, ready, Uploads(ready.place))
            while True:
                pipe.send(made(_next_job(pipe), ready))
    except (Interrupted, EOFError, OSError):
        os._exit(1)  # the parent has ended, or wants this to; nothing is left to put away


def _serve_sending(pipe: Connection, work: Work, uploads: Uploads) -> NoReturn:
    """The same where the outputs are sent to the cloud, while the next job is done."""
    while True:
        while not pipe.poll(POLL_S):
            check()
            for outcome in uploads.arrived():
                pipe.send(outcome)
        outcome = made(_next_job(pipe), work)
        pipe.send(MADE)
        for arrived in uploads.add(outcome):
            pipe.send(arrived)


def _next_job(pipe: Connection) -> Job:
    """The next job. A signal that arrives just before a read begins does not break it off, so that
    nothing is read before there is something.
    """
    while not pipe.poll(POLL_S):
        check()
    job: Job = pipe.recv()
    return job


def _death_of(process: BaseProcess, job: Job) -> ImageError:
    """The error of the image that a worker had in hand when it died."""
    process.join()
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    remedy = "it may need more memory than there is; give fewer `workers` and `retry_failed`"
    return ImageError(job.source, f"the process that worked on it was {how}", remedy)
