"""What `cloud_latency.py` and `cloud_output.py` share: staged bytes watched, and their figures."""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import click
from side_by_side import machine

POLL_S = 0.02

OPTIONS = (
    click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    click.argument("options", nargs=-1),
    click.option("--rounds", default=3, show_default=True),
    click.option("--latency", default=0.2, show_default=True, help="Seconds a request."),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all here."),
)


@contextmanager
def watched(files: Callable[[], Iterable[Path]]) -> Iterator[list[int]]:
    """The most bytes that some files have together, in a list of one. files: those there are now"""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(POLL_S):
            most[0] = max(most[0], sum(map(_bytes, files())))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def report(runs: Sequence[dict[str, Any]], about: dict[str, Any], json_file: Path | None) -> None:
    """Print, and keep, what runs on a disk and in a bucket came to. about: what else is said,
    of it how many `images` there are
    """
    of = {
        where: statistics.median(run["seconds"] for run in runs if run["where"] == where)
        for where in ("disk", "bucket")
    }
    result = {
        "date": str(date.today()),
        "machine": machine(),
        **about,
        "median_s": of,
        "images_a_second": {where: round(about["images"] / s, 3) for where, s in of.items()},
        "throughput_of_disk": round(of["disk"] / of["bucket"], 3),
    }
    click.echo(result)
    if json_file:
        json_file.write_text(json.dumps({**result, "runs": list(runs)}, indent=1) + "\n")


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # it has just gone
        return 0
