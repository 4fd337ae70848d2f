"""Find the images of a run, and read one.

A read image is what `cv2.imread` gives, in RGB: EXIF orientation applied, grey repeated to three
channels, alpha dropped, 16 bits cut to 8; the first page or frame of several. Unlike there, a file
that is not whole is an error. OpenCV's version decides details, such as whose EXIF it knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.batch.headers import image_format, still_png
from amg_cli.batch.integrity import MAX_PIXELS, Fault, find_excess, find_fault
from amg_cli.core.errors import ImageError, InputError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_NO_MEMORY = Fault("not enough memory to decode it", "make it smaller")
_SPECIAL_FILES = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Source:
    """An image file of a run.

    path:     the file, as to open
    relative: its path in the input folder it was found in; its name if it was given itself
    """

    path: Path
    relative: PurePath


def discover(inputs: Sequence[Path], recursive: bool) -> list[Source]:
    """The images that `inputs` name, each file once, where it came first.

    inputs:    files, taken whatever their suffix, and folders, whose files with one of
               `IMAGE_SUFFIXES` are taken; in the order given, a folder's in order of the bytes of
               their names, its files before its sub-folders; hidden ones are skipped
    recursive: sub-folders too; a folder that links lead to twice is entered once

    Errors: InputError for an input that does not exist, and for a folder without images or that
    cannot be listed.
    """
    found: dict[Path, Source] = {}
    for given in inputs:
        for identity, source in _images_of(given, recursive):
            found.setdefault(identity, source)
    return list(found.values())


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels of an image file as (H, W, 3), RGB, 0-255, contiguous.

    Its format is judged by its first bytes, not by its name.
    max_pixels: W x H may be no more; so much is refused by the header, before anything is decoded

    Errors: ImageError for a file that cannot be read, is no regular file, is empty, of another
    format, truncated, damaged as far as can be told, or too large.
    """
    data = _read_bytes(path, max_pixels)
    if fault := find_fault(data, max_pixels):
        raise ImageError(path, *fault)
    kind = image_format(data)
    _quiet_opencv()
    try:
        still = still_png(data) if kind == "PNG" else data
        bgr = cv2.imdecode(np.frombuffer(still, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    except MemoryError as error:
        raise ImageError(path, *_NO_MEMORY) from error
    except cv2.error as error:
        raise ImageError(path, *_explain(error)) from error
    raise ImageError(path, f"damaged {kind}, or of a kind OpenCV does not know", "re-export it")


def _images_of(given: Path, recursive: bool) -> Iterator[tuple[Path, Source]]:
    """The images of one input, each with what makes it the same file as another.

    That is its own name in the real folder: `a/../b` is `b`, but two links to a file are two.
    """
    try:
        given.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(given, "no such file or folder", "check the path") from None
    except OSError as error:
        raise InputError(given, _reason(error), "check the path") from error
    if not given.is_dir():
        yield _real(given.parent) / given.name, Source(given, PurePath(given.name))
        return
    empty = True
    for pair in _walk(given, recursive):
        empty = False
        yield pair
    if empty:
        looked_for = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(given, f"no image in it (looked for {looked_for})", _where_else(given))


def _walk(folder: Path, recursive: bool) -> Iterator[tuple[Path, Source]]:
    """The images of a folder. A list, not recursion: paths may be deeper than Python's stack."""
    entered = set()
    pending = [(folder, PurePath())]
    while pending:
        here, relative = pending.pop()
        real = _real(here)
        if real in entered:
            continue
        entered.add(real)
        images, folders = _listing(here)
        for name in images:
            yield real / name, Source(here / name, relative / name)
        if recursive:
            pending += [(here / name, relative / name) for name in reversed(folders)]


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the images and of the folders in a folder, each sorted, hidden ones left out."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                # A link that leads nowhere is kept: reading it gives its error, not silence.
                elif entry.is_symlink() or entry.is_file():
                    files.append(entry.name)
    except OSError as error:
        raise InputError(folder, f"cannot list it: {_reason(error)}", "check its rights") from error
    images = [name for name in files if PurePath(name).suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images, key=os.fsencode), sorted(folders, key=os.fsencode)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))  # Path.resolve raises where links lead in circles


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder closed to us
        return False


def _where_else(folder: Path) -> str:
    try:
        below = any(True for _ in _walk(folder, recursive=True))
    except InputError:
        below = False
    return "its sub-folders have some: add --recursive" if below else "check the path"


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
        raise ImageError(path, f"cannot read it: {_reason(error)}", "check the path") from error
    except MemoryError as error:
        raise ImageError(path, *_NO_MEMORY) from error


def _open_without_waiting(name: str, flags: int) -> int:
    """For a pipe that took the file's place since: opening it waits for its other end."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _explain(error: cv2.error) -> Fault:
    """OpenCV's exception in the user's words."""
    if "CV_IO_MAX_IMAGE" in str(error):
        side = "OPENCV_IO_MAX_IMAGE_PIXELS, _WIDTH and _HEIGHT"
        return Fault("larger than OpenCV reads (2^30 pixels, 2^20 a side)", f"see {side}")
    # An exception of a library below OpenCV has neither code nor text of its own.
    if getattr(error, "code", None) == -4 or "bad_alloc" in str(error):
        return _NO_MEMORY
    return Fault(f"OpenCV cannot decode it: {getattr(error, 'err', error)}", "re-export it")


@cache
def _quiet_opencv() -> None:
    """Keep OpenCV's own lines about broken files off stderr: each becomes an error here.

    Once, and for the process, because the level is global: restoring it would race with other
    threads. Who asked for a level with OPENCV_LOG_LEVEL keeps it.
    """
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # 4.8 has the function in one place, 4.14 and 5 in another.
    holder = getattr(cv2.utils, "logging", cv2)
    set_level = getattr(holder, "setLogLevel", None)
    if set_level:
        set_level(0)
