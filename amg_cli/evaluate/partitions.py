"""BSDS500's region measures: a partition of an image against several annotators' partitions.

A partition gives each pixel one label, so that its regions cover the image and do not overlap; the
labels' values mean nothing. H, W are the image's height and width in pixels, R and S count the
regions of two partitions of it.

Source of the measures: Arbeláez, Maire, Fowlkes and Malik, "Contour Detection and Hierarchical
Image Segmentation", PAMI 2011, section 2.3.
"""

from __future__ import annotations

import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.core.rle import Rle

Labels = NDArray[np.integer[Any]]

# What numpy and zipfile raise for a file that is not whole, or of another kind.
_DAMAGED = (
    *(ValueError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError),
)


@dataclass(frozen=True)
class OverAnnotators:
    """One measure, taken against each annotator's partition.

    best: the best of them: the highest, or the lowest where lower is better
    mean: the mean of them
    """

    best: float
    mean: float


@dataclass(frozen=True)
class PartitionScores:
    """How well a partition agrees with the annotators'.

    covering:                 in (0, 1], higher is better
    rand_index:               in [0, 1], higher is better; its mean is the probabilistic Rand index
    variation_of_information: in bits, from 0, lower is better
    """

    covering: OverAnnotators
    rand_index: OverAnnotators
    variation_of_information: OverAnnotators


def score_partition(labels: Labels, truths: Sequence[Labels]) -> PartitionScores:
    """A partition against each annotator's. (H, W), each (H, W).

    Raises ValueError where there is no annotator, or where the sizes differ.
    """
    if not truths:
        raise ValueError("no annotator's partition to score against")
    overlaps = [contingency(labels, truth) for truth in truths]
    covers = [covering(overlap) for overlap in overlaps]
    rands = [rand_index(overlap) for overlap in overlaps]
    informations = [variation_of_information(overlap) for overlap in overlaps]
    return PartitionScores(
        covering=OverAnnotators(max(covers), float(np.mean(covers))),
        rand_index=OverAnnotators(max(rands), float(np.mean(rands))),
        variation_of_information=OverAnnotators(min(informations), float(np.mean(informations))),
    )


def flatten(rles: Sequence[Rle], size_hw: tuple[int, int]) -> NDArray[np.int32]:
    """Masks, which may overlap and leave gaps, as a partition. N Rles -> (H, W), labels 0 … n - 1.

    Each pixel belongs to the smallest mask that holds it: the one of fewest pixels, of equals the
    earlier. The pixels that no mask holds are a region for each of their 4-connected components.
    Regions of masks come first, in the masks' order; a mask whose pixels all went to smaller ones
    has none, and one that smaller ones cut apart is still one region.

    Raises ValueError for a mask of another size.
    """
    for i, rle in enumerate(rles):
        if tuple(rle["size"]) != tuple(size_hw):
            raise ValueError(f"mask {i}: (h, w) is {tuple(rle['size'])}, not {size_hw}")
    owners = rle_codec.smallest_over(rles, size_hw)
    rest = owners < 0
    _, components = cv2.connectedComponents(rest.astype(np.uint8), connectivity=4)
    owners[rest] = len(rles) + components[rest]
    return _renumbered(owners)[0].reshape(size_hw).astype(np.int32)


def contingency(a: Labels, b: Labels) -> NDArray[np.int64]:
    """The pixels that each region of `a` shares with each of `b`. (H, W), (H, W) -> (R, S).

    Only labels in use have a row or a column. Raises ValueError where the sizes differ.
    """
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"two partitions of one image cannot be {a.shape} and {b.shape}")
    a_rows, nb_rows = _renumbered(a)
    b_columns, nb_columns = _renumbered(b)
    cells = np.bincount(a_rows * nb_columns + b_columns, minlength=nb_rows * nb_columns)
    return cells.reshape(nb_rows, nb_columns).astype(np.int64, copy=False)


def covering(overlap: NDArray[np.int64]) -> float:
    """How well the rows' regions cover the columns', the truth. (R, S) -> in (0, 1].

    The mean over pixels of the best IoU that the pixel's true region has with any region.
    """
    true_areas = overlap.sum(axis=0)
    union = overlap.sum(axis=1)[:, None] + true_areas[None, :] - overlap
    best_iou = (overlap / union).max(axis=0)
    return float((true_areas * best_iou).sum() / true_areas.sum())


