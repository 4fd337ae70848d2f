"""Whole images of each format, made by hand or by Pillow, for tests to break."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.image_bytes import (
    bitmap_of_runs,
    encoded,
    oriented,
    planes_and_strips,
    png_chunk,
    tiff_of,
    tiled_tiff,
)

# Smooth, so that a lossy picture of it is close to it.
ROWS, COLUMNS = np.mgrid[0:160:4, 0:240:4].astype(np.uint8)
SMOOTH = np.dstack([COLUMNS, ROWS, np.full_like(ROWS, 90)])
NOISE = np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8)
GREY = NOISE[..., 0]


def frames(kind: str, first: np.ndarray = NOISE, **options: object) -> bytes:
    """A moving picture, or pages: `first`, then its colours inverted."""
    second = Image.fromarray(255 - first)
    return encoded(kind, first, save_all=True, append_images=[second], **options)


def bases() -> dict[str, list[bytes]]:
    """Whole images of each format, of the kinds that take different ways through a decoder."""
    rgba = np.dstack([NOISE, GREY])
    palette = Image.fromarray(NOISE).quantize(16)
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    return {
        "jpeg": [
            encoded("JPEG", SMOOTH),
            encoded("JPEG", NOISE, progressive=True, exif=oriented(6)),
            encoded("JPEG", GREY),
            encoded("JPEG", cmyk, progressive=True),
        ],
        "png": [
            encoded("PNG", SMOOTH, exif=oriented(5)),
            encoded("PNG", palette, transparency=3),
            encoded("PNG", rgba),
            frames("PNG"),
            interlaced_png(),
        ],
        "webp": [
            encoded("WEBP", SMOOTH, exif=oriented(3)),
            encoded("WEBP", rgba),
            encoded("WEBP", NOISE, lossless=True),
            frames("WEBP"),
        ],
        "tiff": [
            encoded("TIFF", SMOOTH),
            encoded("TIFF", NOISE, compression="tiff_lzw"),
            encoded("TIFF", SMOOTH, compression="jpeg"),
            encoded("TIFF", Image.fromarray(GREY).convert("1"), compression="group4"),
            encoded("TIFF", palette, compression="packbits"),
            tiff_of(planes_and_strips(NOISE, 8), (60, 40), 8, planar=2),
            tiff_of(planes_and_strips(NOISE, 8), (60, 40), 8, planar=2, big=1),
            tiled_tiff(),
            frames("TIFF"),
        ],
        "bmp": [
            encoded("BMP", SMOOTH),
            encoded("BMP", palette),
            encoded("BMP", rgba),
            bitmap_of_runs(),
            encoded("BMP", Image.fromarray(GREY).convert("1")),
        ],
    }


def interlaced_png() -> bytes:
    """A grey PNG in seven passes, whose pixels are all 0."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 0, 0, 0, 1))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(60 * 40 + 200)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


BASES = bases()
