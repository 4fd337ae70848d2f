"""Edge maps of images with truth: where they are, and what they count, by several processes."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.errors import AmgError, InputError, reason
from amg_cli.core.interrupts import SIGNALS, check, end_with_parent, release_signals, signals_held
from amg_cli.evaluate.contours import EdgeCounts, count_edges
from amg_cli.evaluate.matching import Mask
from amg_cli.evaluate.partitions import read_bsds_boundaries

WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


@dataclass(frozen=True)
class EdgeImage:
    """An image with truth. edge_map: None where it has none, so that nothing was found."""

    truth: Path
    edge_map: Path | None

    @property
    def file_name(self) -> str:
        """The image's stem, as the truth does not know its suffix."""
        return self.truth.stem

    def read(self) -> tuple[NDArray[np.float64] | None, list[Mask]]:
        """The map, in [0, 1], and each annotator's boundaries. (H, W) each

        Raises InputError where a file cannot be read, or the map is of another size.
        """
        boundaries = read_bsds_boundaries(self.truth)
        strength = None if self.edge_map is None else read_edge_map(self.edge_map)
        if strength is not None and strength.shape != boundaries[0].shape:
            cause = f"a map of (h, w) {strength.shape}, where the truth is {boundaries[0].shape}"
            remedy = "make it again, from the truth's own image"
            raise InputError(self.edge_map, cause, remedy)
        return strength, boundaries

    def count(self) -> EdgeCounts:
        """What there is of its edges and boundaries, and what of them is matched."""
        strength, boundaries = self.read()
        if strength is None:
            return EdgeCounts.of_nothing_found(boundaries)
        return count_edges(strength, boundaries)


def open_edges(truth: Path, edges: Path, limit: int | None = None) -> list[EdgeImage]:
    """The images with truth, by their names: `ID.npz` in `truth` and `ID.png` in `edges`.

    limit: only the first so many
    Raises InputError where there are none, or what matches them is not installed.
    """
    _check_solver(edges)
    for folder, option in ((truth, "truth"), (edges, "edges")):
        if not folder.is_dir():
            raise InputError(folder, "no such folder", f"check `{option}`")
    files = sorted(truth.glob("*.npz"))[:limit]
    if not files:
        raise InputError(truth, "no .npz in it", "give a folder of BSDS500's truth")
    maps = [edges / f"{file.stem}.png" for file in files]
    if not any(map(Path.exists, maps)):
        cause = "no map in it of an image with truth"
        raise InputError(edges, cause, f"name each as its truth, such as {maps[0].name}")
    return [
        EdgeImage(file, edge_map if edge_map.exists() else None)
        for file, edge_map in zip(files, maps, strict=True)
    ]


def read_edge_map(path: Path) -> NDArray[np.float64]:
    """A grey picture of 8 or 16 bits, black 0 and white 1. -> (H, W)

    Raises InputError for any other file.
    """
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except OSError as error:
        raise InputError(path, f"cannot read it: {reason(error)}", "check the path") from error
    except cv2.error:
        pixels = None
    if pixels is None:
        raise InputError(path, "damaged, or no picture", "write it again")
    if pixels.ndim != 2 or pixels.dtype not in WHITE:
        cause = f"{pixels.dtype} {pixels.shape}, not grey of 8 or 16 bits (H, W)"
        raise InputError(path, cause, "write it as a grey PNG")
    return pixels / WHITE[pixels.dtype]


def count_all(images: Sequence[EdgeImage], nb_processes: int) -> Generator[EdgeCounts, None, None]:
    """What each image counts, in their order, whoever is first.

    nb_processes: one is this process itself; of several, none is this
    """
    nb_processes = min(nb_processes, len(images))
    if nb_processes <= 1:
        yield from map(EdgeImage.count, images)
        return
    # None is forked: this process may have threads, of which a fork would have the locks alone.
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(nb_processes, context, initializer=_prepare_worker)
    try:
        with signals_held():  # those who start meanwhile hold them too, until they are prepared
            results = [pool.submit(image.count) for image in images]
        for result in results:
            yield result.result()
    except BrokenProcessPool as error:
        check()  # whoever ended this process may have ended those too
        where, cause = images[0].truth.parent, "a process that scored its images was killed"
        raise AmgError(where, cause, "it may need more memory than there is") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - set(others):
            process.terminate()


def _check_solver(edges: Path) -> None:
    try:
        import scipy.sparse.csgraph  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'amg-cli[eval]'"
        raise InputError(edges, "edge maps are matched by scipy", remedy) from error


def _prepare_worker() -> None:
    """Have one thread, leave signals to the parent, who ends its workers by SIGTERM, and end when
    it has, however it did.
    """
    cv2.setNumThreads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    release_signals()
