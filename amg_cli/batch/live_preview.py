"""One file that shows what a run does: the latest image that it has finished, with its masks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2

from amg_cli.batch.commit import check_writable, committed
from amg_cli.batch.reading import Reading, read_picture
from amg_cli.batch.sources.address import located
from amg_cli.batch.sources.images import Source
from amg_cli.core.drawing import draw_within
from amg_cli.core.errors import AmgError, ImageError, OutputError, reason
from amg_cli.formats.pictures import save_rgb
from amg_cli.formats.result import Result

EVERY_S = 1.0  # from the end of one drawing to the next, so that a run has half its time at least
LONGEST_PX = 2000  # about what screens have; of larger images a smaller picture is drawn
JPEG_QUALITY = 90
ANOTHER = "give another `preview`"


class LivePreview:
    """The file. It is replaced in one step, so that a viewer that loads it again sees it whole.

    path: its suffix says in which format; None for no file, so that nothing is done
    reading: how the run reads its images, whose pixels do not come back from its workers
    warn: is given the first error there is in drawing or writing; the run goes on, and so does this
    """

    def __init__(
        self,
        path: Path | None,
        reading: Reading,
        warn: Callable[[AmgError], None],
        every_s: float = EVERY_S,
    ) -> None:
        self._path, self._reading, self._warn, self._every_s = path, reading, warn, every_s
        self._latest: Result | None = None
        self._drawn_at_s = -float("inf")
        self._has_warned = False

    def add(self, result: Result | None) -> None:
        """An image is finished: it is drawn if a second has passed, else kept. None: it failed."""
        if self._path is None or result is None:
            return
        self._latest = result
        if time.monotonic() - self._drawn_at_s >= self._every_s:
            self.finish()

    def finish(self) -> None:
        """Draw the last image, if it is not drawn yet."""
        if self._path is None or self._latest is None:
            return
        try:
            _draw(self._latest, self._path, self._reading)
        except (AmgError, OSError, ValueError, MemoryError, cv2.error) as error:
            if not self._has_warned:
                self._warn(_as_warning(self._path, error))
            self._has_warned = True
        self._latest = None
        self._drawn_at_s = time.monotonic()

    def following(self, results: Iterable[Result | ImageError]) -> Iterator[Result | ImageError]:
        """The same results, each added when the next is asked for, as it is finished then."""
        for result in results:
            yield result
            if isinstance(result, Result):
                self.add(result)
        self.finish()


def check_preview(
    path: Path,
    sources: Sequence[Source] = (),
    folders: Sequence[Path] = (),
    output: Path | None = None,
    recursive: bool = False,
) -> None:
    """Raises OutputError where the file cannot be written, or would be in the way.

    sources: the images of the run, as far as they are known
    folders: where they are looked for, with sub-folders if `recursive`, but for the output folder:
        a later run would take the file for one of them
    """
    own = os.path.realpath(path)
    if any(os.path.realpath(source.file) == own for source in sources):
        raise OutputError(path, "is one of the images", ANOTHER)
    if path.is_dir():
        raise OutputError(path, "is a folder", "give `preview` a file")
    is_kept_apart = recursive and output is not None and _is_in(own, output, True)
    for folder in folders:
        if folder.is_dir() and not is_kept_apart and _is_in(own, folder, recursive):
            cause = f"would be taken for an image of {folder} when that is read again"
            raise OutputError(path, cause, ANOTHER)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path.parent)
    except OSError as error:
        raise OutputError(path, f"cannot make its folder: {reason(error)}", ANOTHER) from error
    except OutputError as error:
        raise OutputError(path, error.cause, ANOTHER) from error


def _is_in(own: str, folder: Path, at_any_depth: bool) -> bool:
    """Whether a file, by its whole path, is one of a folder's that is not hidden."""
    path, root = Path(own), os.path.realpath(folder)
    inside = path.relative_to(root).parts if path.is_relative_to(root) else ()
    is_seen = len(inside) == 1 or (at_any_depth and len(inside) > 1)
    return is_seen and not any(part.startswith(".") for part in inside)


def _draw(result: Result, path: Path, reading: Reading) -> None:
    pixels = result.image_rgb
    if pixels is None:
        pixels = read_picture(located(result.source), reading).pixels
    drawn = draw_within(pixels, result.masks, LONGEST_PX)
    if path.is_dir():  # which it would replace
        raise OutputError(path, "is a folder")
    if os.path.realpath(path) == os.path.realpath(result.source):  # one that has just arrived
        raise OutputError(path, "is one of the images")
    with committed(path, overwrite=True) as new:
        save_rgb(new, drawn, JPEG_QUALITY)


def _as_warning(path: Path, error: Exception) -> AmgError:
    if isinstance(error, AmgError):
        cause = f"{error.where}: {error.cause}"
    elif isinstance(error, OSError):
        cause = reason(error)
    else:
        cause = str(error).partition("\n")[0] or type(error).__name__
    return ImageError(path, f"the preview cannot be drawn: {cause}", "the run goes on")
