"""The images of a run, each with a number and a name, which it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from amg_cli.batch.naming import Names
from amg_cli.batch.sources.address import is_gone
from amg_cli.batch.sources.images import Source
from amg_cli.formats.manifest import Entry


class Listing:
    """All images that were ever listed, in a record or just now.

    An image is known by its real path. One that is not known so, and has the place in its input
    folder of one whose file is gone, is that one: the folder was moved, or lies elsewhere on
    another machine.
    """

    def __init__(self, entries: Iterable[Entry] = (), reserved: Iterable[str] = ()) -> None:
        """reserved: as of `Names`"""
        self._names = Names(reserved)
        self._of_number: dict[int, Entry] = {}
        self._number_of_path: dict[str, int] = {}
        self._numbers_of_file_name: dict[str, tuple[int, ...]] = {}
        for entry in entries:
            self.keep(entry)

    def __getitem__(self, source: Source) -> Entry:
        """The entry of an image that is listed."""
        return self._of_number[self._number_of_path[source.identity]]

    def path_of(self, number: int) -> str:
        """The file of the image with a number."""
        return self._of_number[number].path

    def keep(self, entry: Entry) -> bool:
        """An entry as it is recorded, with a number, in place of an earlier one. -> if it is new"""
        before = self._of_number.get(entry.number)
        if before is None:
            others = self._numbers_of_file_name.get(entry.file_name, ())
            self._numbers_of_file_name[entry.file_name] = (*others, entry.number)
            self._names.keep(entry.name)
        else:
            self._number_of_path.pop(before.path, None)
        self._of_number[entry.number] = entry
        self._number_of_path[entry.path] = entry.number
        return before is None

    def add(self, sources: Sequence[Source], has_output: Callable[[str], bool]) -> list[Entry]:
        """List images. -> the entries that are new or have another path than they had.

        has_output: whether there is output of such a name already
        """
        unknown = [source for source in sources if source.identity not in self._number_of_path]
        moved, new = [], []
        for source in unknown:
            entry = self._moved(source)
            if entry is None:
                new.append(source)
            else:
                self.keep(entry)
                moved.append(entry)
        names = self._names.give([source.relative for source in new])
        numbered = enumerate(zip(new, names, strict=True), start=len(self._of_number) + 1)
        added = [
            Entry(
                number=number,
                name=name,
                file_name=source.relative,
                path=source.identity,
                existed=has_output(name),
            )
            for number, (source, name) in numbered
        ]
        for entry in added:
            self.keep(entry)
        return moved + added

    def _moved(self, source: Source) -> Entry | None:
        """The entry that is this image's, with its new path, if its file was elsewhere before."""
        for number in self._numbers_of_file_name.get(source.relative, ()):
            entry = self._of_number[number]
            if is_gone(entry.path):
                return Entry(number, entry.name, entry.file_name, source.identity, entry.existed)
        return None
