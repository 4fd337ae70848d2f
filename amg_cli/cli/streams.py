"""The command's own stdout and stderr: one whose loss ends the run, one whose loss costs words.

Both are files of their own beside 1 and 2, so that what C libraries print to 2 can be taken from
there without amg's lines. A standard file that is closed is opened on nothing: else the next file
to be opened, such as a mask, would be file 2, and get what libraries print.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from amg_cli.core.errors import AmgError, reason

STDIN, STDOUT, STDERR = 0, 1, 2


class ResultsError(AmgError):
    """What should go to stdout cannot be written there."""

    exit_code = 5


class ReaderGoneError(ResultsError):
    """Whoever read stdout has closed it, as `head` does: no failure, and nothing to be said."""

    exit_code = 141  # the shell's for a process that SIGPIPE ended


class _Results(io.FileIO):
    """Where results go. What cannot be written raises ResultsError, once; then all is dropped."""

    lost = False

    def write(self, data: object) -> int:
        """As a file does, or raises ResultsError."""
        if not self.lost:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.lost = True
                raise _results_error(error) from error
        return memoryview(data).nbytes  # type: ignore[arg-type]


class _Closed(_Results):
    """stdout of a process that was started without one."""

    def write(self, data: object) -> int:
        """Raises ResultsError; later, nothing is written."""
        if not self.lost:
            self.lost = True
            raise _results_error(OSError(errno.EBADF, "it is closed"))
        return super().write(data)


class _Words(io.FileIO):
    """Where words go. What cannot be written is lost, and nothing else."""

    def write(self, data: object) -> int:
        """As a file does, or nothing."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


@contextmanager
def own_streams() -> Iterator[None]:
    """Inside, `sys.stdout` and `sys.stderr` are the command's; those of a test in memory stay."""
    closed = [file for file in (STDIN, STDOUT, STDERR) if not _is_open(file)]
    for file in closed:
        _open_on_nothing(file)
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__:
        kind = _Closed if STDOUT in closed else _Results
        sys.stdout = _text(kind(os.dup(STDOUT), "w"), like=before[0])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Words(os.dup(STDERR), "w"), like=before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _text(raw: io.FileIO, like: TextIO | None) -> io.TextIOWrapper:
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=True)


def _results_error(error: OSError) -> ResultsError:
    if error.errno == errno.EPIPE:
        return ReaderGoneError("stdout", "its reader is gone")
    cause = f"cannot write results to it: {reason(error)}"
    return ResultsError("stdout", cause, "what is done is kept")


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _open_on_nothing(file: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != file:
        os.dup2(nothing, file)
        os.close(nothing)
    os.set_inheritable(file, True)
