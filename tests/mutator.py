"""Breaks small images in the ways that break decoders, from a seed: a failure can be made again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.image_bytes import png_chunk
from tests.images_to_break import BASES

HUGE = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 40_000, 65_535, 2**24 - 1, 2**30, 2**31 - 1]
HUGE += [2**31, 2**32 - 1, 2**32 - 2]


def fields_of_size(kind: str, data: bytes) -> list[tuple[int, str]]:
    """Where `data` keeps widths, heights and counts: (offset, struct format)."""
    if kind == "png":
        found = [(16, ">I"), (20, ">I")]
        at = data.find(b"fcTL")
        return found + [(at + 8, ">I"), (at + 12, ">I")] * (at > 0)
    if kind == "bmp":
        return [(18, "<I"), (22, "<I"), (10, "<I"), (28, "<H"), (30, "<I"), (46, "<I")]
    if kind == "jpeg":
        at = max(data.find(b"\xff\xc0\0"), data.find(b"\xff\xc2\0"))
        return [(at + 5, ">H"), (at + 7, ">H"), (at + 9, ">B"), (at + 11, ">B"), (at + 4, ">B")]
    if kind == "webp":
        at = data.find(b"ANMF")
        more = [(at + 8, "<I"), (at + 14, "<I")] * (at > 0)
        return [(21, "<I"), (24, "<I"), (26, "<H"), (28, "<H"), (4, "<I"), (16, "<I"), *more]
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    if data[2:4] == b"+\0":
        return [(16 + 8 + 20 * i + at, "<Q") for i in range(10) for at in (4, 12)]
    return [(start + 2 + 12 * i + at, order + "I") for i in range(entries) for at in (4, 8)]


def cut(rng: random.Random, data: bytes, _: str) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(rng: random.Random, data: bytes, _: str) -> bytes:
    broken = bytearray(data)
    for _bit in range(rng.choice([1, 2, 8, 64])):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def flip_header(rng: random.Random, data: bytes, _: str) -> bytes:
    broken = bytearray(data)
    for _byte in range(rng.choice([1, 3, 9])):
        broken[rng.randrange(2, min(96, len(broken)))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(broken)


def absurd_size(rng: random.Random, data: bytes, kind: str) -> bytes:
    broken = bytearray(data)
    for at, form in rng.sample(fields_of_size(kind, data), rng.choice([1, 2])):
        top = 256 ** struct.calcsize(form) - 1
        struct.pack_into(form, broken, at, rng.choice(HUGE) & top)
    return bytes(broken)


def huge_number(rng: random.Random, data: bytes, _: str) -> bytes:
    form = rng.choice(["<H", ">H", "<I", ">I", "<Q"])
    size = struct.calcsize(form)
    broken = bytearray(data)
    at = rng.randrange(4, max(5, min(len(data) - size, 400)))
    struct.pack_into(form, broken, at, rng.choice(HUGE) & (256**size - 1))
    return bytes(broken)


def zeros(rng: random.Random, data: bytes, _: str) -> bytes:
    start = rng.randrange(len(data))
    length = min(rng.choice([1, 4, 16, 256, 4096]), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def repeat(rng: random.Random, data: bytes, _: str) -> bytes:
    start, end = sorted(rng.sample(range(len(data)), 2))
    return data[:end] + data[start:end] * rng.choice([1, 2, 30]) + data[end:]


def leave_out(rng: random.Random, data: bytes, _: str) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice([1, 2, 7, 100]) :]


def wrong_start(rng: random.Random, data: bytes, kind: str) -> bytes:
    other = rng.choice(OTHERS[kind])
    length = rng.choice([2, 4, 12, 30])
    return other[:length] + data[length:]


def splice(rng: random.Random, data: bytes, kind: str) -> bytes:
    other = rng.choice(OTHERS[kind] + BASES[kind])
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def insert(rng: random.Random, data: bytes, _: str) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice([1, 3, 64])) + data[at:]


def double_part(rng: random.Random, data: bytes, kind: str) -> bytes:
    """One chunk, segment, or directory entry twice, or in another's place."""
    parts = PARTS[kind](data)
    if len(parts) < 3:
        return repeat(rng, data, kind)
    parts.insert(rng.randrange(1, len(parts)), rng.choice(parts[1:]))
    return b"".join(parts)


def parts_of_png(data: bytes) -> list[bytes]:
    parts, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def parts_of_jpeg(data: bytes) -> list[bytes]:
    parts, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def parts_of_webp(data: bytes) -> list[bytes]:
    parts, at = [data[:12]], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        parts.append(data[at:end])
        at = end
    return parts


def slices_of(length: int) -> Callable[[bytes], list[bytes]]:
    return lambda data: [data[at : at + length] for at in range(0, len(data), length)]


def mend(rng: random.Random, data: bytes, kind: str) -> bytes:
    """Sums and lengths put right, at times, so that damage gets past the first checks."""
    if kind == "webp" and data[:4] == b"RIFF" and rng.random() < 0.7:
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    if kind == "jpeg" and rng.random() < 0.5 and not data.endswith(b"\xff\xd9"):
        return data + b"\xff\xd9"
    if kind != "png" or rng.random() < 0.2:
        return data
    mended, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        mended += png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return mended + data[at:]


OTHERS = {
    kind: [data for other in BASES if other != kind for data in BASES[other]] for kind in BASES
}
PARTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "png": parts_of_png,
    "jpeg": parts_of_jpeg,
    "webp": parts_of_webp,
    "tiff": slices_of(12),
    "bmp": slices_of(4),
}
MUTATIONS = [cut, flip, flip_header, absurd_size, huge_number, zeros, repeat, leave_out]
MUTATIONS += [wrong_start, splice, insert, double_part]


def mutant(kind: str, seed: int) -> tuple[str, bytes]:
    """A broken file of `kind`. -> the names of what was done to it, its bytes."""
    rng = random.Random(f"{kind} {seed}")
    data = rng.choice(BASES[kind])
    done = rng.choices(MUTATIONS, k=rng.choice([1, 1, 1, 2, 3]))
    for mutation in done:
        if len(data) > 100 or mutation in (cut, flip, insert):
            try:
                data = mutation(rng, data, kind) or b"\0"
            except (struct.error, IndexError, ValueError):  # too broken for one more
                break
    return "-".join(mutation.__name__ for mutation in done), mend(rng, data, kind)