def rand_index(overlap: NDArray[np.int64]) -> float:
    """The share of pixel pairs that both partitions join, or both part. (R, S) -> in [0, 1].

    1 for an image of one pixel, which has no pair.
    """
    pairs = _nb_pairs(overlap.sum())
    if pairs == 0:
        return 1.0
    joined_in_both = _nb_pairs(overlap)
    joined_in_one = _nb_pairs(overlap.sum(axis=1)) + _nb_pairs(overlap.sum(axis=0))
    return (pairs + 2 * joined_in_both - joined_in_one) / pairs


def variation_of_information(overlap: NDArray[np.int64]) -> float:
    """What each partition leaves unknown of the other, in bits: H(A|B) + H(B|A). (R, S) -> 0 ….

    At most 2 log2 of the number of pixels.
    """
    rows, columns = overlap.nonzero()
    shared = overlap[rows, columns]
    # Ratios of whole numbers from 1 up: equal partitions give 0 exactly, and none less.
    unknown = np.log2(overlap.sum(axis=1)[rows] / shared)
    unknown += np.log2(overlap.sum(axis=0)[columns] / shared)
    return float((shared * unknown).sum() / shared.sum())


def read_bsds(path: Path) -> list[Labels]:
    """The annotators' partitions of an image, (H, W) each, from an `ID.npz`.

    They are its arrays `segmentation_0`, `segmentation_1`, …, in order of the number; other arrays
    are not read. Raises InputError for a file that is not such a file.
    """
    return _annotators(path, _SEGMENTATIONS)


def read_bsds_boundaries(path: Path) -> list[NDArray[np.bool_]]:
    """The annotators' boundaries of an image, (H, W) each, from an `ID.npz`.

    As `read_bsds`, of its arrays `boundaries_0`, `boundaries_1`, …, where what is not 0 is one.
    """
    return [boundaries != 0 for boundaries in _annotators(path, _BOUNDARIES)]


@dataclass(frozen=True)
class _Drawing:
    """What each annotator has drawn.

    name, plural: of one annotator's array, before its number; of several
    dtype_kinds, values: what it may have, as numpy's letters and in words
    """

    name: str
    plural: str
    dtype_kinds: str
    values: str


_SEGMENTATIONS = _Drawing("segmentation", "segmentations", "ui", "whole numbers")
_BOUNDARIES = _Drawing("boundaries", "boundaries", "bui", "true or false")


def _annotators(path: Path, drawing: _Drawing) -> list[NDArray[Any]]:
    remedy = f"give an .npz with arrays {drawing.name}_0, {drawing.name}_1, …"
    try:
        arrays = _numbered_arrays(path, drawing.name)
    except OSError as error:
        cause = f"cannot read it: {(error.strerror or str(error)).lower()}"
        raise InputError(path, cause, "check the path") from error
    except _DAMAGED as error:
        raise InputError(path, f"damaged, or no .npz ({error!r})", remedy) from error
    if not arrays:
        raise InputError(path, f"no array {drawing.name}_0 in it", remedy)
    for key, array in arrays.items():
        if array.ndim != 2 or array.size == 0 or array.dtype.kind not in drawing.dtype_kinds:
            cause = f"{key} is {array.dtype} {array.shape}, not {drawing.values} (H, W)"
            raise InputError(path, cause, remedy)
    if len({array.shape for array in arrays.values()}) > 1:
        cause = f"its {drawing.plural} differ in size"
        raise InputError(path, cause, "take it from its source again")
    return list(arrays.values())


def _numbered_arrays(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """The arrays `name_0`, `name_1`, … in order of their numbers."""
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("one array, not an archive of several")
        matches = {key: re.fullmatch(rf"{name}_([0-9]+)", key) for key in archive.files}
        numbers = {key: int(match[1]) for key, match in matches.items() if match}
        return {key: np.asarray(archive[key]) for key in sorted(numbers, key=numbers.__getitem__)}


def _renumbered(labels: Labels) -> tuple[NDArray[np.int64], int]:
    """The labels in use as 0 … n - 1, in their order, flat; and n. (H, W) -> (H * W,)."""
    used, renumbered = np.unique(labels.ravel(), return_inverse=True)
    return renumbered.astype(np.int64, copy=False), len(used)


def _nb_pairs(areas_px: NDArray[np.int64]) -> int:
    """Pairs of pixels of one region, over all regions. int64 holds them up to 4 gigapixels."""
    return int((areas_px * (areas_px - 1) // 2).sum())
