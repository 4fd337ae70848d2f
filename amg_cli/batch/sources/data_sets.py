"""Images of a data set: a Parquet or CSV file with their paths, addresses or bytes in a column; or
a folder that Hugging Face's `datasets` has saved, or of Parquet files.

Listing reads ids and paths alone; the bytes are read row by row when their turn comes.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from amg_cli.batch.cloud.remote import (
    errors_of,
    file_system,
    is_url,
    path_in,
    retried,
    without_secrets,
)
from amg_cli.batch.sources.address import Facts, Place, row_address
from amg_cli.batch.sources.images import Source
from amg_cli.batch.sources.objects import as_relative, facts_of, object_source
from amg_cli.core.errors import InputError, in_short, reason

EXTRA = "pip install 'amg-cli[parquet]'"
TABLES = (".parquet", ".csv", ".tsv")
STATE = "state.json"  # what `save_to_disk` writes beside rows; beside parts, the other
SAVED = ("dataset_dict.json", STATE)
# Columns that are taken for the images', the first that there is.
COLUMNS = (
    *("image", "images", "img", "image_path", "img_path", "path", "file_path", "filepath"),
    *("file_name", "filename", "file", "image_url", "url", "jpg", "png"),
)
ROWS_AT_ONCE = 16  # of bytes, in memory
PIECE = 2**20  # of a column, read at once
# The next block of a file elsewhere is asked for while one is read; so many stay.
_FAR = {"block_size": 2**23, "cache_type": "background", "cache_options": {"maxblocks": 4}}


@dataclass(frozen=True)
class Columns:
    """Which columns the user names; None for what is found. image: of the images; id: of ids"""

    image: str | None = None
    id: str | None = None


def is_table(text: str) -> bool:
    """Whether a path or an address is that of a file of rows."""
    return _suffix(text) in TABLES


def is_saved(folder: Path) -> bool:
    """Whether a folder is a data set that was saved."""
    return any((folder / name).is_file() for name in SAVED)


def rows_of(file: str, columns: Columns) -> list[Source]:
    """The images of a file of rows, in its order; a row without one is a source that fails.

    An image in bytes is called by its data set's name and its id, and one by its path as in a list
    of paths. Its id is that of the column of ids, else its number in the data set, from 0.
    Raises InputError where there is no such column, or it cannot be read.
    """
    return list(_numbered([file], _stem(file), columns))


def rows_of_files(files: Sequence[str], name: str, columns: Columns) -> list[Source]:
    """The images of files of rows that are one data set. Errors as of `rows_of`."""
    return list(_numbered(files, name, columns))


def rows_of_saved(folder: Path, columns: Columns) -> list[Source]:
    """The images of a data set that was saved, part by part. Errors as of `rows_of`."""
    root = Path(os.path.realpath(folder)).name
    found: list[Source] = []
    parts = [folder] if (folder / STATE).is_file() else sorted(folder.glob(f"*/{STATE}"))
    for part in (part if part.is_dir() else part.parent for part in parts):
        name = root if part == folder else f"{root}/{part.name}"
        files = [str(file) for file in sorted(part.glob("*.arrow"))]
        found += _numbered(files, name, columns)
    if not found:
        raise InputError(folder, "a saved data set without rows", "check the path")
    return found


def parquet_in(folder: Path) -> list[str]:
    """The Parquet files in a folder, sorted."""
    return sorted(str(path) for path in folder.glob("*.parquet"))


def _path(text: str) -> PurePath:
    return PurePath(path_in(text) if is_url(text) else text)


def _suffix(text: str) -> str:
    return _path(text).suffix.lower()


def _stem(text: str) -> str:
    return _path(text).stem


def _numbered(files: Sequence[str], name: str, columns: Columns) -> Iterator[Source]:
    """The images of files that are one data set, whose rows are numbered through."""
    first = 0
    for file in files:
        read = {".parquet": _of_parquet, ".arrow": _of_arrow}.get(_suffix(file), _of_csv)
        for source in read(file, name, columns, first):
            first += 1
            yield source


# Paths and addresses in columns


def _of_csv(file: str, name: str, columns: Columns, first: int) -> Iterator[Source]:
    parted = "\t" if _suffix(file) == ".tsv" else ","
    try:
        rows = csv.DictReader(io.StringIO(_text_of(file), newline=""), delimiter=parted)
        names = list(rows.fieldnames or ())
        image = _column(file, names, columns.image, names)
        ids = _column(file, names, columns.id, ()) if columns.id else None
        for number, row in enumerate(rows, first):
            yield _by_path(file, name, row[image], row[ids] if ids else number, number)
    except csv.Error as error:
        raise InputError(without_secrets(file), f"damaged CSV: {error}", "mend it") from error


def _text_of(file: str) -> str:
    try:
        if not is_url(file):
            return Path(file).read_text(encoding="utf-8-sig")
        fs, path = file_system(file)
        with errors_of(file):
            return bytes(retried(file, lambda: fs.cat_file(path))).decode("utf-8-sig")
    except OSError as error:
        raise InputError(file, reason(error), "check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(without_secrets(file), "no UTF-8", "save it as UTF-8") from error


def _by_path(file: str, name: str, path: Any, id_: Any, number: int) -> Source:
    """The image that a row names; a path is as seen from the folder that the file is in."""
    shown = without_secrets(file)
    if not isinstance(path, str) or not path.strip():
        row = f"row://{number}::{shown}"
        fault = ("no image in this row", "the other rows are done")
        return Source(row, as_relative(f"{name}/{id_}"), row, fault=fault, id=id_)
    if is_url(path):
        found = object_source(path)
    elif is_url(file):
        found = object_source(f"{file.rpartition('/')[0]}/{path}", as_relative(path))
    else:
        whole = Path(os.path.normpath(Path(file).parent / path))
        inside = PurePath(path)
        found = Source.of(whole, PurePath(as_relative(inside.as_posix())))
    return _with_id(found, id_)


def _with_id(source: Source, id_: Any) -> Source:
    return replace(source, id=id_ if isinstance(id_, (int, str)) else str(id_))


def _column(file: str, names: Sequence[str], asked: str | None, likely: Iterable[str]) -> str:
    """The column that is asked for; else the first of the usual names among those likely."""
    has = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    if asked is not None:
        if asked in names:
            return asked
        cause = f"has no column {asked!r}, but {has}"
        raise InputError(without_secrets(file), cause, "give one of these")
    by_name = {name.lower(): name for name in likely}
    for usual in COLUMNS:
        if usual in by_name:
            return by_name[usual]
    remedy = "give `image_column`"
    raise InputError(without_secrets(file), f"which column has the images? It has {has}", remedy)


# Bytes in columns


@dataclass(frozen=True)
class _Found:
    """What a table has. image: the column of images; ids: that of ids, or None

    is_bytes: whether images are bytes, and in_struct: in a {bytes, path}; else paths
    """

    image: str
    is_bytes: bool
    in_struct: bool
    ids: str | None


# Of the rows of a part, of each its id and its image's path, where they have any.
_Part = Iterable[tuple[Any, Any]]


def _of_parquet(file: str, name: str, columns: Columns, first: int) -> Iterator[Source]:
    with _opened(file) as table:
        found = _found_in(file, table.schema_arrow, columns)
        parts = (_rows_of_group(table, group, found) for group in range(table.num_row_groups))
        yield from _of_parts(file, name, parts, found, first)


def _of_arrow(file: str, name: str, columns: Columns, first: int) -> Iterator[Source]:
    with _opened(file) as batches:
        if not batches:
            return
        found = _found_in(file, batches[0].schema, columns)
        parts = (_rows_of_batch(batch, found) for batch in batches)
        yield from _of_parts(file, name, parts, found, first)


def _of_parts(
    file: str, name: str, parts: Iterable[_Part], found: _Found, first: int
) -> Iterator[Source]:
    number, facts = first, _facts(file)
    for part, rows in enumerate(parts):
        for place, (own_id, path) in enumerate(rows):
            id_ = own_id if found.ids else number
            if found.is_bytes:
                spot = Place("rows", part, place, found.image)
                yield _by_bytes(file, name, id_, PurePath(path or "").suffix, spot, facts)
            else:
                yield _by_path(file, name, path, id_, number)
            number += 1


def _rows_of_group(table: Any, group: int, found: _Found) -> _Part:
    """Of a part of a Parquet file, of which no bytes of images are read."""
    wanted = [] if found.is_bytes else [found.image]
    wanted += [f"{found.image}.path"] if found.in_struct else []
    wanted += [found.ids] if found.ids else []
    if not wanted:
        return itertools.repeat((None, None), table.metadata.row_group(group).num_rows)
    rows = table.read_row_group(group, columns=wanted).to_pylist()
    images = [row.get(found.image) for row in rows]
    paths = [(image or {}).get("path") for image in images] if found.in_struct else images
    return zip((row.get(found.ids) for row in rows), paths, strict=True)


def _rows_of_batch(batch: Any, found: _Found) -> _Part:
    """Of a part of an Arrow file, of which no bytes of images are read."""
    images = batch.column(found.image)
    paths = images.field("path") if found.in_struct else None if found.is_bytes else images
    ids = batch.column(found.ids) if found.ids else None
    for place in range(batch.num_rows):
        yield _value(ids, place), _value(paths, place)


def _value(column: Any, place: int) -> Any:
    return None if column is None else column[place].as_py()


def _by_bytes(file: str, name: str, id_: Any, suffix: str, place: Place, facts: Facts) -> Source:
    """The image in a row's bytes, called by its id, with the suffix of the path beside them."""
    whole = without_secrets(file) if is_url(file) else os.path.realpath(file)
    shown = row_address(whole, place)
    relative = as_relative(f"{name}/{str(id_).replace('/', '_')}{suffix}")
    return _with_id(Source(shown, relative, shown, file, place, facts), id_)


