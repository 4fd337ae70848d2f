"""Boxes of images, from a file of any detector or by hand, given out by the image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amg_cli.batch.detection_files import Columns, DataSet, read_columns, reading
from amg_cli.batch.image_names import ImageNames
from amg_cli.batch.sources.images import Source
from amg_cli.core.errors import ImageError, in_short

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image, in the order of the file. N of them.

    image_id:   what the file calls the image; None where it does not know it
    boxes_xyxy: (N, 4) float64 pixels, x0 < x1 and y0 < y1, perhaps outside the image
    categories: the name of each; None for none
    category_ids: the number of each, as of `Detections`; None for none
    scores:     of each; None for none
    numbers:    (N,) int64: the place of each in the file, from 1
    """

    image_id: int | str | None
    boxes_xyxy: NDArray[np.float64]
    categories: tuple[str | None, ...]
    category_ids: tuple[int | None, ...]
    scores: tuple[float | None, ...]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class _Table:
    """All boxes, those of an image together. N boxes, I images.

    starts:     (I + 1,) where the boxes of each image begin
    categories: (N,) int32 indices; -1 for none
    scores:     (N,) float64; nan for none
    """

    image_ids: tuple[int | str, ...]
    starts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    categories: NDArray[np.int32]
    scores: NDArray[np.float64]
    numbers: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes of a file.

    where:        the file's name, for errors
    unit:         what its boxes are counted by: line, detection or annotation
    faults:       a line for each that is no box, in the order of the file; the others are there
    categories:   the names of all categories: of a COCO data set in its order, of COCO results
                  alone by id, else as they first come
    category_ids: the file's ids of these; from 1 where it has names only
    sha256:       of the bytes of the file, and of the data set's after them
    """

    where: str
    unit: str
    faults: tuple[ImageError, ...]
    categories: tuple[str, ...]
    category_ids: tuple[int, ...]
    sha256: str
    _table: _Table
    _names: ImageNames
    _owners: dict[str, int] | None = None

    @staticmethod
    def read(path: Path, data_set: Path | None = None) -> Detections:
        """The boxes of a file of one of the layouts of `detection_files`.

        data_set: a COCO data set that says what the ids of COCO results stand for. Without it, the
            image of id 12 is the one whose name without suffix is 12, or 0012; of an id that is
            text, as of any name; and a category is named as its id.

        Raises InputError for a file that cannot be read, is damaged or of no layout, and for a
        data set beside what is no results.
        """
        columns, known = read_columns(path, data_set)
        digest = hashlib.sha256()
        for each, setting in ((path, "detections"), (data_set, "data_set")):
            if each is not None:
                with reading(each, setting), each.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        digest.update(chunk)
        return _detections(path.name, columns, known, (data_set or path).name, digest.hexdigest())

    def among(self, sources: Iterable[Source]) -> Detections:
        """The same, where each image is that of one input at most: of the one it fits best.

        Without this, `of` takes each input by itself, and the boxes of a.jpg in the file may be
        those of a.jpg and of cats/a.jpg. An image that fits two as well is neither's.
        """
        return replace(self, _owners=self._names.owners(sources)[0])

    def of(self, source: Source) -> Boxes:
        """The boxes of an input, by the rules of `image_names`; N = 0 where the file has none."""
        if self._owners is not None:
            index = self._owners.get(source.identity)
        else:
            found = self._names.find(source)
            index = None if found is None else found[1]
        table = self._table
        rows = slice(0) if index is None else slice(*table.starts[index : index + 2])
        categories = table.categories[rows].tolist()
        return Boxes(
            image_id=None if index is None else table.image_ids[index],
            boxes_xyxy=table.boxes_xyxy[rows],
            categories=tuple(None if i < 0 else self.categories[i] for i in categories),
            category_ids=tuple(None if i < 0 else self.category_ids[i] for i in categories),
            scores=tuple(None if math.isnan(s) else s for s in table.scores[rows].tolist()),
            numbers=table.numbers[rows],
        )

    def unmatched(self, sources: Iterable[Source]) -> list[ImageError]:
        """A line for each image with boxes that is none of these inputs, in the file's order.

        Of one that may be two of them, the line says so: `among` gives its boxes to neither.
        """
        owners, shared = self._names.owners(sources)
        table = self._table
        is_left = np.diff(table.starts) > 0
        is_left[list(owners.values())] = False
        left = np.flatnonzero(is_left)
        left = left[np.argsort(table.numbers[table.starts[left]])]
        return [self._unmatched(index, shared.get(index, [])) for index in left.tolist()]

    def _unmatched(self, index: int, files: list[str]) -> ImageError:
        """The line of an image that is no input's, or fits several equally."""
        start, end = self._table.starts[index : index + 2].tolist()
        boxes = "1 box" if end - start == 1 else f"{end - start} boxes"
        image = f"image {self._names.names[index]}, which has {boxes},"
        where = f"{self.where} {self.unit} {self._table.numbers[start]}"
        if files:
            cause = f"{image} may be {files[0]} or {files[1]}"
            return ImageError(where, cause, "name it by its path in the input folder")
        return ImageError(where, f"{image} is none of the inputs", "check its name, or add it")


