"""A file that is only added to, and its copy in the cloud, in parts."""

from __future__ import annotations

from pathlib import Path

from amg_cli.batch.cloud.record_store import RecordStore
from amg_cli.formats.manifest import whole_bytes
from amg_cli.formats.parts import part_name

FOLD_AT = 64  # parts that are made one


class Tail:
    """What of a file of the record is not in the cloud yet.

    path:   the file here
    name:   what it is called there
    starts: where the parts there begin
    sent:   so many of the file's bytes are there
    before: so many bytes are there that are not in the file, and come before it
    """

    def __init__(
        self,
        store: RecordStore,
        path: Path,
        name: str,
        starts: list[int] | None = None,
        sent: int = 0,
        before: int = 0,
    ) -> None:
        self._store, self._path, self._name = store, path, name
        self._starts = sorted(starts or [])
        self._sent, self._before = sent, before
        self._nb_large = 0  # the first of the parts, which are not folded again

    @property
    def next_start(self) -> int:
        """Where the next part begins."""
        return self._sent + self._before

    def end(self) -> int:
        """Where the last whole line of the file ends."""
        return whole_bytes(self._path)

    def send(self, end: int) -> None:
        """Send what lies before `end` and is not there yet, as a part."""
        if end <= self._sent:
            return
        start = self.next_start
        self._put(self._sent, end)
        self._sent = end
        self._starts.append(start)

    def fold_some(self) -> None:
        """Make one of the latest parts, where they are many."""
        if len(self._starts) - self._nb_large > FOLD_AT:
            self._fold(self._nb_large)
            self._nb_large += 1

    def fold(self) -> None:
        """Make one of all parts, which must all be of the file."""
        self._fold(0)
        self._nb_large = 0

    def begin_anew(self) -> None:
        """The file is another now: its lines take the place of all there was, which is one part."""
        end = self.end()
        self._put(0, end)
        self._starts, self._sent = [0], end

    def remove_from(self, start: int) -> None:
        """Remove the parts that begin there or later, of which nothing is recorded."""
        self._remove([each for each in self._starts if each >= start])
        self._starts = [each for each in self._starts if each < start]
        self._sent = min(self._sent, start)

    def _fold(self, first: int) -> None:
        """Killed at any moment, it loses nothing: parts may overlap."""
        others = self._starts[first + 1 :]
        if others:
            self._put(self._starts[first] - self._before, self._sent)
            self._starts = self._starts[: first + 1]
            self._remove(others)

    def _remove(self, starts: list[int]) -> None:
        if starts:
            self._store.remove(part_name(self._name, start) for start in starts)

    def _put(self, start: int, end: int) -> None:
        name = part_name(self._name, start + self._before)
        if start == 0 and self._path.stat().st_size == end:
            self._store.write_file(name, self._path)
            return
        with self._path.open("rb") as file:
            file.seek(start)
            self._store.write(name, file.read(end - start))
