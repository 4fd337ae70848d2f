"""From an image file's bytes to pixels, and what is to be said of them."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.batch.decoder_lines import damage, taken_from_stderr
from amg_cli.batch.headers import image_format, is_16_bit, still_png
from amg_cli.batch.integrity import AGAIN, Fault
from amg_cli.batch.sources.address import Address
from amg_cli.core.errors import ImageError

NO_MEMORY = Fault("not enough memory to decode it", "make it smaller")
# A picture of 12 bits in a file of 16 has no high byte over 16, rounded; but a broken pixel may.
_DARK, _BRIGHT_SHARE = 16, 0.001
_ALMOST_BLACK = Fault(
    "16 bits a channel, whose high byte, which is taken, is all but empty", "give `stretch`"
)


def decode(
    path: Path | Address, data: bytes, stretch: bool
) -> tuple[NDArray[np.uint8], list[Fault]]:
    """The pixels of a file's bytes, (H, W, 3) RGB, and what may be wrong with them.

    path:    the file, or where else it lies, for errors
    stretch: scale 16 bits by their range, from the darkest value to the brightest, to 8; otherwise
             the high byte is taken, as the reference takes it
    Errors: ImageError.
    """
    kind, deep = image_format(data), is_16_bit(data)
    _quiet_opencv()
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if deep and stretch else 0)
    try:
        still = still_png(data) if kind == "PNG" else data
        with taken_from_stderr() as lines:
            bgr = cv2.imdecode(np.frombuffer(still, np.uint8), flags)
        if "OPENCV_LOG_LEVEL" in os.environ:  # then they were asked for
            sys.stderr.writelines(f"{line}\n" for line in lines)
        if bgr is not None:
            bgr = _stretched(bgr) if deep and stretch else bgr
            rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            return rgb, _warnings(lines, rgb, deep and not stretch)
    except MemoryError as error:
        raise ImageError(path, *NO_MEMORY) from error
    except cv2.error as error:
        raise ImageError(path, *_explain(error)) from error
    raise ImageError(path, f"damaged {kind}, or of a kind OpenCV does not know", "re-export it")


def _stretched(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """16 bits to 8, from the lowest value of all channels to the highest, by a table."""
    low, high = int(pixels.min()), int(pixels.max())
    levels = np.arange(2**16, dtype=np.float64) - low
    table = np.clip(levels * 255 / max(high - low, 1), 0, 255)
    return np.rint(table).astype(np.uint8)[pixels]


def _warnings(lines: list[str], rgb: NDArray[np.uint8], high_byte: bool) -> list[Fault]:
    found = [Fault(meaning, AGAIN)] if (meaning := damage(lines)) else []
    if high_byte and np.count_nonzero(rgb > _DARK) < _BRIGHT_SHARE * rgb.size:
        found.append(_ALMOST_BLACK)
    return found


def _explain(error: cv2.error) -> Fault:
    """OpenCV's exception in the user's words."""
    if "CV_IO_MAX_IMAGE" in str(error):
        side = "OPENCV_IO_MAX_IMAGE_PIXELS, _WIDTH and _HEIGHT"
        return Fault("larger than OpenCV reads (2^30 pixels, 2^20 a side)", f"see {side}")
    # An exception of a library below OpenCV has neither code nor text of its own.
    if getattr(error, "code", None) == -4 or "bad_alloc" in str(error):
        return NO_MEMORY
    return Fault(f"OpenCV cannot decode it: {getattr(error, 'err', error)}", "re-export it")


@cache
def _quiet_opencv() -> None:
    """Keep OpenCV's own lines about broken files off stderr: each becomes an error here.

    Once, and for the process, because the level is global: restoring it would race with other
    threads. Who asked for a level with OPENCV_LOG_LEVEL keeps it.
    """
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # 4.8 has the function in one place, 4.14 and 5 in another.
    holder = getattr(cv2.utils, "logging", cv2)
    set_level = getattr(holder, "setLogLevel", None)
    if set_level:
        set_level(0)
