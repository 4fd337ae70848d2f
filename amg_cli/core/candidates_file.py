"""Candidates in a file of their own, numpy's .npz.

    version   of what follows
    about     JSON: the image's size, the number of views, the settings of `propose`
    columns   all columns of all candidates, deflated
    text      the counts of all RLEs, the most stable first, BLOCK of them deflated together
    places, lengths, block_bytes
              of each candidate its place in the text, of each RLE there its characters, of each
              block its bytes

Thresholds mostly leave the stable masks, whose text is short, so that the blocks of the others,
most of the file, are never inflated. The checksums of the file cover all of it.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from amg_cli.core.candidates import COLUMNS, Candidates
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import InputError, reason
from amg_cli.core.stored_rles import BLOCK, StoredRles

VERSION = 2
LEVEL = 1  # of zlib: twice as fast as its default, for a tenth more bytes
_ROW = np.dtype(
    [
        ("boxes_xyxy", "<i8", 4),
        ("areas_px", "<i8"),
        ("pred_iou", "<f4"),
        ("stability_score", "<f4"),
        ("points_xy", "<f8", 2),
        ("crop_boxes_xyxy", "<i8", 4),
    ]
)
_MALFORMED = (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def save(candidates: Candidates, path: Path) -> None:
    """Keep candidates in a file. Raises OSError."""
    rows = np.empty(len(candidates), dtype=_ROW)
    for name in COLUMNS:
        rows[name] = getattr(candidates, name).numpy()
    order = np.argsort(-rows["stability_score"], kind="stable")
    places = np.empty(len(order), dtype=np.int32)
    places[order] = np.arange(len(order))
    texts = [candidates.rles[i]["counts"] for i in order]
    blocks = [
        zlib.compress("".join(texts[first : first + BLOCK]).encode("ascii"), LEVEL)
        for first in range(0, len(texts), BLOCK)
    ]
    with path.open("wb") as file:  # whose name numpy leaves as it is
        np.savez(
            file,
            version=np.array(VERSION),
            about=_bytes(json.dumps(_about(candidates)).encode("ascii")),
            columns=_bytes(zlib.compress(rows.tobytes(), LEVEL)),
            text=_bytes(b"".join(blocks)),
            places=places,
            lengths=np.array([len(text) for text in texts], dtype=np.int32),
            block_bytes=np.array([len(block) for block in blocks], dtype=np.int32),
        )


def load(path: Path) -> Candidates:
    """Candidates of a file. Raises InputError where it is none, damaged, or of another version."""
    try:
        with np.load(path, allow_pickle=False) as file:
            version = int(file["version"])
            if version != VERSION:
                newer = version > VERSION
                cause = f"candidates of {'a newer' if newer else 'an older'} amg"
                raise InputError(path, cause, "use that" if newer else "make them again")
            values = {name: file[name] for name in file.files}
        about = json.loads(values["about"].tobytes())
        rows = np.frombuffer(zlib.decompress(values["columns"].tobytes()), dtype=_ROW)
        height, width = (int(side) for side in about["image_hw"])
        columns = {name: torch.from_numpy(rows[name].copy()) for name in COLUMNS}
        return Candidates(
            _stored(values, len(rows), (height, width)),
            nb_views=int(about["nb_views"]),
            image_hw=(height, width),
            proposed_with=_settings(about["proposed_with"]),
            **columns,
        )
    except OSError as error:
        raise InputError(path, reason(error), "check the path") from error
    except _MALFORMED as error:
        raise InputError(path, f"no candidates of amg ({error})", "make them again") from error


def _stored(values: Mapping[str, Any], count: int, size_hw: tuple[int, int]) -> StoredRles:
    places, lengths = values["places"], values["lengths"]
    ends = values["block_bytes"].cumsum().tolist()
    text = values["text"].tobytes()
    fits = len(lengths) == count == len(places) and np.array_equal(
        np.sort(places), np.arange(count)
    )
    if not fits or len(ends) != -(-count // BLOCK) or (ends or [0])[-1] != len(text):
        raise ValueError("its parts do not fit together")
    blocks = [text[start:end] for start, end in pairwise([0, *ends])]
    return StoredRles.of(size_hw, blocks, lengths, places)


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
