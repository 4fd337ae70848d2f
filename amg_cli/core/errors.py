"""The errors `amg` raises on purpose, each with the exit code it means.

An error is one line: where (a file, an option, a device), what is wrong, and what to do about it.
"""

from __future__ import annotations


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


class ConfigError(AmgError):
    """A setting is out of range or contradicts another."""

    exit_code = 2


class ImageError(AmgError):
    """One image could not be done; the others are."""

    exit_code = 3


class OutputExistsError(ImageError):
    """The output of one image is there already."""


def reason(error: OSError) -> str:
    """Why the system refused, in its words, as they stand after a colon."""
    return (error.strerror or str(error)).lower()


def one_line(text: object) -> str:
    """`text` with control characters escaped, so that a file name cannot break a line of a log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