def _facts(file: str) -> Facts:
    """Of the file that rows are in: a row alone has none."""
    if not is_url(file):
        return Facts(None, os.stat(file).st_mtime_ns)  # noqa: PTH116 - of text
    fs, path = file_system(file)
    return Facts(None, facts_of(fs.info(path)).mark)


def _found_in(file: str, schema: Any, columns: Columns) -> _Found:
    """The columns of a table that are asked for. Raises InputError."""
    import pyarrow as pa

    def kind(name: str) -> str:
        """What images a column can have."""
        type_ = schema.field(name).type
        if pa.types.is_struct(type_):
            inside = {type_.field(i).name for i in range(type_.num_fields)}
            return "struct" if "bytes" in inside and "path" in inside else ""
        if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
            return "bytes"
        return "path" if pa.types.is_string(type_) or pa.types.is_large_string(type_) else ""

    kinds = {name: kind(name) for name in schema.names}
    alone = [name for name, each in kinds.items() if each in ("struct", "bytes")]
    if columns.image is None and len(alone) == 1:
        column = alone[0]
    else:
        column = _column(file, schema.names, columns.image, [n for n, k in kinds.items() if k])
    if not kinds[column]:
        cause = f"column {column!r} is of {schema.field(column).type}, and neither paths nor bytes"
        raise InputError(without_secrets(file), cause, "give another `image_column`")
    ids = _column(file, schema.names, columns.id, ()) if columns.id else None
    return _Found(column, kinds[column] != "path", kinds[column] == "struct", ids)


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """A `ParquetFile`; or the batches of an Arrow file, in memory only as far as they are read."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(without_secrets(file), "needs pyarrow", EXTRA) from error
    how = {"buffer_size": PIECE, "pre_buffer": False}  # else all of a part is in memory, not a page
    with errors_of(file):
        try:
            if is_url(file):
                fs, path = file_system(file)
                with fs.open(path, "rb", **_FAR) as opened, pq.ParquetFile(opened, **how) as table:
                    yield table
            elif file.endswith(".arrow"):
                with pa.memory_map(file) as opened:
                    yield list(pa.ipc.open_stream(opened))
            else:
                with pq.ParquetFile(file, **how) as table:
                    yield table
        except pa.ArrowException as error:
            cause = f"damaged, or no table: {in_short(str(error).partition(chr(10))[0])}"
            raise InputError(without_secrets(file), cause, "make or download it again") from error


class Rows:
    """The bytes of one file's rows, which are asked for in their order. Raises InputError.

    The file is open for as long as this is held.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._context = _opened(file)
        self._table = self._context.__enter__()
        self._column, self._group, self._first = "", -1, 0
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None

    def bytes_of(self, place: Place) -> bytes:
        """Of a row; empty where it has none."""
        if isinstance(self._table, list):
            value = self._table[place.first].column(place.column)[place.second].as_py()
        else:
            value = self._of_parquet(place)
        if isinstance(value, dict):
            value = value["bytes"]
        return value or b""

    def _next(self) -> Any:
        batch = next(self._batches, None)
        if batch is None:
            cause = "has fewer rows than when it was listed"
            raise InputError(without_secrets(self._file), cause, "run again")
        return batch

    def _of_parquet(self, place: Place) -> Any:
        """Rows that come later in a part cost nothing that is read twice."""
        is_later = self._batch is not None and place.second >= self._first
        if not is_later or (place.first, place.column) != (self._group, self._column):
            self._group, self._column, self._first = place.first, place.column, 0
            self._batches = self._table.iter_batches(
                ROWS_AT_ONCE, row_groups=[place.first], columns=[place.column]
            )
            self._batch = self._next()
        while place.second >= self._first + self._batch.num_rows:
            self._first += self._batch.num_rows
            self._batch = self._next()
        return self._batch.column(0)[place.second - self._first].as_py()
