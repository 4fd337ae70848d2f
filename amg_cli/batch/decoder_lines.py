"""What image decoders print to stderr: taken from there, and told apart by what it means.

libjpeg and libpng know no other way to speak than the process's stderr, where their lines would
have no file's name.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from amg_cli.core.interrupts import shielded

STDERR = 2
_one_at_a_time = Lock()  # the process has one stderr

# libjpeg's lines about damage, and what they mean for the picture.
_DAMAGE = (
    (r"premature end of", "its data ends too soon; the rest of the picture is made up"),
    (r"(\d+) extraneous bytes", r"\1 bytes of its data belong to nothing; a part may be wrong"),
    (r"Corrupt JPEG data", "damaged data; a part of the picture may be wrong"),
    (r"Inconsistent progression", "damaged data; a part of the picture may be wrong"),
)


@contextmanager
def taken_from_stderr() -> Iterator[list[str]]:
    """The lines that anything in the process prints to file 2 inside; there when the block ends.

    amg's own stderr is another file by then, as `cli.streams` sets it. Where file 2 is closed,
    nothing is taken.
    """
    lines: list[str] = []
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        try:
            before = os.dup(STDERR)
        except OSError:
            yield lines
            return
        try:
            os.dup2(file.fileno(), STDERR)
            yield lines
        finally:
            with shielded():
                os.dup2(before, STDERR)
                os.close(before)
            file.seek(0)
            lines += file.read().decode("utf-8", errors="replace").splitlines()


def damage(lines: Sequence[str]) -> str:
    """What a decoder's lines say of damage in the picture, in the user's words; empty if nothing.

    Others are about metadata, such as libpng's of colour profiles.
    """
    for line in lines:
        for pattern, meaning in _DAMAGE:
            if found := re.search(pattern, line, re.IGNORECASE):
                return found.expand(meaning)
    return ""