def _detections(
    name: str, columns: Columns, data_set: DataSet | None, ids_in: str, sha256: str
) -> Detections:
    """Of columns, with what their ids stand for. ids_in: the name of the file that says it."""
    keys = list(columns.image_keys)
    file_names = None if data_set is None else data_set.file_names
    image_ids = keys if file_names is None else list(file_names)
    images = _mapped(columns.images, keys, image_ids)
    categories = _categories(columns, data_set)
    is_known = images >= 0
    category_of = _mapped(columns.categories, list(columns.category_keys), list(categories))
    is_known &= (category_of >= 0) | (np.asarray(columns.categories) < 0)
    faults = columns.faults + _strangers(columns, ~is_known, images < 0, ids_in)
    return Detections(
        where=name,
        unit=columns.unit,
        faults=tuple(
            ImageError(f"{name} {columns.unit} {number}", cause, "the other boxes are done")
            for number, cause in sorted(faults)
        ),
        categories=tuple(categories.values()),
        category_ids=tuple(
            key if isinstance(key, int) else i for i, key in enumerate(categories, 1)
        ),
        sha256=sha256,
        _table=_by_image(columns, is_known, images, category_of, image_ids),
        _names=ImageNames(image_ids if file_names is None else list(file_names.values())),
    )


def _categories(columns: Columns, data_set: DataSet | None) -> dict[str | int, str]:
    """The names of all categories, by what the file calls them, in their order."""
    if data_set is not None and data_set.categories is not None:
        return data_set.categories
    ids = sorted(key for key in columns.category_keys if isinstance(key, int))
    return {key: str(key) for key in ids or columns.category_keys}


def _mapped(
    indices: Any, keys: Iterable[str | int], known: Iterable[str | int]
) -> NDArray[np.int32]:
    """Indices into keys as indices into what is known; -1 for what is not, and for -1. (N,)"""
    place_of = {key: i for i, key in enumerate(known)}
    places = np.array([place_of.get(key, -1) for key in keys] + [-1], np.int32)
    return places[np.asarray(indices)]


def _strangers(
    columns: Columns, is_fault: NDArray[np.bool_], of_image: NDArray[np.bool_], ids_in: str
) -> list[tuple[int, str]]:
    """(place, cause) of boxes whose image, or else category, the data set does not have."""
    images, categories = list(columns.image_keys), list(columns.category_keys)
    faults = []
    for i in np.flatnonzero(is_fault).tolist():
        if of_image[i]:
            stranger = f"image_id {in_short(images[columns.images[i]])}"
        else:
            stranger = f"category_id {in_short(categories[columns.categories[i]])}"
        faults.append((columns.numbers[i], f"{stranger} is not in {ids_in}"))
    return faults


def _by_image(
    columns: Columns,
    is_kept: NDArray[np.bool_],
    images: NDArray[np.int32],
    categories: NDArray[np.int32],
    image_ids: Sequence[int | str],
) -> _Table:
    """The boxes that are kept, an image's together and in their order."""
    order = np.flatnonzero(is_kept)
    order = order[np.argsort(images[order], kind="stable")]
    return _Table(
        image_ids=tuple(image_ids),
        starts=np.searchsorted(images[order], np.arange(len(image_ids) + 1)),
        boxes_xyxy=np.asarray(columns.boxes_xyxy).reshape(-1, 4)[order],
        categories=categories[order],
        scores=np.asarray(columns.scores)[order],
        numbers=np.asarray(columns.numbers)[order],
    )
