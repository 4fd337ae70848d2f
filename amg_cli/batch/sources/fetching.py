"""Images that are no files here, fetched ahead of their turn.

    the run's jobs -> AT_ONCE threads fetch -> a folder of copies -> whoever does the image

The bytes are handed over as files: a pipe holds 64 KiB, so that writing to a process that is at
work would wait for it, and hold up the others; and who dies has lost nothing that was in a pipe. A
copy goes when its image is done; together they have `MOST_BYTES`, but for one image.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from amg_cli.batch.integrity import AGAIN, find_excess
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.jobs_ahead import UntilError
from amg_cli.batch.reading import Reading
from amg_cli.batch.sources.address import Address
from amg_cli.batch.sources.copies import new_copy, remove_copies
from amg_cli.batch.sources.fetch_one import fetch, look_up_facts
from amg_cli.batch.sources.objects import AT_ONCE
from amg_cli.core.errors import ImageError, reason

AHEAD = 2 * AT_ONCE  # jobs that are begun to be fetched before the first of them is asked for
MOST_BYTES = 2**28
POLL_S = 0.1


def fetching(
    jobs: Iterable[Job],
    reading: Reading,
    run: Callable[[Iterable[Job]], Generator[Outcome, None, None]],
) -> Generator[Outcome, None, None]:
    """What becomes of jobs, whose images are fetched ahead where they are no files here.

    run: what does the jobs, and gives their outcomes
    """
    ahead = _Ahead(reading)
    outcomes = run(ahead.jobs(jobs))
    try:
        for outcome in outcomes:
            yield outcome
            ahead.release(outcome.job)
    finally:
        outcomes.close()
        ahead.stop()


def _in_order(source: Address) -> bool:
    """Whether the next is at hand where the last was, as of rows, and in a zip."""
    in_rows = source.place is not None and source.place.kind == "rows"
    return in_rows or "::" in source.url


@dataclass
class _Slot:
    """A job, as it is when its image has been fetched."""

    number: int
    job: Job
    ready: threading.Event = field(default_factory=threading.Event)


class _Ahead:
    """The threads, and the copies that they have made."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._order: queue.Queue[_Slot | None] = queue.Queue(AHEAD)
        self._to_fetch: queue.Queue[_Slot] = queue.Queue()
        self._changed = threading.Condition()
        self._copies: dict[Path, int] = {}  # with their bytes
        self._first = 0  # the place of the job whose turn is next
        self._stopped = False

    def jobs(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The same jobs, each when its image is here. Those before the first address pass by."""
        jobs = iter(jobs)
        for job in jobs:
            if isinstance(job.source, Address):
                yield from self._fetched(itertools.chain([job], jobs))
                return
            yield job

    def release(self, job: Job) -> None:
        """The image is done: its copy can go."""
        if job.copy is not None:
            with suppress(OSError):
                job.copy.unlink()
            with self._changed:
                self._copies.pop(job.copy, None)
                self._changed.notify_all()

    def stop(self) -> None:
        """Fetch nothing more. What is being fetched ends by itself."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        remove_copies()

    def _fetched(self, jobs: Iterable[Job]) -> Iterator[Job]:
        given = UntilError(jobs)
        threading.Thread(target=self._fill, args=(given,), daemon=True).start()
        for _ in range(AT_ONCE):
            self._start_one()
        while not self._stopped:
            try:
                slot = self._order.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if slot is None:
                break
            with self._changed:
                self._first = slot.number
                self._changed.notify_all()
            slot.ready.wait()
            yield slot.job
        given.raise_error()

    def _start_one(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _fill(self, jobs: Iterable[Job]) -> None:
        """Ask for the jobs, which may take their time to come."""
        try:
            for number, job in enumerate(jobs):
                slot = _Slot(number, job)
                if not self._put(slot):
                    return
                if not isinstance(job.source, Address) or job.fault:
                    slot.ready.set()
                elif _in_order(job.source):
                    self._do(slot)
                else:
                    self._to_fetch.put(slot)
        finally:
            self._put(None)

    def _put(self, slot: _Slot | None) -> bool:
        while not self._stopped:
            with suppress(queue.Full):
                self._order.put(slot, timeout=POLL_S)
                return True
        return False

    def _serve(self) -> None:
        while not self._stopped:
            try:
                slot = self._to_fetch.get(timeout=POLL_S)
            except queue.Empty:
                continue
            done = False
            try:
                self._do(slot)
                done = True
            finally:
                if not done:  # by what nobody foresaw: another takes its place
                    self._start_one()

    def _do(self, slot: _Slot) -> None:
        try:
            slot.job = self._with_copy(slot)
        except ImageError as error:
            slot.job = replace(slot.job, fault=(error.cause, error.remedy))
        except OSError as error:
            fault = (f"cannot copy it here: {reason(error)}", "make room, or set TMPDIR")
            slot.job = replace(slot.job, fault=fault)
        finally:
            slot.ready.set()

    def _with_copy(self, slot: _Slot) -> Job:
        """The job, with the image's bytes in a file here. Raises ImageError, OSError."""
        source = slot.job.source
        assert isinstance(source, Address)
        source = replace(source, facts=look_up_facts(source))
        size = (source.facts.size if source.facts else None) or 0
        if fault := find_excess(size, self._reading.max_pixels):
            raise ImageError(source, *fault)
        copy = new_copy()
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopped
                    or sum(self._copies.values()) + size <= MOST_BYTES
                    or slot.number <= self._first
                )
            )
            if self._stopped:
                return slot.job
            self._copies[copy] = size
        length = 0
        try:
            data = fetch(source)
            length = copy.write_bytes(data)
        finally:
            with self._changed:
                self._copies[copy] = length
                if self._stopped or not length:
                    self._copies.pop(copy)
                    copy.unlink(missing_ok=True)
                self._changed.notify_all()
        if not length:
            raise ImageError(source, "empty file", AGAIN)
        return replace(slot.job, source=source, copy=copy)
