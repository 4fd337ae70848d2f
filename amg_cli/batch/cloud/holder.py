"""Who writes to a run's place in the cloud, by an object there that is written again and again.

It is no lock, which an object store has none of. A run that finds another's object looks whether it
changes for three times as long as the other takes to write it; if it does not, the other is dead.
Two that begin at one moment are told apart where the service makes an object only if there is none,
as Amazon's, Google's and Azure's do. What is left: a run that was cut off from the network, or
stopped, for longer, and goes on while another has taken its place. It ends as soon as it sees that,
at the latest before it records anything ten seconds later; until then both may write outputs, which
are the same where their settings are.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from amg_cli.batch.cloud.record_store import RecordStore
from amg_cli.batch.holding import held_error, holder_of, may_be_alive, this_process
from amg_cli.core.errors import OutputError
from amg_cli.core.interrupts import check

BEAT_S = 10.0  # from one writing of the object to the next
DEAD_S = 3 * BEAT_S  # without one, who wrote it is dead
LOOK_S = 2.0  # how often it is looked whether it has changed


class RemoteHolder:
    """The right to write to a place, while nobody has taken it."""

    def __init__(self, store: RecordStore, name: str, shown: str) -> None:
        self._store, self._name, self._shown = store, name, shown
        self._mine = {**this_process(), "run": uuid.uuid4().hex}
        self._ended = threading.Event()
        self._lost: dict[str, Any] | None = None

    @contextmanager
    def held(self) -> Iterator[RemoteHolder]:
        """The right, until the block ends. Raises OutputError where another has it."""
        self._take()
        beating = threading.Thread(target=self._beat, daemon=True)
        beating.start()
        try:
            yield self
        finally:
            self._ended.set()
            with suppress(OutputError):
                if not self._lost and self._is_mine(self._read()):
                    self._store.remove([self._name])

    def check(self) -> None:
        """Raises OutputError where another run has taken it."""
        if self._lost:
            raise held_error(self._shown, self._lost)

    def _take(self) -> None:
        other = self._read()
        if other is None:
            self._store.create(self._name, self._text(0))
        elif self._is_alive(other):
            raise held_error(self._shown, other)
        else:
            self._store.write(self._name, self._text(0))
        now = self._read()
        if not self._is_mine(now):
            raise held_error(self._shown, now)

    def _is_alive(self, other: dict[str, Any]) -> bool:
        """Whether who has it is; of another machine's process that is seen in a while."""
        if not may_be_alive(other) or other["pid"] == os.getpid():
            return False
        end = time.monotonic() + DEAD_S
        while time.monotonic() < end:
            time.sleep(min(LOOK_S, DEAD_S / 3))
            check()
            now = self._read()
            if now is None:
                return False
            if now != other:
                return True
        return False

    def _beat(self) -> None:
        """Write it again and again. What fails now may go well the next time."""
        number = 0
        while not self._ended.wait(BEAT_S):
            number += 1
            with suppress(OutputError):
                other = self._read()
                if other is not None and not self._is_mine(other):
                    self._lost = other
                    return
                self._store.write(self._name, self._text(number))

    def _read(self) -> dict[str, Any] | None:
        data = self._store.read(self._name)
        return None if data is None else holder_of(data)

    def _is_mine(self, values: dict[str, Any] | None) -> bool:
        return values is not None and values.get("run") == self._mine["run"]

    def _text(self, beat: int) -> bytes:
        return json.dumps({**self._mine, "beat": beat}).encode("ascii") + b"\n"
