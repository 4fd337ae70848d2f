"""Jobs that are taken from their iterator before those that came earlier are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from amg_cli.core.errors import AmgError

T = TypeVar("T")


class UntilError(Generic[T]):
    """What an iterable gives until it fails, and its failure once that is done.

    An input that breaks off, as a pipe may, has then lost nothing that came before.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        # Should something unforeseen end this, in a thread, the run must not look as if all were
        # done.
        self._error = AmgError("the run", "reading ahead broke off", "run again, and report it")
        try:
            yield from self._items
            self._error = None
        except (AmgError, OSError, ValueError) as error:
            self._error = error

    def raise_error(self) -> None:
        """Raise what ended the iteration, if it was an error."""
        if self._error is not None:
            raise self._error
