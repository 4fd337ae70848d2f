"""The objects that are a run's record in the cloud: read, written whole, and removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from amg_cli.batch.cloud.place import AT_ONCE, GO_ON, Place, at_once, make_folders
from amg_cli.batch.cloud.remote import errors_of, retried
from amg_cli.core.errors import OutputError
from amg_cli.formats.manifest import FOLDER


class RecordStore:
    """They lie under one address, and are known by their names there.

    Each request that may go well the next time is made again; what else a server refuses raises
    OutputError.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def sizes(self) -> dict[str, int]:
        """The names of all, and how many bytes each has."""
        found = self._listed(FOLDER)
        files = [each for each in found if each["type"] == "file"]
        return {PurePosixPath(each["name"]).name: int(each["size"] or 0) for each in files}

    def names(self, folder: str) -> set[str]:
        """Of all that lies in a folder of the run's, not in those in it. "": the run's own"""
        return {PurePosixPath(each["name"]).name for each in self._listed(folder)}

    def read(self, name: str) -> bytes | None:
        """One's bytes; None where there is none."""
        with self._asking() as (fs, root):
            try:
                data: bytes = retried(self._place.url, partial(fs.cat_file, f"{root}/{name}"))
            except FileNotFoundError:
                return None
        return data

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Several, as files of a folder here."""
        names = list(names)
        if not names:
            return
        with self._asking() as (fs, root):
            theirs, ours = [f"{root}/{n}" for n in names], [str(folder / n) for n in names]
            retried(self._place.url, partial(fs.get, theirs, ours, **at_once(fs)))

    def write(self, name: str, data: bytes) -> None:
        """One, in place of what has its name."""
        with self._asking() as (fs, root):
            make_folders(fs, [root])
            retried(self._place.url, partial(fs.pipe_file, f"{root}/{name}", data))

    def write_file(self, name: str, path: Path) -> None:
        """One of a file here, however large."""
        with self._asking() as (fs, root):
            make_folders(fs, [root])
            retried(self._place.url, partial(fs.put_file, str(path), f"{root}/{name}"))

    def create(self, name: str, data: bytes) -> None:
        """One that is not there, where the service can see to that; else as `write`.

        Where it is there, it stays: who reads it knows. A server that answers late may have done
        what is asked for again.
        """
        with self._asking() as (fs, root):
            make_folders(fs, [root])
            with suppress(FileExistsError):
                make = partial(fs.pipe_file, f"{root}/{name}", data, mode="create")
                retried(self._place.url, make)

    def remove(self, names: Iterable[str]) -> None:
        """Several, if they are there, in no order."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="removing") as threads:
            list(threads.map(self._remove, names))

    def _remove(self, name: str) -> None:
        with self._asking() as (fs, root), suppress(FileNotFoundError):
            retried(self._place.url, partial(fs.rm_file, f"{root}/{name}"))

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        with self._asking() as (fs, root):
            path = str(PurePosixPath(root).parent / folder)
            try:
                found = retried(self._place.url, partial(fs.ls, path, detail=True))
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [each for each in found if each["name"].strip("/") != path.strip("/")]

    @contextmanager
    def _asking(self) -> Iterator[tuple[Any, str]]:
        """The file system, and the record's folder in it."""
        try:
            with errors_of(self._place.shown, OutputError):
                fs, root = self._place.file_system()
                yield fs, f"{root}/{FOLDER}"
        except OutputError as error:
            raise OutputError(error.where, error.cause, error.remedy or GO_ON) from error
