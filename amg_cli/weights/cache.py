"""Where checkpoints are kept, and whether they are there and whole. No network here.

A dozen lines by hand instead of platformdirs: one folder is all that is wanted of it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amg_cli.core.errors import WeightsError
from amg_cli.weights.zoo import ZOO, KnownModel

CHUNK_BYTES = 1 << 20
PACKAGED = Path(__file__).parent / "packaged"  # the checkpoints that come with this package
REINSTALL = "install amg-cli again"  # what to do where one of those is not as it was


def cache_folder() -> Path:
    """The folder of checkpoints, absolute: `AMG_CACHE`, else what the platform's convention says.

    Linux: XDG_CACHE_HOME or ~/.cache, then amg. macOS: ~/Library/Caches/amg.
    Windows: %LOCALAPPDATA%/amg/Cache. It may not exist yet. Raises WeightsError if there is no
    home folder, as for a user id that the machine does not know.
    """
    try:
        chosen = os.environ.get("AMG_CACHE")
        return Path(chosen).expanduser().absolute() if chosen else _platform_folder()
    except RuntimeError as error:
        remedy = "set AMG_CACHE to a folder that can be written to"
        raise WeightsError("cache of weights", "no home folder is known", remedy) from error


def cached_path(known: KnownModel) -> Path:
    """Where the model's checkpoint is, or will be."""
    folder = PACKAGED if known.url is None else cache_folder()
    return folder / known.filename


def is_present(known: KnownModel) -> bool:
    """Whether the checkpoint is there, judged by its exact size; `verify` reads it all.

    Never of a file that cannot be checked, which is given by its path.
    """
    if not known.can_be_checked:
        return False
    try:
        return cached_path(known).stat().st_size == known.size_bytes
    except OSError:
        return False


def verify(known: KnownModel) -> bool:
    """Whether the file is the published one, byte for byte; False if it is missing.

    Raises WeightsError for a file that cannot be read.
    """
    path = cached_path(known)
    if not is_present(known):
        return False
    try:
        return sha256_of(path) == known.sha256
    except OSError as error:
        cause = error.strerror or str(error)
        raise WeightsError(path, cause, "check its permissions, or delete it") from error


def is_file_of(known: KnownModel, path: Path) -> bool:
    """Whether a file is a model's, wherever it lies: it has the published name, or bytes."""
    if path.name == known.filename:
        return True
    is_of_size = known.size_bytes in (0, path.stat().st_size)
    return is_of_size and known.sha256 != "" and sha256_of(path) == known.sha256


def own_settings(path: Path) -> Mapping[str, Any]:
    """Those of the known model that a file is of, where it is of one that has some.

    Raises OSError.
    """
    found = (row.settings for row in ZOO.values() if row.settings and is_file_of(row, path))
    return next(found, {})


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, read a chunk at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def human_bytes(nb_bytes: int) -> str:
    """Three digits and a decimal unit: 375042383 -> "375 MB"."""
    size, unit = float(nb_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def _platform_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData/Local") / "amg/Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/amg"
    # The XDG specification has relative values ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "amg"
