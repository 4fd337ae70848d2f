"""The bytes of one image that is no file here."""

from __future__ import annotations

import os
import threading
from typing import Any

from amg_cli.batch.cloud.remote import errors_of, file_system, retried, scheme_of
from amg_cli.batch.decoding import NO_MEMORY
from amg_cli.batch.sources.address import Address, Facts, Place
from amg_cli.batch.sources.data_sets import Rows
from amg_cli.batch.sources.objects import facts_of
from amg_cli.batch.sources.shards import file_of
from amg_cli.core.errors import ImageError, InputError, reason


def look_up_facts(address: Address) -> Facts:
    """What is known of an object, or its service says of it now. Raises ImageError."""
    if address.facts is not None or address.place is not None:
        return address.facts or Facts()
    with errors_of(address.url, ImageError):
        fs, path = file_system(address.url)
        return facts_of(retried(address.url, lambda: fs.info(path)))


def fetch(address: Address) -> bytes:
    """The bytes of an object, or of an image inside a file. Raises ImageError."""
    place = address.place
    try:
        if place is not None and place.kind == "rows":
            return _ROWS.bytes_of(address.url, place)
        if place is not None and (shard := file_of(address.url)):
            with shard.open("rb") as file:
                file.seek(place.first)
                return file.read(place.second)
        if "::" in address.url:
            return _ARCHIVE.bytes_of(address.url)
        with errors_of(address.url, ImageError):
            fs, path = file_system(address.url)
            how = {} if place is None else {"start": place.first, "end": place.first + place.second}
            if place is None and scheme_of(address.url) in ("s3", "s3a"):
                how = {"max_concurrency": 1}  # else it asks for the size first
            return bytes(retried(address.url, lambda: fs.cat_file(path, **how)))
    except (InputError, ImageError) as error:
        raise ImageError(address, error.cause, error.remedy) from error
    except OSError as error:
        raise ImageError(address, f"cannot read it: {reason(error)}", "check the path") from error
    except MemoryError as error:
        raise ImageError(address, *NO_MEMORY) from error


class _OpenRows:
    """The file of rows that was read last, which stays open for the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[int, str, Rows] | None = None

    def bytes_of(self, file: str, place: Place) -> bytes:
        """Of a row. Raises InputError."""
        with self._lock, errors_of(file):
            return retried(file, lambda: self._read(file, place))

    def _read(self, file: str, place: Place) -> bytes:
        opened, self._opened = self._opened, None  # opened anew, should this fail
        if opened is None or opened[:2] != (os.getpid(), file):
            opened = (os.getpid(), file, Rows(file))
        data = opened[2].bytes_of(place)
        self._opened = opened
        return data


class _OpenArchive:
    """The zip that was read last, whose list of members need not be read again for the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[int, str, Any] | None = None

    def bytes_of(self, url: str) -> bytes:
        """Of a member. Raises ImageError."""
        member, _, archive = url.partition("::")
        with self._lock, errors_of(url, ImageError):
            if self._opened is None or self._opened[:2] != (os.getpid(), archive):
                self._opened = (os.getpid(), archive, file_system(url)[0])
            fs = self._opened[2]
            return bytes(retried(url, lambda: fs.cat_file(member.partition("://")[2])))


_ROWS = _OpenRows()
_ARCHIVE = _OpenArchive()
