"""Read one image of a run.

A read image is what `cv2.imread` gives, in RGB: EXIF orientation applied, grey repeated to three
channels, alpha dropped, 16 bits cut to 8; the first page or frame of several. Unlike there, a file
that is not whole is an error. OpenCV's version decides details, such as whose EXIF it knows.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amg_cli.batch.decoding import NO_MEMORY, decode
from amg_cli.batch.integrity import (
    MAX_PIXELS,
    Fault,
    declared_pixels,
    find_excess,
    find_fault,
)
from amg_cli.batch.sources.address import Address
from amg_cli.batch.sources.fetch_one import fetch, look_up_facts
from amg_cli.core.errors import ImageError, reason

_SPECIAL_FILES = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Reading:
    """How a run's images are read.

    max_pixels: an image's W x H may be no more
    stretch:    scale 16 bits a channel by their range, instead of taking the high byte
    strict:     what would be a warning is an error
    """

    max_pixels: int = MAX_PIXELS
    stretch: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Picture:
    """An image that was read.

    pixels:   (H, W, 3) uint8, RGB, contiguous
    warnings: what may be wrong with it
    sha256:   of the file's bytes
    """

    pixels: NDArray[np.uint8]
    warnings: tuple[Fault, ...] = ()
    sha256: str = ""


def read_image(path: Path | Address, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels alone, of a file that `read_picture` takes. Errors as there."""
    return read_picture(path, Reading(max_pixels)).pixels


def read_picture(path: Path | Address, reading: Reading, copy: Path | None = None) -> Picture:
    """An image's pixels, and what may be wrong with them.

    copy: a file that has its bytes; None for those at its path or address
    Its format is judged by its first bytes, not by its name; its size by its header, before
    anything is decoded.

    Errors: ImageError for a file that cannot be read, is no regular file, is empty, of another
    format, truncated, damaged as far as can be told, or too large; and, where `strict`, for one
    that would have a warning.
    """
    if copy is not None:
        data = _copied(path, copy)
    elif isinstance(path, Address):
        data = _fetched(path, reading)
    else:
        data = _read_bytes(path, reading.max_pixels)
    if fault := find_fault(data, reading.max_pixels):
        raise ImageError(path, *fault)
    pixels, warnings = decode(path, data, reading.stretch)
    if warnings and reading.strict:
        raise ImageError(path, *warnings[0])
    return Picture(pixels, tuple(warnings), hashlib.sha256(data).hexdigest())


def look_ahead(path: Path, reading: Reading) -> int:
    """Read a file, so that the system has it at hand when its turn comes.

    -> the pixels that its header says it has; 0 for one that `read_picture` will refuse
    """
    try:
        data = _read_bytes(path, reading.max_pixels)
    except ImageError:
        return 0
    return declared_pixels(data, reading.max_pixels)


def _fetched(address: Address, reading: Reading) -> bytes:
    """The bytes at an address, if they are not too many. Raises ImageError."""
    facts = look_up_facts(address)
    if fault := find_excess(facts.size or 0, reading.max_pixels):
        raise ImageError(address, *fault)
    return fetch(address)


def _copied(path: Path | Address, copy: Path) -> bytes:
    try:
        return copy.read_bytes()
    except OSError as error:
        raise ImageError(path, f"its copy is gone: {reason(error)}", "run again") from error


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    """The bytes of a regular file. Reading another may never end, and a device may feel it."""
    try:
        if kind := _SPECIAL_FILES.get(stat.S_IFMT(path.stat().st_mode)):
            raise ImageError(path, f"{kind}, not a file", "give an image file")
        with open(path, "rb", opener=_open_without_waiting) as file:
            length = os.fstat(file.fileno()).st_size
            if fault := find_excess(length, max_pixels):
                raise ImageError(path, *fault)
            return file.read(length)
    except FileNotFoundError as error:
        raise ImageError(path, "no such file", "it may have been moved since") from error
    except OSError as error:
        raise ImageError(path, f"cannot read it: {reason(error)}", "check the path") from error
    except ValueError as error:  # a path that no system has
        raise ImageError(path, f"cannot read it: {error}", "check the path") from error
    except MemoryError as error:
        raise ImageError(path, *NO_MEMORY) from error


def _open_without_waiting(name: str, flags: int) -> int:
    """For a pipe that took the file's place since: opening it waits for its other end."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
