"""Pixels to files, with errors that say what failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray


def save_rgb(path: Path, pixels_rgb: NDArray[Any], jpeg_quality: int) -> None:
    """As `save`, of RGB. jpeg_quality: 0 to 100, where the suffix is of a JPEG"""
    save(path, pixels_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])


def save(path: Path, pixels: NDArray[Any], options: Sequence[int] = ()) -> None:
    """Write a picture, BGR, in the format that the path's suffix names.

    Raises OSError, a full disk's too, which OpenCV's own writer reports by a value alone; and
    ValueError for a size that the format does not have.
    """
    try:
        good, encoded = cv2.imencode(path.suffix, pixels, list(options))
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot encode it ({error.err or error})") from error
    if not good:
        height, width = pixels.shape[:2]
        raise ValueError(f"{path.suffix[1:].upper()} has no pictures of {width} x {height} pixels")
    path.write_bytes(encoded.tobytes())
