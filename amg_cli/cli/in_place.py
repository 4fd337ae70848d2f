"""Commands whose output may be an address: a folder of this disk stands for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from amg_cli.batch.cloud.remote import is_url, scheme_of
from amg_cli.batch.storage import OnDisk


@contextmanager
def in_place(values: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], OnDisk]]:
    """A run's options, with a folder for `output` where that is an address; and where what is
    written there is to lie.

    Of a dry run it is only looked at. Raises as `Mirror.held`; click's usage error for what only a
    disk can have.
    """
    url = values["output"]
    if not is_url(url):
        yield values, OnDisk()
        return
    if values.get("view"):
        raise click.UsageError("--view needs a folder of this disk to write to")
    if scheme_of(url) == "memory" and values["workers"] != 1:
        raise click.UsageError("memory:// is of one process: give --workers 1")
    from amg_cli.batch.cloud.mirror import Mirror

    holding = Mirror.looked_at if values["dry_run"] else Mirror.held
    with holding(url, values["shard"]) as mirror:
        yield {**values, "output": mirror.place.folder}, mirror
