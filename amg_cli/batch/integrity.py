"""Is an image file whole, and not too large? Judged from its bytes, before a decoder sees them.

A decoder asked for half a file may answer with half a picture and no error: OpenCV 4.8 does so for
a cut JPEG, OpenCV 5 still for a cut TIFF of separate planes. So each format's own end is sought.

What cannot be seen without decoding passes: bytes changed *inside* the compressed data of a JPEG,
a lossy or lossless WebP or a TIFF (neither OpenCV nor the formats tell), and a JPEG cut and then
closed by a tool that appended an end marker.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amg_cli.batch import headers
from amg_cli.batch.headers import DamagedError, image_format

AGAIN = "re-export or download it again"
_TRUST = "raise `max_megapixels` if you trust it"
# The largest WebP has hardly less (16383 x 16383), and a photograph from a camera half as many.
# OpenCV takes up to 12 bytes a pixel, so 3 GiB for such an image; and a file that declares one
# may have 100 bytes.
MAX_PIXELS = 2**28
# Each costs a pass over the whole picture, and takes ten bytes. libtiff refuses more too.
_MAX_JPEG_SCANS = 100


class Fault(NamedTuple):
    """Why a file is not read: the cause, and what the user can do."""

    cause: str
    remedy: str = AGAIN


def find_fault(data: bytes, max_pixels: int = MAX_PIXELS) -> Fault | None:
    """Why the file whose bytes are `data` should not be decoded; None if it looks whole.

    max_pixels: how many it may declare to have; width times height.
    """
    if not data:
        return Fault("empty file")
    kind = image_format(data)
    if not kind:
        which = "".join(f"{name}, " for name in [headers.phone_format(data)] if name)
        none = f"{which}not a JPEG, PNG, WebP, BMP or TIFF image"
        return Fault(none, "convert it to one of these")
    try:
        return _excess_of_pixels(kind, data, max_pixels) or _CHECKS[kind](data)
    except (struct.error, OverflowError):
        # A header, or a table it points to, ends after the file does; 2^64 bytes after, at most.
        return Fault(f"truncated {kind}")
    except DamagedError:
        return Fault(f"damaged {kind}")


def declared_pixels(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """What an image's header says it has; 0 where it has none, or says more than is taken."""
    try:
        kind = image_format(data)
        if not kind or _excess_of_pixels(kind, data, max_pixels):
            return 0
        _, width, height = next(headers.declared_sizes(data))
    except (struct.error, OverflowError, DamagedError):
        return 0
    return width * height


def find_excess(length: int, max_pixels: int) -> Fault | None:
    """Why a file of `length` bytes should not even be read; None if it may hold an image."""
    # A pixel of 16-bit RGBA takes 8 bytes if not compressed, and there is metadata.
    if length <= 8 * max_pixels + 2**26:
        return None
    cause = (
        f"{length / 10**9:.1f} GB are more than an image of {_millions(max_pixels)} pixels takes"
    )
    return Fault(cause, _TRUST)


def _excess_of_pixels(kind: str, data: bytes, max_pixels: int) -> Fault | None:
    for part, width, height in headers.declared_sizes(data):
        size = f"{part}{width} x {height} pixels"
        if width <= 0 or height <= 0:
            return Fault(f"damaged {kind} of {size}")
        if width * height > max_pixels:
            return Fault(f"{size} are more than the limit of {_millions(max_pixels)}", _TRUST)
    return None


def _millions(count: int) -> str:
    millions = count / 10**6
    return f"{millions:.0f} million" if millions >= 10 else f"{millions:.3g} million"


def _jpeg(data: bytes) -> Fault | None:
    scans = 0
    for code, _ in headers.jpeg_segments(data):
        if code == 0xD9:
            return None
        if code == 0xD8:
            # Another image begins (a thumbnail never shows: its segment is skipped whole).
            break
        scans += code == 0xDA
        if scans > _MAX_JPEG_SCANS:
            return Fault(f"JPEG of more than {_MAX_JPEG_SCANS} scans", "re-export it")
    return Fault("truncated JPEG")


def _png(data: bytes) -> Fault | None:
    view = memoryview(data)
    for name, start, end in headers.png_chunks(data):
        (crc,) = struct.unpack_from(">I", data, end - 4)
        # A lower-case chunk is metadata, which decoders ignore when it is damaged.
        if name[:1].isupper() and zlib.crc32(view[start + 4 : end - 4]) != crc:
            return Fault("damaged PNG")
    return None


def _webp(data: bytes) -> Fault | None:
    (size,) = struct.unpack_from("<I", data, 4)
    return Fault("truncated WebP") if 8 + size > len(data) else None


def _bmp(data: bytes) -> Fault | None:
    offset, header = struct.unpack_from("<II", data, 10)
    compression = 0
    if header == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression in (1, 2):
        # Run-length encoded: only decoding tells the length, and OpenCV refuses a cut one.
        return None
    row_bytes = (width * bits + 31) // 32 * 4
    return Fault("truncated BMP") if offset + row_bytes * abs(height) > len(data) else None


def _tiff(data: bytes) -> Fault | None:
    tags = headers.tiff_page(data)
    tiled = headers.TILES in tags
    offsets = _numbers(tags, headers.TILES if tiled else headers.STRIPS)
    sizes = _numbers(tags, headers.TILE_BYTES if tiled else headers.STRIP_BYTES)
    both = min(offsets.size, sizes.size)
    # Each alone first: then their sum is below 2^64.
    for ends in (offsets, sizes, offsets[:both] + sizes[:both]):
        if (ends > len(data)).any():
            return Fault("truncated TIFF")
    return _tiff_kind(tags)


def _tiff_kind(tags: dict[int, NDArray[np.unsignedinteger]]) -> Fault | None:
    """Why a TIFF is none of photographs. OpenCV refuses some of these without a word why."""
    # There is no one way to make numbers of more than 16 bits, or of either sign, 8 bits.
    convert = "convert it to 8 or 16 bits a sample"
    bits = int(_numbers(tags, headers.BITS).max(initial=1))
    formats = _numbers(tags, headers.SAMPLE_FORMAT)
    if 3 in formats:
        return Fault("floating-point TIFF", convert)
    if bits > 16:
        return Fault(f"TIFF of {bits} bits a sample", convert)
    if 2 in formats:
        return Fault("TIFF of signed numbers", convert + ", without a sign")
    # Grey or colours, and one more that is dropped as transparency is. Of more, OpenCV would take
    # the first for a grey picture, or fail.
    samples = int(_numbers(tags, headers.SAMPLES).max(initial=1))
    grey = _numbers(tags, headers.PHOTOMETRIC).max(initial=1) <= 1
    if samples > (2 if grey else 4):
        return Fault(f"TIFF of {samples} bands", "convert it to grey or RGB")
    return None


def _numbers(tags: dict[int, NDArray[np.unsignedinteger]], tag: int) -> NDArray[np.uint64]:
    return tags.get(tag, np.zeros(0)).astype(np.uint64)


_CHECKS = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp, "BMP": _bmp, "TIFF": _tiff}
