"""The images at addresses: one object, or all under a prefix."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import Any

from amg_cli.batch.cloud.remote import (
    errors_of,
    file_system,
    is_url,
    path_in,
    retried,
    scheme_of,
    without_secrets,
)
from amg_cli.batch.sources.address import Facts
from amg_cli.batch.sources.images import IMAGE_SUFFIXES, Source
from amg_cli.core.errors import InputError
from amg_cli.formats.manifest import Entry, Record

AT_ONCE = 16  # requests, which wait for most of their time
_TIMES = ("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "date_time")
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "blob_id", "CRC", "created")

_Folder = tuple[list[tuple[str, Facts]], list[str]]


def object_source(url: str, relative: str = "", facts: Facts | None = None) -> Source:
    """The image at an address, whatever is there.

    relative: as of `Source`; else the whole path there, in folders by host or bucket
    """
    shown = without_secrets(url)
    url = shown if url == shown else url  # kept once, of a hundred thousand
    return Source(shown, as_relative(relative or path_in(url)), shown, url, facts=facts)


def objects_at(url: str, recursive: bool) -> list[Source]:
    """The image at an address; or those in the folder that it names, in the order of `discover`.

    Empty where a folder has none. Raises InputError where there is nothing to ask for.
    """
    archive, mark, file = url.partition("::")
    if mark and not is_url(file):  # an archive here
        url = f"{archive}::{os.path.realpath(file)}"
    fs, path = file_system(url)
    is_web = scheme_of(url) in ("http", "https")
    with errors_of(url):
        found = {} if url.endswith("/") else retried(url, lambda: fs.info(path))
        if found.get("type") == "file":
            return [object_source(url, path_in(url).rpartition("/")[2], facts_of(found))]
        if is_web:
            cause = "is a folder, which the web cannot list"
            raise InputError(without_secrets(url), cause, "list its images by `input_list`")
        images = list(_walk(url, recursive))
    return [object_source(_joined(url, name), name, facts) for name, facts in images]


def files_in(url: str, suffix: str) -> list[str]:
    """The addresses of the files with a suffix in a folder at an address, sorted.

    Raises InputError.
    """
    fs, path = file_system(url)
    with errors_of(url):
        names = [_name(info, path) for info in retried(url, lambda: fs.ls(path, detail=True))]
    return [_joined(url, name) for name in sorted(names) if name.lower().endswith(suffix)]


def facts_of(info: Mapping[str, Any]) -> Facts:
    """What a changed object is known by, of what a file system says of it."""
    size = info.get("size")
    mark = next((mark for name in _TIMES if (mark := _nanoseconds(info.get(name)))), None)
    if mark is None:
        tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
        mark = zlib.crc32(tag.encode()) if tag else None
    return Facts(int(size) if isinstance(size, int) else None, mark)


def with_facts(
    pairs: Sequence[tuple[Source, Entry]], records: Mapping[int, Record]
) -> list[tuple[Source, Entry]]:
    """The same images; with the facts, as they are now, of objects that are done by their records.

    Those whose facts a listing had keep them; one that cannot be asked for has none.
    """

    def one(pair: tuple[Source, Entry]) -> tuple[Source, Entry]:
        """Of one."""
        source, entry = pair
        fs, path = file_system(source.url)
        try:
            with errors_of(source.url):
                found = facts_of(retried(source.url, lambda: fs.info(path)))
        except InputError:
            found = Facts()
        return replace(source, facts=found), entry

    asked = {
        entry.number: (source, entry)
        for source, entry in pairs
        if source.url
        and source.facts is None
        and source.place is None
        and (record := records.get(entry.number))
        and record.outcome == "done"
    }
    if not asked:
        return list(pairs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = dict(zip(asked, pool.map(one, asked.values()), strict=True))
    return [asked.get(entry.number, (source, entry)) for source, entry in pairs]


def as_relative(path: str) -> str:
    """The path of an object as one inside a folder, out of which it cannot lead."""
    parts = ("~" * len(part) if part == ".." else part for part in path.split("/"))
    return "/".join(part for part in parts if part not in ("", ".")) or "image"


def _walk(url: str, recursive: bool) -> Iterator[tuple[str, Facts]]:
    """The images in a folder, by their paths in it. Folders are listed some at a time."""
    fs, root = file_system(url)

    def listed(inside: str) -> _Folder:
        """One folder, by its path in the first."""
        here = f"{root.rstrip('/')}/{inside}" if root and inside else inside or root
        infos = retried(url, lambda: fs.ls(here, detail=True))
        names = [(name, info) for info in infos if not (name := _name(info, here)).startswith(".")]
        images = [
            (f"{inside}/{name}" if inside else name, facts_of(info))
            for name, info in names
            if name and info["type"] == "file" and PurePath(name).suffix.lower() in IMAGE_SUFFIXES
        ]
        folders = [name for name, info in names if name and info["type"] == "directory"]
        return sorted(images), sorted(f"{inside}/{each}" if inside else each for each in folders)

    found: dict[str, _Folder] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        new = [""]
        while new:
            found |= zip(new, pool.map(listed, new), strict=True)
            new = [each for folder in new for each in found[folder][1]] if recursive else []
    pending = [""]
    while pending:
        images, folders = found.pop(pending.pop(), ([], []))
        yield from images
        pending += reversed(folders)


def _name(info: Mapping[str, Any], folder: str) -> str:
    """Of what lies in a folder; empty for the folder itself, which some services list too."""
    path = str(info["name"]).strip("/")
    return "" if path == folder.strip("/") else path.rpartition("/")[2]


def _joined(url: str, name: str) -> str:
    """The address of what lies in a folder."""
    first, mark, rest = url.partition("::")
    return f"{first if first.endswith('://') else first.rstrip('/') + '/'}{name}{mark}{rest}"


def _nanoseconds(value: Any) -> int | None:
    """When something was changed, as services say it; None where they do not."""
    try:
        if isinstance(value, str):
            value = (
                datetime.fromisoformat(value.replace("Z", "+00:00"))
                if value[:4].isdigit()
                else parsedate_to_datetime(value)
            )
        elif isinstance(value, tuple):  # of a zip
            value = datetime(*value[:6]).replace(tzinfo=timezone.utc)
        if isinstance(value, datetime):
            value = value.timestamp()
        return round(value * 10**9) if isinstance(value, (int, float)) else None
    except (ValueError, TypeError):
        return None
