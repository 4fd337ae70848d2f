"""Outcomes whose outputs are on their way to the cloud, while the next image is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from amg_cli.batch.cloud.place import Place
from amg_cli.batch.job import Outcome

IMAGES_AT_ONCE = 8  # of one process, whose outputs are sent at one time


class Uploads:
    """Sends the outputs of one image after another, in threads, and gives the outcomes in order.

    What waits is bounded: `add` waits for the oldest where there are too many.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._threads = ThreadPoolExecutor(IMAGES_AT_ONCE, thread_name_prefix="uploads")
        self._waiting: deque[Future[Outcome]] = deque()

    def add(self, outcome: Outcome) -> Iterator[Outcome]:
        """One more, whose outputs are made. -> those that have arrived meanwhile, in order"""
        self._waiting.append(self._threads.submit(self._place.sent, outcome))
        while len(self._waiting) > IMAGES_AT_ONCE:
            yield self._waiting.popleft().result()
        yield from self.arrived()

    def arrived(self) -> Iterator[Outcome]:
        """Those that have arrived, in order, without waiting."""
        while self._waiting and self._waiting[0].done():
            yield self._waiting.popleft().result()

    def rest(self) -> Iterator[Outcome]:
        """All others, as they arrive."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def stop(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
