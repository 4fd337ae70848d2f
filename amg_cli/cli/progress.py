"""A bar on stderr, for who looks at it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from amg_cli.core.interrupts import check

T = TypeVar("T")


def progress(things: Iterable[T], quiet: bool, total: int | None = None) -> Iterator[T]:
    """The things, one image's each, as they come; none any more once a signal has arrived."""
    hidden = quiet or not sys.stderr.isatty()
    for thing in tqdm(things, total=total, unit="image", disable=hidden, file=sys.stderr):
        check()
        yield thing
