"""What runs on the nodes of a Ray cluster: the desk that hands out jobs, and the actors that do
them.

It is imported there before torch is, so that what a process is to have set is set in time.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amg_cli.batch.job import Job, Outcome

MOST_TRIES = 3  # of an image whose actor ends each time
SEEN_S = 10.0  # what a file system may take to show on one node what another has written


class Desk:
    """Jobs in pieces, each of which keeps its place until it is done; on the driver's node.

    A reader that is begun anew, as Ray does where one is lost, gets at each place what it got
    before. It is also known here how often each job was begun, whoever has ended meanwhile. What
    the driver sends may come in another order than it was sent in, as Ray has it for actors that
    are asynchronous.
    """

    def __init__(self, size: int) -> None:
        """size: of a piece, in jobs, where there are so many"""
        self._size = size
        self._jobs: deque[tuple[int, bytes]] = deque()
        self._pieces: dict[int, list[tuple[int, bytes]]] = {}
        self._next, self._nb_put = 0, 0
        self._nb_jobs: int | None = None  # of all; None as long as nobody knows
        self._changed = asyncio.Condition()
        self._begun: Counter[int] = Counter()

    async def put(self, number: int, job: bytes) -> None:
        """The next job, pickled."""
        async with self._changed:
            self._jobs.append((number, job))
            self._nb_put += 1
            self._changed.notify_all()

    async def end(self, nb_jobs: int) -> None:
        """So many jobs there are in all, some of which may yet come."""
        async with self._changed:
            self._nb_jobs = nb_jobs
            self._changed.notify_all()

    async def take(self, place: int) -> list[tuple[int, bytes]] | None:
        """The piece at a place, as soon as there is one; empty for one that is done.

        None after the last.
        """
        async with self._changed:
            if place >= self._next:
                await self._changed.wait_for(lambda: self._jobs or self._nb_put == self._nb_jobs)
                if not self._jobs:
                    return None
                size = min(self._size, len(self._jobs))
                self._pieces[place] = [self._jobs.popleft() for _ in range(size)]
                self._next = place + 1
            return self._pieces.get(place, [])

    async def begin(self, number: int) -> int:
        """-> how often a job has been begun, this time included."""
        self._begun[number] += 1
        return self._begun[number]

    async def drop(self, place: int) -> None:
        """The piece at a place is done."""
        for number, _ in self._pieces.pop(place, []):
            self._begun.pop(number, None)


def pieces_at(desk: Any, places: range) -> Iterator[Any]:
    """The pieces at the places, a block of Ray Data's each, until there are no more."""
    import pyarrow
    import ray

    for place in places:
        piece = ray.get(desk.take.remote(place))
        if piece is None:
            return
        yield pyarrow.table({"place": [place], "jobs": [pickle.dumps(piece)]})


@dataclass(frozen=True)
class Setup:
    """What an actor is told.

    version:   of amg, as the driver is
    threads:   CPU threads it has
    folder:    the driver's, in which relative paths are
    device:    torch's name for what it works on
    landmarks: files of the driver, with what is in them, that it must see too
    prepare:   what is done first, before torch is loaded
    """

    version: str
    threads: int
    folder: Path
    device: str = "cpu"
    landmarks: Mapping[Path, bytes] = field(default_factory=dict)
    prepare: Callable[[], object] = bool


@dataclass(frozen=True)
class Answer:
    """What an actor made of a piece.

    outcomes: with the number of each job
    refusal:  why it can do none, and what can be done about it; None where it can
    unseen:   folders of images that it does not see
    node:     the machine it is on
    """

    place: int
    outcomes: Sequence[tuple[int, Outcome]] = ()
    refusal: tuple[str, str] | None = None
    unseen: frozenset[Path] = frozenset()
    node: str = field(default_factory=socket.gethostname)


class Actor:
    """Does jobs, with the model that it has got once. Ray Data calls it with a row at a time."""

    def __init__(self, desk: Any, work: Sequence[Any], setup: Setup) -> None:
        """work: what leads to the `Work`, in a list, so that Ray does not fetch it too early"""
        import ray

        setup.prepare()
        with suppress(OSError):  # where it is not there, all paths may be from the root
            os.chdir(setup.folder)
        self._desk = desk
        self._refusal = _why_unfit(setup)
        if self._refusal is None:
            import torch

            from amg_cli.models.devices import set_threads

            set_threads(setup.threads)
            self._work = ray.get(work[0]).on(torch.device(setup.device))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of jobs to a row of outcomes."""
        piece = pickle.loads(row["jobs"])
        if self._refusal is not None:
            answer = Answer(row["place"], refusal=self._refusal)
        else:
            outcomes = [(number, self._outcome(number, pickle.loads(job))) for number, job in piece]
            failed = (outcome.job.source for _, outcome in outcomes if outcome.error)
            folders = {source.parent for source in failed if isinstance(source, Path)}
            unseen = frozenset(folder for folder in folders if not os.path.isdir(folder))  # noqa: PTH112
            answer = Answer(row["place"], outcomes, unseen=unseen)
        return {"answer": pickle.dumps(answer)}

    def _outcome(self, number: int, job: Job) -> Outcome:
        import ray

        from amg_cli.batch.commit import recover
        from amg_cli.batch.engines.local import attempt
        from amg_cli.batch.job import Outcome
        from amg_cli.core.errors import ImageError

        tries = ray.get(self._desk.begin.remote(number))
        if tries > 1:  # what the actor was writing that has ended
            recover({target.parent for target in job.targets})
        if tries > MOST_TRIES:
            cause = f"the actor that worked on it ended, {MOST_TRIES} times"
            remedy = "it may need more memory than there is; give more `cpus_per_actor`"
            error = ImageError(job.source, cause, f"{remedy} and `retry_failed`")
            return Outcome(job, error=error)
        return attempt(job, self._work)


def _why_unfit(setup: Setup) -> tuple[str, str] | None:
    """Why an actor cannot work where it is, and what to do about it."""
    import time

    from amg_cli.core.version import __version__

    if __version__ != setup.version:
        return f"has amg {__version__}, not {setup.version}", "install the same on all nodes"
    end = time.monotonic() + SEEN_S
    for path, content in setup.landmarks.items():
        while not _is_there(path, content):
            if time.monotonic() > end:
                cause = f"does not see {path}, as this machine does"
                return cause, "give an `output` that is at the same path on all nodes"
            time.sleep(0.2)
    return None


def _is_there(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
