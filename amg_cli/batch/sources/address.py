"""Where an image lies that is no file of its own on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from amg_cli.batch.cloud.remote import is_url, path_in

_ROW = re.compile(r"row://(.*)/(\d+)/(\d+)::(.*)", re.DOTALL)


class Facts(NamedTuple):
    """What a changed object is known by; None where the service does not say.

    size: its bytes
    mark: when it was changed, in ns; of an object without a time, a number made of its ETag
    """

    size: int | None = None
    mark: int | None = None


class Place(NamedTuple):
    """Where in a file an image lies.

    kind:  "tar": the bytes from `first` on, `second` many; "rows": of row `second` of part
        `first`, the bytes in a column
    column: of rows
    """

    kind: str
    first: int
    second: int
    column: str = ""


@dataclass(frozen=True)
class Address:
    """An object of a service, or an image inside a file. Its text has no secrets.

    shown: what it is called in errors and records
    url:   as to open, which may have credentials; of an image in a file, that file's path or
        address
    place: where in that file it lies
    facts: as far as they are known before it is read
    """

    shown: str
    url: str = field(repr=False)
    place: Place | None = None
    facts: Facts | None = None

    def __str__(self) -> str:
        return self.shown

    @property
    def name(self) -> str:
        """Its last part."""
        return PurePosixPath(path_in(self.shown)).name


def row_address(file: str, place: Place) -> str:
    """What the image in a row is called. file: its path, or its address without secrets"""
    return f"row://{place.column}/{place.first}/{place.second}::{file}"


def is_gone(text: str) -> bool:
    """Whether the file is not there any more that a record calls an image's source, or has it in
    it. What lies elsewhere is taken to be there.
    """
    file = text.rpartition("::")[2] if is_url(text) else text
    return not is_url(file) and not os.path.lexists(file)


def located(text: str) -> Path | Address:
    """What a record calls an image's source: a file, an object, or inside a file."""
    if row := _ROW.fullmatch(text):
        column, first, second, file = row.groups()
        return Address(text, file, Place("rows", int(first), int(second), column))
    return Address(text, text) if is_url(text) else Path(text)
