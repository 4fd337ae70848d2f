"""Where a run's outputs go in the cloud: made in a folder of this disk, sent, and not kept there.

    FOLDER/a.json   ----->   s3://bucket/masks/a.json

An image's outputs are whole in the cloud before its outcome is known to the run, which records it
then. Until then there may be a part of them, which has no record.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from amg_cli.batch.cloud.remote import errors_of, file_system, retried, without_secrets
from amg_cli.batch.job import Outcome
from amg_cli.core.errors import AmgError, ImageError, OutputError

AT_ONCE = 32  # files of one image, or parts of a record, that are sent at one time
GO_ON = "all else is done; run the same again"
# What every other output would meet too, as `remote.cause_of` says it.
_OF_ALL = ("no credentials", "no such bucket", "access is denied", "the server cannot be reached")


class UploadError(ImageError):
    """An image's outputs could not be sent. It is not recorded, so that it is done again."""


class RefusedError(OutputError):
    """What every other output would meet too: no rights, no bucket, no server."""


@dataclass(frozen=True)
class Place:
    """An address, and the folder of this disk in which that is made which goes there.

    Plain values, which other processes and machines take. What opens the address they find
    themselves.
    """

    url: str
    folder: Path

    @property
    def shown(self) -> str:
        """The address, as it may be seen."""
        return without_secrets(self.url).rstrip("/")

    def shown_of(self, path: str | Path) -> str:
        """What a path inside the folder is called there, as it may be seen. Others stay."""
        return _under(path, self.folder, self.shown) or str(path)

    def sent(self, outcome: Outcome) -> Outcome:
        """What has become of a job whose outputs are made: they are sent, and are gone here."""
        job, error = outcome.job, outcome.error
        if outcome.result is None:
            return replace(outcome, error=error and self._in_its_words(error))
        try:
            self.put(job.targets, job.replaces)
        except AmgError as raised:
            return replace(outcome, result=None, error=raised)
        finally:
            for target in job.targets:
                _remove(target)
        return outcome

    def put(self, targets: Sequence[Path], replaces: bool = False) -> None:
        """Send files, and folders of files. What else is in those folders there goes.

        replaces: whether there may be such. Raises UploadError, and RefusedError.
        """
        files = [file for target in targets for file in _files_in(target)]
        if not files:
            return
        with sending(self.shown_of(targets[0])):
            fs, root = self.file_system()
            ours, theirs = list(map(str, files)), [self.path_of(file, root) for file in files]
            make_folders(fs, {path.rpartition("/")[0] for path in theirs})
            retried(self.url, partial(fs.put, ours, theirs, **at_once(fs)))
            folders = [self.path_of(t, root) for t in targets if replaces and t.is_dir()]
            for folder in folders:
                there = retried(self.url, partial(fs.find, folder))
                for path in set(there) - set(theirs):
                    retried(self.url, partial(fs.rm_file, path))

    def path_of(self, path: Path, root: str) -> str:
        """Of something in the folder, in the file system of the address."""
        inside = path.relative_to(self.folder).as_posix()
        return root if inside == "." else f"{root}/{inside}"

    def file_system(self) -> tuple[Any, str]:
        """fsspec's, and where the address is in it."""
        fs, root = file_system(self.url)
        return fs, root.rstrip("/")

    def _in_its_words(self, error: AmgError) -> AmgError:
        """An error that names an output by its address."""
        shown = _under(error.where, self.folder, self.shown)
        return type(error)(shown, error.cause, error.remedy) if shown else error


def at_once(fs: Any) -> dict[str, int]:
    """How a file system is told to have so many requests at one time, if it can have several."""
    return {"batch_size": AT_ONCE} if getattr(fs, "async_impl", False) else {}


def make_folders(fs: Any, folders: Iterable[str]) -> None:
    """Make them in a file system that may have some; object stores have none."""
    if not getattr(fs, "async_impl", False):
        for folder in folders:
            fs.makedirs(folder, exist_ok=True)


@contextmanager
def sending(url: str) -> Iterator[None]:
    """Inside, an error is a RefusedError where all else would meet it too; else an UploadError."""
    try:
        with errors_of(url, UploadError):
            yield
    except UploadError as error:
        if error.__cause__ is None or not error.cause.startswith(_OF_ALL):
            raise UploadError(error.where, error.cause, GO_ON) from error
        raise RefusedError(error.where, error.cause, error.remedy) from error


def _under(path: object, folder: Path, shown: str) -> str | None:
    text, start = str(path), str(folder)
    return shown + text[len(start) :].replace(os.sep, "/") if text.startswith(start) else None


def _files_in(target: Path) -> Iterable[Path]:
    return [p for p in target.rglob("*") if p.is_file()] if target.is_dir() else [target]


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
