"""Where what a run writes is to lie: in its folder, or in the cloud, for which that folder stands.

`cloud.mirror.Mirror` is the other kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amg_cli.batch.cloud.place import Place


class OnDisk:
    """A folder where all that is written lies as soon as it is written: nothing is to be sent.

    place: where in the cloud the outputs go; None for no such place
    """

    place: Place | None = None

    def shown(self, path: str | Path) -> str:
        """What a path in the folder is called, to the user."""
        return str(path)

    def exists(self, path: str | Path) -> bool:
        """Whether there is what a path in the folder stands for; of the cloud, when a run began."""
        try:
            return os.path.lexists(path)
        except (OSError, ValueError):  # such as a name the file system refuses
            return False

    def sending(self, kept_bytes: Callable[[], int]) -> AbstractContextManager[None]:
        """Inside, what is recorded is sent; at the end the rest.

        kept_bytes: how many of the masks' file are recorded
        """
        return nullcontext()

    def beginning(self) -> AbstractContextManager[None]:
        """Inside, the record is emptied and begun anew. Raises OutputError."""
        return nullcontext()

    def listed(self) -> None:
        """Images were listed: they are to be there before an output of them. Raises OutputError."""

    def save(self) -> None:
        """What is recorded is to be there. Raises OutputError."""

    def check(self) -> None:
        """Raises OutputError where what was sent has failed, or another has the place."""

    def complete_masks(self) -> None:
        """The masks that were kept before this run are to be here. Raises OutputError."""

    def put(self, targets: Sequence[Path]) -> None:
        """Files and folders of the whole run are written. Raises OutputError."""

    def finish(self) -> None:
        """Nothing more is recorded. Raises OutputError."""
