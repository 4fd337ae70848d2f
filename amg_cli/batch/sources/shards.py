"""Images in tars, as WebDataset has them: `shards/{000..099}.tar`.

A shard that lies elsewhere is copied here whole, one ahead of the one that is worked on, as a tar
has no list of what is in it; of those the last few stay.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path, PurePath

from amg_cli.batch.cloud.remote import (
    errors_of,
    file_system,
    is_url,
    path_in,
    retried,
    without_secrets,
)
from amg_cli.batch.sources.address import Facts, Place
from amg_cli.batch.sources.copies import new_copy
from amg_cli.batch.sources.images import IMAGE_SUFFIXES, Source
from amg_cli.batch.sources.objects import as_relative
from amg_cli.core.errors import InputError, reason

SUFFIX = ".tar"
AGAIN = "make or download it again"
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_KEPT = 2  # copies before the one worked on, whose images may still be waited for
_COPIES: dict[str, Path] = {}


def expanded(pattern: str) -> list[str]:
    """What braces stand for, as in a shell: `{000..099}` numbers, `{a,b}` texts."""
    parts = _BRACES.split(pattern)  # in turn what is outside of braces, and inside
    choices = [[part] if i % 2 == 0 else _choices(part) for i, part in enumerate(parts)]
    return ["".join(each) for each in itertools.product(*choices)]


def is_shard(text: str) -> bool:
    """Whether a path or an address is a tar's."""
    return PurePath(path_in(text) if is_url(text) else text).suffix.lower() == SUFFIX


def images_in(shard: str, copy: Path | None = None) -> list[Source]:
    """The images in a tar, in its order; then one that fails, where it is cut or damaged.

    copy: where its bytes are, if it is an address
    Raises InputError where it cannot be read at all.
    """
    file = Path(shard) if copy is None else copy
    shown = without_secrets(shard) if copy else os.path.realpath(shard)
    found: list[Source] = []
    seen: set[str] = set()
    try:
        with file.open("rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                suffix, base = PurePath(name).suffix.lower(), PurePath(name).name
                if member.isreg() and suffix in IMAGE_SUFFIXES and not base.startswith("."):
                    if name not in seen:
                        found.append(_member(shard, shown, name, member))
                    seen.add(name)
                tar.members = []  # type: ignore[attr-defined]  # which it would keep, for nothing
    except tarfile.ReadError as error:
        cause = _why(error, bool(found))
        whole = as_relative(PurePath(path_in(shard) if copy else shard).name)
        found.append(Source(shown, whole, shown, fault=(cause, AGAIN)))
    except OSError as error:
        raise InputError(shown, reason(error), "check the path") from error
    return found


def images_in_all(shards: Sequence[str]) -> Iterator[list[Source]]:
    """The images of each of some tars that lie elsewhere, while the next one is fetched.

    shards: one at least. One that cannot be had is a source that fails.
    """
    coming = _coming(shards[0])
    for number, shard in enumerate(shards):
        try:
            found = images_in(shard, coming.result())
        except (InputError, OSError) as error:
            cause = error.cause if isinstance(error, InputError) else reason(error)
            shown, fault = without_secrets(shard), (cause, "the other tars are done")
            name = as_relative(path_in(shard).rpartition("/")[2])
            found = [Source(shown, name, shown, fault=fault)]
        if number + 1 < len(shards):
            coming = _coming(shards[number + 1])
        yield found
        if number >= _KEPT and (old := _COPIES.pop(shards[number - _KEPT], None)):
            old.unlink(missing_ok=True)


def _coming(shard: str) -> Future[Path]:
    """A shard that is being copied, in a thread that no end of the process waits for."""
    future: Future[Path] = Future()

    def fetch() -> None:
        """It, or why not."""
        try:
            future.set_result(_fetched(shard))
        except (InputError, OSError) as error:
            future.set_exception(error)
        finally:
            if not future.done():
                future.set_exception(InputError(without_secrets(shard), "cannot be copied"))

    threading.Thread(target=fetch, daemon=True).start()
    return future


def file_of(shard: str) -> Path | None:
    """A tar as a file here: itself, or its copy, if there is one."""
    if not is_url(shard):
        return Path(shard)
    copy = _COPIES.get(shard)
    return copy if copy is not None and copy.exists() else None


def _fetched(shard: str) -> Path:
    """A shard copied here. Raises InputError, OSError."""
    fs, path = file_system(shard)
    copy = new_copy()
    with errors_of(shard):
        retried(shard, lambda: fs.get_file(path, str(copy)))
    _COPIES[shard] = copy
    return copy


def _member(shard: str, shown: str, name: str, member: tarfile.TarInfo) -> Source:
    stem = PurePath(path_in(shard) if is_url(shard) else shard).stem
    address = f"tar://{name}::{shown}"
    return Source(
        address,
        as_relative(f"{stem}/{name}"),
        address,
        shard,
        Place("tar", member.offset_data, member.size),
        Facts(member.size, int(member.mtime * 10**9)),
    )


def _why(error: tarfile.ReadError, has_images: bool) -> str:
    if "unexpected end" in str(error) or "truncated" in str(error):
        return "truncated tar: what comes after is not in it"
    return "damaged tar" if has_images else "damaged, empty, or compressed, and no plain tar"


def _choices(inside: str) -> list[str]:
    if numbers := _RANGE.fullmatch(inside):
        first, last = numbers.groups()
        width = len(first) if first.startswith("0") or last.startswith("0") else 0
        step = 1 if int(last) >= int(first) else -1
        return [f"{n:0{width}d}" for n in range(int(first), int(last) + step, step)]
    return inside.split(",") if "," in inside else [f"{{{inside}}}"]
