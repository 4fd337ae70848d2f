"""Candidates in a file of their own, numpy's .npz.

    version  of what follows
    about    JSON: the image's size, the number of views, the settings of `propose`, and of each
             block of the text its bytes
    rows     a row a candidate, deflated: its columns, and its RLE's place and length in the text
    text     the counts of all RLEs, the most stable first, BLOCK of them deflated together

Thresholds mostly leave the stable masks, whose text is short, so that the blocks of the others,
most of the file, are never inflated. The checksums of the file cover all of it.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amg_cli.core.candidates import COLUMNS, Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import InputError, reason
from amg_cli.core.stored_rles import BLOCK, Blocks, StoredRles

VERSION = 2
LEVEL = 1  # of zlib: twice as fast as its default, for a tenth more bytes
_ROW = np.dtype(
    [
        ("boxes_xyxy", "<i4", 4),
        ("areas_px", "<i4"),
        ("pred_iou", "<f4"),
        ("stability_score", "<f4"),
        ("points_xy", "<f8", 2),
        ("crop_boxes_xyxy", "<i4", 4),
        ("place", "<i4"),
        ("length", "<i4"),
    ]
)
_MALFORMED = (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def save(candidates: Candidates, path: Path) -> None:
    """Keep candidates in a file. Raises OSError."""
    rows = np.empty(len(candidates), dtype=_ROW)
    for name in COLUMNS:
        rows[name] = getattr(candidates, name).numpy()
    order = np.argsort(-rows["stability_score"], kind="stable")
    texts = [candidates.rles[i]["counts"] for i in order]
    rows["place"][order] = np.arange(len(order))
    rows["length"][order] = [len(text) for text in texts]
    blocks = [
        zlib.compress("".join(texts[first : first + BLOCK]).encode("ascii"), LEVEL)
        for first in range(0, len(texts), BLOCK)
    ]
    about = _about(candidates) | {"block_bytes": [len(block) for block in blocks]}
    with path.open("wb") as file:  # whose name numpy leaves as it is
        np.savez(
            file,
            version=np.array(VERSION),
            about=_bytes(json.dumps(about).encode("ascii")),
            rows=_bytes(zlib.compress(rows.tobytes(), LEVEL)),
            text=_bytes(b"".join(blocks)),
        )


def load(path: Path) -> Candidates:
    """Candidates of a file. Raises InputError where it is none, damaged, or of another version."""
    try:
        with zipfile.ZipFile(path) as file:
            version = int(_array(file, "version"))
            if version != VERSION:
                newer = version > VERSION
                cause = f"candidates of {'a newer' if newer else 'an older'} amg"
                raise InputError(path, cause, "use that" if newer else "make them again")
            about, rows, text = (_array(file, name) for name in ("about", "rows", "text"))
        about = json.loads(about.tobytes())
        rows = np.frombuffer(zlib.decompress(rows.data), dtype=_ROW)
        height, width = (int(side) for side in about["image_hw"])
        return Candidates(
            _stored(text, about["block_bytes"], rows, (height, width)),
            nb_views=int(about["nb_views"]),
            image_hw=(height, width),
            proposed_with=_settings(about["proposed_with"]),
            **{name: _column(rows[name]) for name in COLUMNS},
        )
    except OSError as error:
        raise InputError(path, reason(error), "check the path") from error
    except _MALFORMED as error:
        raise InputError(path, f"no candidates of amg ({error})", "make them again") from error


def _array(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One of a file's arrays, without the copies that `np.load` makes of them."""
    content = file.read(f"{name}.npy")
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"its {name} is not as `save` writes it")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)


def _stored(
    text: NDArray[np.uint8],
    block_bytes: Sequence[int],
    rows: NDArray[Any],
    size_hw: tuple[int, int],
) -> StoredRles:
    places, ends = rows["place"], [0, *accumulate(block_bytes)]
    nb_blocks = -(-len(rows) // BLOCK)
    is_whole = len(ends) == nb_blocks + 1 and ends[-1] == len(text)
    if not is_whole or not np.array_equal(np.sort(places), np.arange(len(rows))):
        raise ValueError("its parts do not fit together")
    lengths = np.empty_like(places)
    lengths[places] = rows["length"]
    return StoredRles(Blocks(size_hw, text, ends, lengths.cumsum(dtype=np.int64)), places)


def _column(values: NDArray[Any]) -> Tensor:
    whole = values.dtype.kind == "i"
    return torch.from_numpy(values.astype(np.int64 if whole else values.dtype))


def _about(candidates: Candidates) -> dict[str, Any]:
    config = candidates.proposed_with
    return {
        "image_hw": candidates.image_hw,
        "nb_views": candidates.nb_views,
        "proposed_with": None if config is None else dataclasses.asdict(config),
    }


def _settings(values: Mapping[str, Any] | None) -> GenerationConfig | None:
    return None if values is None else GenerationConfig(**values)


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)
