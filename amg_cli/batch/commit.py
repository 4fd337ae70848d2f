"""Output that appears whole or not at all, also where the process is killed.

What is written lies first in a hidden workspace beside its target:

    .amg-XXXXXXXX/lock        held by the process that writes, for as long as it lives
    .amg-XXXXXXXX/new/NAME    what is being written
    .amg-XXXXXXXX/old/NAME    what was there before, where the two cannot be exchanged in one step
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from amg_cli.batch.exchange import exchange
from amg_cli.core.errors import OutputError, OutputExistsError, reason
from amg_cli.core.interrupts import check, shielded

PREFIX = ".amg-"
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")  # as tempfile makes them
_LOCK, _NEW, _OLD = _PARTS = ("lock", "new", "old")
_TRIES = 10


@contextmanager
def committed(target: Path, overwrite: bool) -> Iterator[Path]:
    """A path to write a file or folder to, that takes `target`'s place when the block ends well.

    Where the system can, it takes that of output that is there in one step; elsewhere, a process
    killed between two steps leaves what `recover` puts right. If the block raises, or a signal
    arrives, nothing changes. Raises OSError, and OutputExistsError where `target` exists and is
    not to be replaced.
    """
    workspace = None
    try:
        with shielded():
            target.parent.mkdir(parents=True, exist_ok=True)
            workspace = _Workspace.beside(target)
        yield workspace.new
        check()
        with shielded():
            workspace.put(overwrite)
    finally:
        with shielded():
            if workspace is not None:
                workspace.remove()


def recover(folders: Iterable[Path]) -> None:
    """Finish or remove what killed processes have left in `folders`; not that of living ones.

    A target that was set aside and whose new output is whole, but was not yet in place, gets it.
    What cannot be changed, as in a folder that is read-only, stays.
    """
    for folder in folders:
        for path in _workspaces_in(folder):
            with suppress(OSError), shielded():
                if lock := _locked(path):
                    _finish(path)
                    _remove(path, lock)


def _finish(workspace: Path) -> None:
    """Put in place what was about to be, where the target is set aside."""
    for old in (workspace / _OLD).glob("*"):
        target, new = workspace.parent / old.name, workspace / _NEW / old.name
        if not os.path.lexists(target):
            (new if os.path.lexists(new) else old).rename(target)


def check_writable(folder: Path) -> None:
    """Raises OutputError where nothing can be written to a folder, which must exist."""
    try:
        with shielded():
            _Workspace.beside(folder / "any").remove()
    except OSError as error:
        cause = f"cannot write to it: {reason(error)}"
        raise OutputError(folder, cause, "give a folder that can be written to") from error


def exists_error(target: Path) -> OutputExistsError:
    """The error for output that is there already."""
    return OutputExistsError(target, "exists", "give `on_exists` overwrite")


@dataclass(frozen=True)
class _Workspace:
    """The hidden folder in which one target's output is made."""

    target: Path
    path: Path
    lock: BaseFileLock

    @staticmethod
    def beside(target: Path) -> _Workspace:
        """A new one. Errors: OSError."""
        for _ in range(_TRIES):
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
            try:
                # Until it is locked, another process may take it for a dead one's, and remove it.
                if lock := _locked(path):
                    (path / _NEW).mkdir()
                    return _Workspace(target, path, lock)
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
        raise OSError(f"{_TRIES} folders vanished as soon as they were made")

    @property
    def new(self) -> Path:
        """Where to write."""
        return self.path / _NEW / self.target.name

    def put(self, overwrite: bool) -> None:
        """Let the new output take the target's place."""
        exists = os.path.lexists(self.target)
        if exists and not overwrite:
            raise exists_error(self.target)
        if not exists:
            self.new.rename(self.target)
        elif not exchange(self.new, self.target):
            self._replace()

    def _replace(self) -> None:
        """A file in one step, a folder in two."""
        if self.target.is_file() and self.new.is_file():
            self.new.replace(self.target)
            return
        old = self.path / _OLD / self.target.name
        old.parent.mkdir()
        self.target.rename(old)
        try:
            self.new.rename(self.target)
        except OSError:
            old.rename(self.target)
            raise

    def remove(self) -> None:
        """Remove what is left in it, such as the output that was replaced."""
        _remove(self.path, self.lock)


def _workspaces_in(folder: Path) -> list[Path]:
    """Those of any process. A mask's own folder may have such a name, but holds other things."""
    try:
        with os.scandir(folder) as entries:
            named = [Path(e.path) for e in entries if _NAME.fullmatch(e.name) and e.is_dir()]
        return [path for path in named if {part.name for part in path.iterdir()} <= set(_PARTS)]
    except OSError:  # no such folder yet, or one that another process has just removed
        return []


def _locked(workspace: Path) -> BaseFileLock | None:
    """The lock on a workspace, taken; None where a living process has it, or it is gone."""
    lock = FileLock(workspace / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (FileNotFoundError, Timeout):
        return None
    return lock if workspace.exists() else None


def _remove(workspace: Path, lock: BaseFileLock) -> None:
    # The lock is the last to go, so that whoever is killed here leaves what `recover` knows.
    for part in (_NEW, _OLD):
        _remove_folder(workspace / part)
    lock.release()
    with suppress(OSError):
        (workspace / _LOCK).unlink()
    _remove_folder(workspace)


def _remove_folder(folder: Path) -> None:
    """In one step where it is empty, as it mostly is."""
    try:
        folder.rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
