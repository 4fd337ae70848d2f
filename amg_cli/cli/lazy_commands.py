"""Sub-commands that are imported when one is invoked, or when the help lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module

import click


class LazyCommands(MutableMapping[str, click.Command]):
    """The commands of a click group by name, as the group keeps them.

    The names are known without an import: for a run, which is none of them, and for what may have
    been meant by a name that is none.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        """homes: by the name of each command, where it is, as `package.module:function`"""
        self._homes = dict(homes)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            module, _, attribute = self._homes[name].partition(":")
            self._imported[name] = getattr(import_module(module), attribute)
        return self._imported[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._homes[name], self._imported[name] = "", command

    def __delitem__(self, name: str) -> None:
        del self._homes[name]
        self._imported.pop(name, None)
