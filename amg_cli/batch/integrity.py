"""Is an image file whole? Judged from its bytes, before a decoder sees them.

A decoder asked for half a file may answer with half a picture and no error: OpenCV 4.8 does so for
a cut JPEG, OpenCV 5 still for a cut TIFF of separate planes. So each format's own end is sought.

What cannot be seen without decoding passes: bytes changed *inside* the compressed data of a JPEG,
a lossy or lossless WebP or a TIFF (neither OpenCV nor the formats tell), and a JPEG cut and then
closed by a tool that appended an end marker.
"""

from __future__ import annotations

import re
import struct
import zlib
from itertools import zip_longest
from typing import NamedTuple

AGAIN = "re-export or download it again"
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
# FF 00 is a stuffed byte and FF D0 to FF D7 are restarts: both belong to the compressed data.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_TIFF_MAGIC = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q"}
_BITS, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 258, 273, 279, 324, 325, 339
_COLOUR_MAP, _JPEG_TABLES = 320, 347  # read for nothing but to see that they are in the file
_TIFF_TAGS = frozenset(
    {_BITS, _STRIPS, _STRIP_BYTES, _COLOUR_MAP, _TILES, _TILE_BYTES, _SAMPLE_FORMAT, _JPEG_TABLES}
)


class Fault(NamedTuple):
    """Why a file is not read: the cause, and what the user can do."""

    cause: str
    remedy: str = AGAIN


def image_format(data: bytes) -> str:
    """The format `data` begins as: "JPEG", "PNG", "WebP", "BMP", "TIFF", or "" for any other."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data[:4] in _TIFF_MAGIC:
        return "TIFF"
    # Two letters are no proof: a text that begins with BM is no bitmap.
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    return ""


def find_fault(data: bytes) -> Fault | None:
    """Why the file whose bytes are `data` should not be decoded; None if it looks whole."""
    if not data:
        return Fault("empty file")
    kind = image_format(data)
    if not kind:
        return Fault("not a JPEG, PNG, WebP, BMP or TIFF image", "convert it to one of these")
    try:
        return _CHECKS[kind](data)
    except struct.error:
        # A header, or a table it points to, ends after the file does.
        return Fault(f"truncated {kind}")


def _jpeg(data: bytes) -> Fault | None:
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        code, position = found[1][0], found.end()
        if code == 0xD9:
            return None
        if code == 0xD8:
            # Another image begins (a thumbnail never shows: its segment is skipped whole).
            break
        if 0x01 < code < 0xC0:
            return Fault("damaged JPEG")
        (length,) = struct.unpack_from(">H", data, position)
        position += length
    return Fault("truncated JPEG")


def _png(data: bytes) -> Fault | None:
    view, position = memoryview(data), 8
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if name == b"IEND":
            return None
        # A lower-case chunk is metadata, which decoders ignore when it is damaged.
        if name[:1].isupper() and zlib.crc32(view[position + 4 : end - 4]) != crc:
            return Fault("damaged PNG")
        position = end


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
    tags = _first_page(data)
    offsets = tags.get(_TILES) or tags.get(_STRIPS, ())
    sizes = tags.get(_TILE_BYTES) or tags.get(_STRIP_BYTES, ())
    if any(at + size > len(data) for at, size in zip_longest(offsets, sizes, fillvalue=0)):
        return Fault("truncated TIFF")
    # OpenCV refuses these without a word why. There is no one way to make them 8 bits.
    convert = "convert it to 8 or 16 bits a sample"
    if 3 in tags.get(_SAMPLE_FORMAT, ()):
        return Fault("floating-point TIFF", convert)
    bits = max(tags.get(_BITS, ()), default=1)
    return Fault(f"TIFF of {bits} bits a sample", convert) if bits > 16 else None


def _first_page(data: bytes) -> dict[int, tuple[int, ...]]:
    """The `_TIFF_TAGS` of the first page, the one that is read. Tag -> its values.

    Errors: struct.error where the page or a value lies past the end of `data`.
    """
    order, big = _TIFF_MAGIC[data[:4]], b"+" in data[2:4]
    word, counter, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (position,) = struct.unpack_from(order + word, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + counter, data, position)
    position += struct.calcsize(order + counter)
    tags = {}
    for _ in range(entries):
        tag, type_, count = struct.unpack_from(order + entry, data, position)
        position += struct.calcsize(order + entry)
        if tag in _TIFF_TAGS and type_ in _TIFF_TYPES:
            values = f"{order}{count}{_TIFF_TYPES[type_]}"
            at = position
            # Values too long for their slot are elsewhere, and the slot says where.
            if struct.calcsize(values) > struct.calcsize(order + word):
                (at,) = struct.unpack_from(order + word, data, position)
            tags[tag] = struct.unpack_from(values, data, at)
        position += struct.calcsize(order + word)
    return tags


_CHECKS = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp, "BMP": _bmp, "TIFF": _tiff}
