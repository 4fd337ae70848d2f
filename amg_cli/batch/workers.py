"""The engine of several processes: each does one image after another, with threads of its own.

A CPU does more with a process a core than with threads that share one image's work. The processes
are forked where that is safe, after the model is loaded and before anything runs in threads, so
that its weights are in memory once; elsewhere they share the weights as torch does.

    this process                      each worker
    job ------------ pipe ----------> attempt(job, work)
    in order <------ pipe ----------- Outcome

Outcomes come in the order of the jobs, so that what is written of them does not depend on who was
first. A worker has one job in hand and the next in its pipe. One that dies takes the job in hand
with it, which has then failed; the next goes to the worker that takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.local import Work, attempt
from amg_cli.core.errors import AmgError, ImageError
from amg_cli.core.interrupts import SIGNALS, Interrupted, check, forget, signals_raise
from amg_cli.models.devices import is_cpu, set_threads

JOBS_A_WORKER = 2  # one in hand, and one that it need not wait for
AHEAD = 16  # jobs a worker that may be done before the first of them is
POLL_S = 0.05  # how often it is looked whether there is a new job, where none was at once
END_S = 10  # what a worker may take to put away what it was writing


def run_in_workers(
    jobs: Iterable[Job], work: Work, nb_workers: int, nb_threads: int
) -> Generator[Outcome, None, None]:
    """Do the jobs, by `nb_workers` processes of `nb_threads` CPU threads. Outcomes in their order.

    jobs: may take its time to give the next one, and is asked for it in another thread
    If the iteration ends early, by a signal or otherwise, the workers drop what they have in hand.
    """
    pool = _Pool(work, nb_workers, nb_threads)
    try:
        yield from pool.outcomes(_Feed(jobs, ahead=JOBS_A_WORKER * nb_workers))
    finally:
        pool.stop()


@dataclass
class _Worker:
    """A process, the pipe to it, and the jobs that it has been given, the one in hand first."""

    process: BaseProcess
    pipe: Connection
    jobs: deque[tuple[int, Job]] = field(default_factory=deque)


class _Feed:
    """Jobs from an iterator that may be slow, as where paths come from another program."""

    def __init__(self, jobs: Iterable[Job], ahead: int) -> None:
        self._queue: queue.Queue[Job | None] = queue.Queue(ahead)
        self._returned: deque[tuple[int, Job]] = deque()
        self._error: Exception | None = None
        self._nb_taken = 0
        self.ended = False
        threading.Thread(target=self._fill, args=(jobs,), daemon=True).start()

    def take(self) -> tuple[int, Job] | None:
        """The next job and its place, if there is one yet. Raises what the iterator raised."""
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
            if self._error is not None:
                raise self._error
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

    def _fill(self, jobs: Iterable[Job]) -> None:
        try:
            for job in jobs:
                self._queue.put(job)
        except (AmgError, OSError, ValueError) as error:
            self._error = error  # to be raised where jobs are taken
        finally:
            self._queue.put(None)


class _Pool:
    """The workers."""

    def __init__(self, work: Work, nb_workers: int, nb_threads: int) -> None:
        # What a fork takes with it must not have begun to run in threads.
        method = "fork" if sys.platform == "linux" and is_cpu(work.model.device) else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._work, self._nb_threads = work, nb_threads
        self._workers = [self._started() for _ in range(nb_workers)]

    def outcomes(self, feed: _Feed) -> Iterator[Outcome]:
        """What becomes of each job, in their order."""
        done: dict[int, Outcome] = {}
        first = 0
        while not feed.is_empty or done or any(worker.jobs for worker in self._workers):
            self._give(feed, end=first + AHEAD * len(self._workers))
            done.update(self._arrived(feed))
            while first in done:
                yield done.pop(first)
                first += 1

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
            worker = min(self._workers, key=lambda worker: len(worker.jobs))
            taken = feed.take() if len(worker.jobs) < JOBS_A_WORKER else None
            if taken is None:
                return
            if taken[0] >= end:
                feed.give_back([taken])
                return
            try:
                worker.pipe.send(taken[1])
            except OSError:  # it has died, as `_arrived` will find
                feed.give_back([taken])
                return
            worker.jobs.append(taken)

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
                self._workers[i] = self._started()
                if worker.jobs:
                    place, job = worker.jobs.popleft()
                    arrived[place] = Outcome(job, error=_death_of(worker.process, job))
                    feed.give_back(worker.jobs)
                worker.pipe.close()
            else:
                place, _ = worker.jobs.popleft()
                arrived[place] = outcome
        return arrived

    def _started(self) -> _Worker:
        """A new one. A signal that arrives meanwhile is for this process alone."""
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._work, self._nb_threads)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with _signals_held():
            process.start()
        theirs.close()
        return _Worker(process, ours)


def _serve(pipe: Connection, work: Work, nb_threads: int) -> None:
    """What a worker does: the jobs that come, until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent, who gets them too, ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    forget()
    try:
        with signals_raise():
            _release_signals()
            set_threads(nb_threads)
            while True:
                pipe.send(attempt(pipe.recv(), work))
    except (Interrupted, EOFError, OSError):
        os._exit(1)  # the parent has ended, or wants this to; nothing is left to put away


def _end_with_parent() -> None:
    """End when the parent has, however it did: else the next run's work would be disturbed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _death_of(process: BaseProcess, job: Job) -> ImageError:
    """The error of the image that a worker had in hand when it died."""
    process.join()
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    remedy = "it may need more memory than there is; give fewer `workers` and `retry_failed`"
    return ImageError(job.source, f"the process that worked on it was {how}", remedy)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait until the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _release_signals() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
