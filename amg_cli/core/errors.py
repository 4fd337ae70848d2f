"""The errors `amg` raises on purpose, each with the exit code it means.

An error is one line: where (a file, an option, a device), what is wrong, and what to do about it.
"""

from __future__ import annotations

import os
import reprlib
from typing import Any


class AmgError(Exception):
    """Anything `amg` refuses or could not do. `str()` is one line: `where: cause; remedy`.

    where:  the file, option or device concerned
    cause:  what is wrong with it
    remedy: what the user can do; empty where nothing can be done
    """

    exit_code = 1

    def __init__(self, where: object, cause: str, remedy: str = "") -> None:
        self.where = one_line(where)
        self.cause = one_line(cause)
        self.remedy = one_line(remedy)
        super().__init__(self.where, self.cause, self.remedy)

    def __str__(self) -> str:
        line = f"{self.where}: {self.cause}"
        return f"{line}; {self.remedy}" if self.remedy else line


class InputError(AmgError):
    """Nothing could start: an input path is missing, or holds no image."""


class OutputError(AmgError):
    """Nothing could start: the output folder cannot be used."""


class WeightsError(AmgError):
    """Nothing could start: a checkpoint is missing, damaged or of another architecture."""


class DeviceError(AmgError):
    """Nothing could start: the device asked for is not on this machine."""


class ConfigError(AmgError, ValueError):
    """A setting is out of range or contradicts another."""

    exit_code = 2


class ImageError(AmgError):
    """One image could not be done; the others are.

    file_name: the image, as of `Result`, where `where` is a file of its masks; else empty
    """

    exit_code = 3

    def __init__(self, where: object, cause: str, remedy: str = "", file_name: str = "") -> None:
        super().__init__(where, cause, remedy)
        self.file_name = file_name


class OutputExistsError(ImageError):
    """The output of one image is there already."""


def reason(error: OSError) -> str:
    """Why the system refused, in its words, as they stand after a colon."""
    return (error.strerror or str(error)).lower()


def in_short(value: object) -> str:
    """`value` as Python writes it, cut to some thirty characters."""
    if isinstance(value, int) and value.bit_length() > 1024:  # of long ones Python refuses the text
        return "a number of hundreds of digits"
    return reprlib.repr(value)


def briefly(value: Any) -> str:
    """What an argument was, in a few words: its type, an array's shape, short text and numbers."""
    kind = type(value).__name__
    if isinstance(value, type):
        return f"class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{kind} {tuple(value.shape)} {value.dtype}"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, (str, bytes, int, float)):
        return f"{kind} {in_short(value)}"
    return "None" if value is None else kind


def one_line(text: object) -> str:
    """`text` with control characters escaped, so that a file name cannot break a line of a log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
