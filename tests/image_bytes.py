"""Bytes of images: as Pillow and OpenCV write them, and PNGs and TIFFs put together by hand."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def encoded(kind: str, image: Image.Image | np.ndarray, **options: object) -> bytes:
    """`image` as Pillow writes it."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_opencv(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def png_chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def png_of(size_wh: tuple[int, int], pixels: bytes) -> bytes:
    """An 8-bit RGB PNG whose compressed data is `pixels`."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size_wh, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def tiff_of(strips: list[bytes], size_wh: tuple[int, int], rows: int, **options: int) -> bytes:
    """A deflated RGB TIFF with its directory first, so that cutting the file cuts pixels.

    rows: of a strip; options: `planar` (1 or 2), `big` (1: BigTIFF)
    """
    planar, big = options.get("planar", 1), options.get("big", 0)
    word, size = ("Q", 20) if big else ("I", 12)
    start, slot = (16, 8) if big else (8, 4)
    entries = 10
    after = start + (8 if big else 2) + entries * size + slot
    count = len(strips)
    values = {256: [size_wh[0]], 257: [size_wh[1]], 258: [8, 8, 8], 259: [8], 262: [2], 277: [3]}
    values |= {278: [rows], 284: [planar], 279: [len(strip) for strip in strips], 273: [0] * count}
    first = after + 4 * (3 + 2 * count)
    values[273] = [first + sum(map(len, strips[:i])) for i in range(count)]
    table, tail = b"", b""
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > slot:
            where = struct.pack("<" + word, after + len(tail))
            tail += packed
            packed = where
        table += struct.pack("<HH" + word, tag, 4, len(numbers)) + packed.ljust(slot, b"\0")
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, entries) if big else b""
    head = head or struct.pack("<2sHIH", b"II", 42, 8, entries)
    body = head + table + bytes(slot) + tail
    return body.ljust(first, b"\0") + b"".join(strips)


def planes_and_strips(image: np.ndarray, rows: int) -> list[bytes]:
    height = image.shape[0]
    return [
        zlib.compress(image[top : top + rows, :, channel].tobytes())
        for channel in range(3)
        for top in range(0, height, rows)
    ]


def interleaved_strips(image: np.ndarray, rows: int) -> list[bytes]:
    tops = range(0, image.shape[0], rows)
    return [zlib.compress(image[top : top + rows].tobytes()) for top in tops]


def tiff_with(tags: dict[int, tuple[str, list[int]]], data: bytes = b"") -> bytes:
    """A TIFF of one page: `tags` (number -> type's letter, values), and `data` at offset 8."""
    start = 8 + len(data)
    after = start + 2 + 12 * len(tags) + 4
    table = tail = b""
    for tag, (letter, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            where = struct.pack("<I", after + len(tail))
            tail, packed = tail + packed, where
        kind = {"B": 1, "H": 3, "I": 4, "i": 9}[letter]
        table += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = struct.pack("<2sHI", b"II", 42, start)
    return head + data + struct.pack("<H", len(tags)) + table + bytes(4) + tail


def tiff_of_bands(image: np.ndarray, photometric: int = 1) -> bytes:
    """An uncompressed TIFF of (H, W, bands), of any type of numbers, in one strip."""
    height, width, bands = image.shape
    form = {"u": 1, "i": 2, "f": 3}[image.dtype.kind]
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [image.itemsize * 8] * bands)}
    tags |= {259: ("H", [1]), 262: ("H", [photometric]), 273: ("I", [8]), 277: ("H", [bands])}
    tags |= {279: ("I", [image.nbytes]), 339: ("H", [form] * bands)}
    return tiff_with(tags, image.tobytes())


def tiled_tiff(tile_wh: tuple[int, int] = (64, 48)) -> bytes:
    """A grey TIFF of (40, 60) in one tile, that is said to be `tile_wh`."""
    tags = {256: ("I", [60]), 257: ("I", [40]), 258: ("H", [8]), 259: ("H", [1]), 262: ("H", [1])}
    tags |= {277: ("H", [1]), 322: ("I", [tile_wh[0]]), 323: ("I", [tile_wh[1]])}
    tags |= {324: ("I", [8]), 325: ("I", [64 * 48])}
    return tiff_with(tags, bytes(range(256)) * 12)


def bitmap_of_runs(size_wh: tuple[int, int] = (60, 40)) -> bytes:
    """A run-length encoded BMP: how much it holds is seen by decoding only."""
    runs = bytes([60, 7, 0, 0]) * 40 + b"\0\1"
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, *size_wh, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + palette + runs
