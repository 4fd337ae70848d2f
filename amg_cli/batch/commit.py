"""Output that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amg_cli.core.errors import OutputExistsError


@contextmanager
def committed(target: Path, overwrite: bool) -> Iterator[Path]:
    """A path to write a file or folder to, that takes `target`'s place when the block ends well.

    It lies in a hidden folder beside `target`, so that the last step is a rename. What was there
    before is set aside, and removed only when the new is in place. If the block raises, nothing
    changes. Raises OSError, and OutputExistsError where `target` exists and is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=".amg-", dir=target.parent))
    try:
        new, old = workspace / "new", workspace / "old"
        yield new
        if target.exists() and not overwrite:
            raise exists_error(target)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def exists_error(target: Path) -> OutputExistsError:
    """The error for output that is there already."""
    return OutputExistsError(target, "exists", "give --on-exists skip or overwrite")
