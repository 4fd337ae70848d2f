"""A run's folder on this disk that stands for one in the cloud.

The folder is an ordinary run's, but holds no outputs longer than they take to be sent; its record
is sent too, every few seconds. What is there is what counts: the folder is begun empty, with the
record from there, and is removed at the end. So a run that was killed has lost what it had not
recorded there in the last seconds; that is done again, and takes the place of what there is of it.

    outputs of an image     sent by who makes them, before the outcome is known: `Place.sent`
    masks, then records     parts of `.amg/masks.ndjson` and `.amg/run.ndjson`, as of `parts.py`
    files of the whole run  each whole, before the record says that the run has ended
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from amg_cli.batch.cloud.holder import RemoteHolder
from amg_cli.batch.cloud.place import AT_ONCE, Place, UploadError
from amg_cli.batch.cloud.record_store import RecordStore
from amg_cli.batch.cloud.tail import Tail
from amg_cli.batch.holding import held_alone
from amg_cli.batch.storage import OnDisk
from amg_cli.core.errors import OutputError, reason
from amg_cli.formats.manifest import FOLDER, IMAGES, Shard, read_entries
from amg_cli.formats.parts import join_parts, part_name, split_name
from amg_cli.weights.cache import cache_folder

SAVE_S = 5.0  # from one sending of records to the next


class Mirror(OnDisk):
    """One shard's. Only the process that holds it sends the record.

    place: the address, and the folder
    """

    place: Place

    def __init__(self, place: Place, shard: Shard) -> None:
        self.place = place
        self._store = RecordStore(place)
        self._shard = shard
        self._record = place.folder / FOLDER
        self._names: dict[Path, frozenset[str]] = {}  # of what lies in a folder there, as it was
        self._holder = RemoteHolder(self._store, f"{shard.file('run')}.holder", place.shown)
        self._saving = threading.Lock()
        self._ended = threading.Event()
        self._error: OutputError | None = None

    @staticmethod
    @contextmanager
    def held(url: str, shard: Shard, whole: bool = False) -> Iterator[Mirror]:
        """It, and the right to write there, until the block ends.

        whole: with all that is recorded, of every shard
        Raises OutputError where another run writes there, or the address or the folder here cannot
        be used; InputError where a library is not installed.
        """
        name = hashlib.sha256(f"{url.rstrip('/')} {shard.index}/{shard.count}".encode()).hexdigest()
        place = Place(url, cache_folder() / "outputs" / name[:16])
        mirror = Mirror(place, shard)
        _make_folder(place.folder.parent)
        with held_alone(place.folder.with_suffix(".lock"), place.shown):
            try:
                shutil.rmtree(place.folder, ignore_errors=True)
                with mirror._holder.held():
                    mirror._download(whole)
                    yield mirror
            finally:
                shutil.rmtree(place.folder, ignore_errors=True)

    @staticmethod
    @contextmanager
    def looked_at(url: str, shard: Shard) -> Iterator[Mirror]:
        """It, only to be read. Raises as `held`."""
        with tempfile.TemporaryDirectory(prefix="amg-") as folder:
            mirror = Mirror(Place(url, Path(folder)), shard)
            mirror._download(whole=False)
            yield mirror

    @contextmanager
    def sending(self, kept_bytes: Callable[[], int]) -> Iterator[None]:
        """Inside, what is recorded is sent now and then; at the end, whatever that is, the rest.

        What is there of masks beyond those that are recorded is removed.
        """
        self._kept = kept_bytes()
        self._masks = self._tail("masks", sent=self._kept)
        self._masks.remove_from(self._kept)
        saver = threading.Thread(target=self._save_often, daemon=True)
        saver.start()
        went_well = False
        try:
            yield
            went_well = True
        finally:
            self._ended.set()
            saver.join()
            if went_well:
                self.save()
            elif self._error is None:  # what has failed is not hidden by what fails now
                with suppress(OutputError):
                    self.save()

    def shown(self, path: str | Path) -> str:
        """What a path in the folder is called there, as it may be seen."""
        return self.place.shown_of(path)

    def exists(self, path: str | Path) -> bool:
        """Whether there was, before this run, what a path in the folder stands for."""
        path = Path(path)
        return path.name in self._names_in(path.parent)

    def check(self) -> None:
        """Raises the OutputError that the last sending has met, or that another has the place."""
        if self._error is not None:
            raise self._error
        self._holder.check()

    def save(self) -> None:
        """Send what is recorded and not there yet. Raises OutputError."""
        with self._saving:
            self._holder.check()
            end = self._run.end()  # masks first, which these records speak of
            self._images.send(self._images.end())
            self._masks.send(self._masks.end())
            self._run.send(end)
            self._images.fold_some()
            self._run.fold_some()

    def listed(self) -> None:
        """Images were listed: they are to be there before an output of them.

        Raises OutputError; also where another shard, listing at the same time, has given the
        numbers to other images. What was listed here is forgotten then.
        """
        first = self._images.next_start
        with self._saving:
            self._images.send(self._images.end())
            self._images.fold_some()
        if self._shard.count == 1 or self._images.next_start == first:
            return
        sizes = self._store.sizes()
        if self._others_in(sizes) == self._others_in(self._sizes):
            return
        self._sizes |= self._others_in(sizes)
        with tempfile.TemporaryDirectory(dir=self._record) as folder:
            _make_folder(Path(folder, FOLDER))
            lists = [name for name in sizes if name.startswith("images")]
            self._store.fetch(lists, Path(folder, FOLDER))
            try:
                read_entries(Path(folder))
            except OutputError as error:
                self._images.remove_from(first)
                cause = "shards that began at the same time have listed different images"
                raise OutputError(self.place.shown, cause, "run the same again") from error

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Inside, the record here is emptied and begun anew; so it is there. Raises OutputError."""
        with self._saving:
            self._holder.check()
            self._run.fold()
            yield
            self._images.send(self._images.end())
            self._run.begin_anew()
            self._masks.remove_from(0)
            self._kept = 0

    def put(self, targets: Sequence[Path]) -> None:
        """Send files and folders of the whole run. Raises OutputError."""
        for target in targets:
            try:
                self.place.put([target], replaces=True)
            except UploadError as error:
                raise OutputError(error.where, error.cause, error.remedy) from error

    def finish(self) -> None:
        """Send the last records; there is one file of them then. Raises OutputError."""
        self.save()
        with self._saving:
            self._run.fold()

    def complete_masks(self) -> None:
        """Fetch the masks that were kept before this run. Raises OutputError."""
        if not self._kept:
            return
        name = self._shard.file("masks")
        fetched = self._record / "fetched"
        starts = sorted(start for start in self._starts(name) if start < self._kept)
        path = self._record / name
        path.touch()
        for first in range(0, len(starts), AT_ONCE):
            some = starts[first : first + AT_ONCE]
            _make_folder(fetched)
            self._store.fetch([part_name(name, start) for start in some], fetched)
            with path.open("r+b") as file:
                for start in some:
                    file.seek(start)
                    with (fetched / part_name(name, start)).open("rb") as part:
                        _copy(part, file, self._kept - start)
            shutil.rmtree(fetched)

    def _download(self, whole: bool) -> None:
        _make_folder(self._record)
        self._sizes = self._store.sizes()
        own = (self._shard.file("run"), "images")
        self._store.fetch(
            [name for name in self._sizes if split_name(name) and (whole or name.startswith(own))],
            self._record,
        )
        join_parts(self._record)
        self._run = self._tail("run", sent=_size(self._record / self._shard.file("run")))
        here = _size(self._record / IMAGES)
        there = self._end_of(self._shard.file("images"))
        self._images = Tail(
            self._store,
            self._record / IMAGES,
            self._shard.file("images"),
            sent=here,
            before=there - here,
        )

    def _tail(self, kind: Literal["run", "masks"], sent: int) -> Tail:
        name = self._shard.file(kind)
        return Tail(self._store, self._record / name, name, self._starts(name), sent)

    def _others_in(self, sizes: dict[str, int]) -> dict[str, int]:
        """The lists of images that other shards have there."""
        own = self._shard.file("images")
        return {n: s for n, s in sizes.items() if n.startswith("images") and not n.startswith(own)}

    def _starts(self, name: str) -> list[int]:
        splits = map(split_name, self._sizes)
        return [split[1] for split in splits if split and split[0] == name]

    def _end_of(self, name: str) -> int:
        ends = (s + self._sizes[part_name(name, s)] for s in self._starts(name))
        return max(ends, default=0)

    def _names_in(self, folder: Path) -> frozenset[str]:
        """Of what lies in a folder there; looked up once, and not where there is no such folder."""
        if folder not in self._names:
            root = self.place.folder
            is_there = folder == root or folder.name in self._names_in(folder.parent)
            self._names[folder] = self._list(folder) if is_there else frozenset()
        return self._names[folder]

    def _list(self, folder: Path) -> frozenset[str]:
        inside = folder.relative_to(self.place.folder).as_posix()
        return frozenset(self._store.names(inside))

    def _save_often(self) -> None:
        while not self._ended.wait(SAVE_S):
            try:
                self.save()
            except OutputError as error:
                self._error = error
                return


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0 and (piece := source.read(min(length, 2**20))):
        target.write(piece)
        length -= len(piece)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set AMG_CACHE to a folder that can be written to"
        raise OutputError(folder, reason(error), remedy) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
