"""Where the time of a run goes, and how many masks are left at each step.

The steps are marked where they are done; only who collects spends time on it:

    with collect() as timings:
        generate(image_rgb, model)
    print(timings.seconds)
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, get_args

# In the order of the work. "logits" are the decoder's low-resolution masks; on a CPU of those that
# pass the score, on a GPU of all.
Stage = Literal[
    "read",
    "resize",
    "encode",
    "prompts",
    "logits",
    "upsample",
    "filters",
    "nms",
    "rle",
    "names",
    "write",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
Step = Literal["prompts", "candidates", "after IoU", "after stability", "after NMS"]
FUNNEL: tuple[Step, ...] = get_args(Step)


@dataclass
class Timings:
    """Seconds of each stage, and counts of the funnel; one image's, or many images' sum.

    wait: called before each look at the clock, for devices that work on by themselves
    """

    seconds: defaultdict[Stage, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[Step] = field(default_factory=Counter)
    wait: Callable[[], object] | None = None

    def add(self, other: Timings) -> None:
        """Count another image's in."""
        for stage, seconds in other.seconds.items():
            self.seconds[stage] += seconds
        self.counts.update(other.counts)

    def now(self) -> float:
        """The clock, in seconds, when the device has done its work."""
        if self.wait:
            self.wait()
        return time.perf_counter()


_collecting: ContextVar[Timings | None] = ContextVar("timings", default=None)


@contextmanager
def collect(wait: Callable[[], object] | None = None) -> Iterator[Timings]:
    """Collect the timings of all that is done inside, in this thread."""
    timings = Timings(wait=wait)
    token = _collecting.set(timings)
    try:
        yield timings
    finally:
        _collecting.reset(token)


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Count the time of what is done inside as that of a stage, one of `STAGES`."""
    timings = _collecting.get()
    if timings is None:
        yield
        return
    start = timings.now()
    try:
        yield
    finally:
        timings.seconds[stage] += timings.now() - start


def count(step: Step, number: int) -> None:
    """Count masks at a step of the funnel, one of `FUNNEL`."""
    timings = _collecting.get()
    if timings is not None:
        timings.counts[step] += number


def count_side_by_side(parts: Sequence[Timings], elapsed_s: float) -> None:
    """Count in what several threads collected while `elapsed_s` seconds passed.

    Those seconds are shared out among the stages as the threads' own were.
    """
    timings = _collecting.get()
    if timings is None:
        return
    together = Timings()
    for part in parts:
        together.add(part)
    total = sum(together.seconds.values())
    for stage, seconds in together.seconds.items():
        timings.seconds[stage] += elapsed_s * seconds / total if total else 0.0
    timings.counts.update(together.counts)
