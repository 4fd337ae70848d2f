"""Who writes to a run's folder: one process at a time, which others can name."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from amg_cli.core.errors import OutputError

DEAD_HOLDER_S = 20  # what a killed run's workers may take to be gone, who hold its lock too


@contextmanager
def held_alone(path: Path, output: object) -> Iterator[None]:
    """A lock on the disk, held. Raises OutputError, saying who has it, if it is another's.

    output: what is written to, as the user knows it
    """
    holder = holder_beside(path)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            # Workers of a run that was killed end a moment after it.
            alive = may_be_alive(_read(holder))
            lock.acquire(timeout=0 if alive else DEAD_HOLDER_S)
    except Timeout:
        raise held_error(output, _read(holder)) from None
    try:
        holder.write_text(json.dumps(this_process()) + "\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def holder_beside(lock: Path) -> Path:
    """The file that says who has a lock, while anybody has."""
    return lock.with_suffix(".holder")


def this_process() -> dict[str, Any]:
    """What others know this process by."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def held_error(output: object, holder: Mapping[str, Any] | None) -> OutputError:
    """The error where another process writes."""
    who = f": process {holder['pid']} on {holder['host']}" if holder else ""
    cause = f"another run is writing to it{who}"
    return OutputError(output, cause, "wait for its end, or give another `output`")


def holder_of(text: str | bytes) -> dict[str, Any] | None:
    """A process by its text; None for no text of one."""
    try:
        values = json.loads(text)
        return {**values, "pid": int(values["pid"]), "host": str(values["host"])}
    except (ValueError, TypeError, LookupError):
        return None


def may_be_alive(holder: Mapping[str, Any] | None) -> bool:
    """Whether a process may be running; one of another machine may. None: it is not known whose."""
    if holder is None or holder["host"] != socket.gethostname() or sys.platform == "win32":
        return holder is not None
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return holder_of(path.read_text())
    except OSError:
        return None
