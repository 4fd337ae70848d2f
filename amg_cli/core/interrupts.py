"""Signals that ask the process to end, so that nothing can swallow one or leave half a change.

Python runs a signal's handler in the main thread between any two steps, also in those that C code
calls back and whose exceptions it may replace by its own: a numpy conversion makes a TypeError of
a KeyboardInterrupt. So a signal raises where it arrives, and is remembered until the work has
ended. `check` raises it again where it was lost; `shielded` puts it off while a change is made that
must not be left half done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType

# SIGHUP is what a closed terminal sends; Windows has none.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interrupted(BaseException):
    """A signal asked the process to end. No Exception, and no KeyboardInterrupt that others catch.

    number: the signal's
    remedy: how to go on from there; whoever knows the work sets it
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.remedy = ""

    def __str__(self) -> str:
        by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
        return f"interrupted{by}" + (f"; {self.remedy}" if self.remedy else "")

    @property
    def exit_code(self) -> int:
        """The shell's for a process that the signal ended: 130, 143 or 129."""
        return 128 + self.number


class _State:
    """Of the process, as signals are: the one that arrived, and how many shields are up."""

    arrived: Interrupted | None = None
    shields = 0


@contextmanager
def signals_raise() -> Iterator[None]:
    """Inside, the signals of `SIGNALS` raise `Interrupted` in the main thread.

    A signal that the process was started to ignore stays ignored: `nohup` does that, and a shell
    for what it runs in the background. At the end one that was swallowed is raised, whatever else
    is. In another thread than the main one, where Python takes no signals, nothing changes.
    """
    before = {}
    if _in_main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _arrive)
    try:
        yield
    finally:
        try:
            check()
        finally:
            _State.arrived = None
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def interrupted_with(remedy: str) -> Iterator[None]:
    """Give an `Interrupted` that comes from inside the words for how to go on, if it has none."""
    try:
        yield
        check()
    except Interrupted as interrupted:
        interrupted.remedy = interrupted.remedy or remedy
        raise


@contextmanager
def shielded() -> Iterator[None]:
    """What is inside is done whole: a signal that arrives meanwhile raises at the end."""
    if not _in_main_thread():
        yield
        return
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
    check()


def check() -> None:
    """Raise `Interrupted` if a signal has arrived, even if what it raised was swallowed."""
    if _State.arrived is not None and not _State.shields and _in_main_thread():
        raise _State.arrived


def forget() -> None:
    """In a process that was forked: what arrived was for its parent, and so are the shields."""
    _State.arrived, _State.shields = None, 0


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals wait until the block ends; in what is started inside, until it releases them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """In a process that was started while signals were held: they come again."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_parent() -> None:
    """Wait for the parent's end, however it ended, and end this process too. For a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _arrive(number: int, _frame: FrameType | None) -> None:
    if _State.arrived is not None and not _State.shields:
        # Asked a second time: at once.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    if _State.arrived is None:
        _State.arrived = Interrupted(number)
    check()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
