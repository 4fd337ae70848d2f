"""Two paths exchanged in one step, where the system can: each is whole at every moment."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2
_RENAME_SWAP = 2  # of macOS's renamex_np
# What a kernel or a file system that cannot do it answers.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders of one file system take each other's place.

    -> False, with nothing changed, where this system or file system cannot. Errors: OSError.
    """
    rename = _rename()
    if rename is None or rename(os.fsencode(one), os.fsencode(other)) == 0:
        return rename is not None
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))


@cache
def _rename() -> Any:
    """The system's function, of the two paths; None where there is none."""
    if sys.platform == "win32":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):  # glibc has it since 2.28, musl since 1.2
        return lambda one, other: libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE)
    if hasattr(libc, "renamex_np"):
        return lambda one, other: libc.renamex_np(one, other, _RENAME_SWAP)
    return None
