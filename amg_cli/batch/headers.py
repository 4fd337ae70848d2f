"""What the header of an image file says, read from its bytes before a decoder sees them.

Sizes are taken from the very place the decoders take them from, or a file could show a small
picture here and a huge one there: of two fields that contradict each other, the one they obey.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# FF 00 is a stuffed byte, FF 01 and FF D0 to FF D7 stand alone: none of them has a segment.
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
# C4, C8 and CC are between the frames' numbers, but are tables and an extension.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_MOVING = (b"acTL", b"fcTL", b"fdAT")
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = (("AVIF", rb"avi[fs]"), ("HEIC", rb"he[iv][a-z]|mif[12]|msf1"))

_TIFF_MAGIC = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8"}
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 262, 277, 339
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, TILE_WIDTH, TILE_HEIGHT = 273, 279, 324, 325, 322, 323
COLOUR_MAP, JPEG_TABLES = 320, 347  # read for nothing but to see that they are in the file
_TIFF_TAGS = frozenset(
    {WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT, STRIPS, STRIP_BYTES}
    | {TILES, TILE_BYTES, TILE_WIDTH, TILE_HEIGHT, COLOUR_MAP, JPEG_TABLES}
)
_MAX_TIFF_ENTRIES = 2**16 - 1  # libtiff reads no more, though a BigTIFF could have 2^64
_MAX_TIFF_VALUES = 2**22  # as the tiles of 16 x 16 pixels, planes apart, of a gigapixel


class DamagedError(Exception):
    """A header that no encoder writes."""


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


def phone_format(data: bytes) -> str:
    """The format that telephones use and we do not read: "HEIC", "AVIF"; or "".

    Many such files are called .jpg. Others share their container, which lists what it holds.
    """
    if data[4:8] != b"ftyp":
        return ""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return next((name for name, brand in _HEIF_BRANDS if re.search(brand, brands)), "")


def declared_sizes(data: bytes) -> Iterator[tuple[str, int, int]]:
    """The size that an image, and each tile of a tiled one, is said to have.

    data: of an image whose `image_format` is known. -> ("" or "tiles of ", width, height), any
    whole numbers, in pixels. Errors: struct.error where the file ends first, and DamagedError.
    """
    kind = image_format(data)
    if kind != "TIFF":
        yield "", *_SIZES[kind](data)
        return
    tags = tiff_page(data)
    yield "", _one(tags, WIDTH), _one(tags, HEIGHT)
    if TILE_WIDTH in tags or TILE_HEIGHT in tags:
        yield "tiles of ", _one(tags, TILE_WIDTH), _one(tags, TILE_HEIGHT)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Each segment's marker code and where its length stands. Compressed data is passed over.

    Ends with an end-of-image marker (D9), a second start (D8), or the data.
    """
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        code, position = found[1][0], found.end()
        yield code, position
        if code in (0xD8, 0xD9):
            return
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or code < 0xC0:
            raise DamagedError
        position += length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's name, start and end, up to the image's end. Errors: struct.error before it."""
    end = 8
    name = b""
    while name != b"IEND":
        start = end
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        yield name, start, end


def is_16_bit(data: bytes) -> bool:
    """Whether a whole PNG or TIFF, the formats that may, has more than 8 bits a channel."""
    kind = image_format(data)
    if kind == "PNG":
        return data[24] == 16  # the bit depth, in the first chunk
    return kind == "TIFF" and int(tiff_page(data).get(BITS, np.ones(1)).max(initial=1)) > 8


def still_png(data: bytes) -> bytes:
    """A whole PNG without what makes it move: its still image, as a rule its first frame.

    OpenCV (4.12 to 5.0 at least, its issue 27744) crashes where the frames are damaged.
    """
    if not any(name in data for name in _PNG_MOVING):
        return data
    kept = [data[start:end] for name, start, end in png_chunks(data) if name not in _PNG_MOVING]
    return data[:8] + b"".join(kept)


def tiff_page(data: bytes) -> dict[int, NDArray[np.unsignedinteger]]:
    """The tags of the first page, the one that is read, as far as any is of use here.

    -> tag -> its values; none for a tag of an unexpected type. Of equal tags the first counts.
    Errors: struct.error where the page or a value lies past the end of `data`, and DamagedError.
    """
    order, big = _TIFF_MAGIC[data[:4]], b"+" in data[2:4]
    word, counter, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    (position,) = struct.unpack_from(order + word, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + counter, data, position)
    if entries > _MAX_TIFF_ENTRIES:
        raise DamagedError
    position += struct.calcsize(order + counter)
    tags: dict[int, NDArray[np.unsignedinteger]] = {}
    for _ in range(entries):
        tag, type_, count = struct.unpack_from(order + entry, data, position)
        position += struct.calcsize(order + entry)
        if tag in _TIFF_TAGS and tag not in tags:
            kind, at = np.dtype(order + _TIFF_TYPES.get(type_, "V0")), position
            # Values too long for their slot are elsewhere, and the slot says where.
            if count * kind.itemsize > struct.calcsize(order + word):
                (at,) = struct.unpack_from(order + word, data, position)
            tags[tag] = _values(data, at, count, kind)
        position += struct.calcsize(order + word)
    return tags


def _values(data: bytes, at: int, count: int, kind: np.dtype) -> NDArray[np.unsignedinteger]:
    if kind.itemsize == 0:
        return np.zeros(0, np.uint8)
    if at + count * kind.itemsize > len(data):
        raise struct.error
    if count > _MAX_TIFF_VALUES:
        raise DamagedError
    return np.frombuffer(data, kind, count, at)


def _one(tags: dict[int, NDArray[np.unsignedinteger]], tag: int) -> int:
    if tag not in tags or tags[tag].size != 1:
        raise DamagedError
    return int(tags[tag][0])


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # A second frame is an error of the decoder, so the first one is its size.
    for code, position in jpeg_segments(data):
        if code in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if code in (0xD8, 0xD9):
            raise DamagedError
    raise struct.error


def _png_size(data: bytes) -> tuple[int, int]:
    length, name, width, height = struct.unpack_from(">I4sII", data, 8)
    if (length, name) != (13, b"IHDR"):
        raise DamagedError
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas of the extended format, whose frames may not be larger; else the frame."""
    (name,) = struct.unpack_from("4s", data, 12)
    if name == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16) + low_w + 1, (high_h << 16) + low_h + 1
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    raise DamagedError


def _bmp_size(data: bytes) -> tuple[int, int]:
    old = data[14:18] == b"\x0c\0\0\0"
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return width, abs(height)  # a negative one means that the top row comes first


_SIZES = {"JPEG": _jpeg_size, "PNG": _png_size, "WebP": _webp_size, "BMP": _bmp_size}
