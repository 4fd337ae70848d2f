"""What an output format is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amg_cli.core.mask import Mask


@dataclass(frozen=True)
class Format:
    """How the masks of one image are kept.

    suffix: of the output's name; empty where the output is a folder
    is_own: whether a file or folder begins as what `write` writes; a damaged one may, and another
        program's may not. Raises OSError.
    write:  the masks to a path that does not exist yet. Raises OSError.
    read:   what `write` wrote. Raises OSError, or ValueError for a file of another kind.
    """

    suffix: str
    is_own: Callable[[Path], bool]
    write: Callable[[Sequence[Mask], Path], None]
    read: Callable[[Path], list[Mask]]
