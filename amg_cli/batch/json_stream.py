"""A JSON file of many elements, one at a time, as `json.load` would give them.

`ijson` is no help here: it refuses files with NaN, 1e400 or long integers, which `json` reads and
detectors write, so that one such box would cost the whole file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

CHUNK_CHARS = 1 << 20

_SPACE = re.compile(r"[ \t\n\r]*")
# How far from the end of the text an error may be and still come from what is not read yet: the
# longest that JSON has of one piece, but for a string, is "-Infinity".
_NEAR_END = 16
_OPEN_STRING = "Unterminated string"


class JsonError(ValueError):
    """The file is no whole JSON. `str()` says what is wrong, and at which character, from 1."""


def elements(file: TextIO, chunk_chars: int = CHUNK_CHARS) -> Iterator[tuple[str, int, Any]]:
    """What a file has, as (key, place, value), in its order; nothing of a file without text.

    A list: ("", 0, []), which says that there is one, then its elements, placed from 1.
    An object: of each value that is a list the same, under its key; else (key, 0, value).

    Raises JsonError, where it gets to the wrong place, and OSError.
    """
    reader = _Reader(file, chunk_chars)
    opening = reader.next_char()
    if not opening:
        return
    yield from _list_of("", reader) if opening == "[" else _members(reader)
    if reader.next_char():
        raise reader.error("the end is wanted")


def _list_of(key: str, reader: _Reader) -> Iterator[tuple[str, int, Any]]:
    yield key, 0, []
    reader.take("[")
    if reader.next_char() == "]":
        reader.take("]")
        return
    place = 1
    yield key, place, reader.value()
    while reader.take(",]") == ",":
        place += 1
        yield key, place, reader.value()


def _members(reader: _Reader) -> Iterator[tuple[str, int, Any]]:
    """Of an object."""
    seen = set()
    separator = reader.take("{")
    if reader.next_char() == "}":
        separator = reader.take("}")
    while separator != "}":
        key = reader.value()
        if not isinstance(key, str) or key in seen:  # of two, `json` would keep the second
            raise reader.error("a new key is wanted")
        seen.add(key)
        reader.take(":")
        if reader.next_char() == "[":
            yield from _list_of(key, reader)
        else:
            yield key, 0, reader.value()
        separator = reader.take(",}")


class _Reader:
    """The text of a file, of which only what is being parsed is held."""

    def __init__(self, file: TextIO, chunk_chars: int) -> None:
        self._file, self._chunk_chars = file, chunk_chars
        self._decode = json.JSONDecoder().raw_decode
        self._text, self._at = "", 0
        self._nb_dropped = 0

    def next_char(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self, wanted: str) -> str:
        """The next character, which is one of those wanted."""
        found = self.next_char()
        if not found or found not in wanted:
            raise self.error(f"{' or '.join(wanted)} is wanted")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, of any kind, whole."""
        self.next_char()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._may_be_cut(error) and self._read_on():
                    continue
                self._at = error.pos
                raise self.error(error.msg.removesuffix(" at").rstrip(": ")) from error
            except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
                raise self.error(str(error)) from error
            # A number may go on in what is not read yet: 2. is 2, and then 2.5
            is_whole = not isinstance(value, (int, float)) or end < len(self._text) - _NEAR_END
            if is_whole or not self._read_on():
                self._at = end
                return value

    def error(self, cause: str) -> JsonError:
        """That the text is wrong at the next character, or over."""
        if self._at >= len(self._text):
            return JsonError("it ends early")
        return JsonError(f"{cause} at character {self._nb_dropped + self._at + 1}")

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        near_end = error.pos >= len(self._text) - _NEAR_END
        return near_end or error.msg.startswith(_OPEN_STRING)

    def _read_on(self) -> bool:
        """Whether there was more text; what is parsed already goes."""
        rest = self._text[self._at :]
        try:
            # As much again as is held, so that a long value is not parsed for every chunk of it.
            more = self._file.read(max(self._chunk_chars, len(rest)))
        except UnicodeDecodeError as error:
            raise JsonError(f"it is not UTF-8 ({error.reason})") from error
        if more:
            self._nb_dropped += self._at
            self._text, self._at = rest + more, 0
        return bool(more)
