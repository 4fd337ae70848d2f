"""A folder of this process for copies of what lies elsewhere, until its run ends.

It is in the system's folder of temporary files, which TMPDIR sets. What a killed process has left
goes when the next one makes its own.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _LOCK = "amg-copies-", ".lock"


class _Folder:
    """The folder, once it is needed. Its lock says that the process lives."""

    path: Path | None = None
    owner = 0
    lock: FileLock | None = None
    numbers = itertools.count()
    making = threading.Lock()


def new_copy() -> Path:
    """A path for a copy, where nothing is yet. Raises OSError."""
    with _Folder.making:
        if _Folder.path is None or _Folder.owner != os.getpid():
            _remove_left()
            path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            _Folder.lock = FileLock(path / _LOCK)
            _Folder.lock.acquire()
            _Folder.path, _Folder.owner = path, os.getpid()
            atexit.register(_remove, path, os.getpid())
        return _Folder.path / str(next(_Folder.numbers))


def remove_copies() -> None:
    """The folder goes, with what is in it; the next copy is in a new one."""
    with _Folder.making:
        if _Folder.path is not None:
            _remove(_Folder.path, _Folder.owner)
            _Folder.path = None
            if _Folder.lock is not None:
                _Folder.lock.release()


def _remove(path: Path, owner: int) -> None:
    if owner == os.getpid():  # not in a process that was forked
        shutil.rmtree(path, ignore_errors=True)


def _remove_left() -> None:
    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # One without a lock is being made.
        if (old / _LOCK).exists():
            with suppress(OSError, Timeout), FileLock(old / _LOCK, timeout=0):
                shutil.rmtree(old, ignore_errors=True)
