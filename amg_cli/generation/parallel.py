"""Parts of one image's work side by side: a CPU's threads do more apart than on one product.

The products of a few prompts are small, so that threads that share them wait for each other, and
what numpy and Python do between them has one thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from amg_cli.core.timings import Timings, collect, count_side_by_side
from amg_cli.models.threads import can_limit_threads, limit_this_thread

MOST_WORKERS = 8  # Python runs in one of them at a time, and each holds masks of its own

T = TypeVar("T")
R = TypeVar("R")


def nb_workers() -> int:
    """How many work at once here: as many as torch has threads, at most `MOST_WORKERS`."""
    return min(torch.get_num_threads(), MOST_WORKERS)


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` of each item, in order, without gradients.

    By `nb_workers`, or fewer for fewer items, who share the caller's threads out; where threads of
    a worker's own cannot be had, by the caller. No other thread's number changes. What an item
    raises is raised when the items under way are done; the others are then not begun.
    """
    workers = min(nb_workers(), len(items))
    share = torch.get_num_threads() // max(1, workers)
    if workers <= 1 or not can_limit_threads(share):
        return [work(item) for item in items]

    def one(item: T) -> tuple[R, Timings]:
        """What a worker makes of an item, and the time it took."""
        with torch.inference_mode(), collect() as timings:
            return work(item), timings

    start = time.perf_counter()
    pool = ThreadPoolExecutor(workers, initializer=limit_this_thread, initargs=(share,))
    try:
        done = list(pool.map(one, items))
    finally:
        pool.shutdown(cancel_futures=True)
    count_side_by_side([timings for _, timings in done], time.perf_counter() - start)
    return [result for result, _ in done]
