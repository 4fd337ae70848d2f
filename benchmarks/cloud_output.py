"""`amg` with outputs on a disk, and in a bucket whose every request takes 0.2 s more.

    python -m benchmarks.cloud_output FOLDER --format rle --rounds 3 --json FILE

The bucket is that of the tests: moto's S3 server and a proxy, on this machine, whose work takes
time of the same cores: `proxy_s` and `server_s`. Nothing else may run.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import click

from amg_cli.batch.sources.images import discover
from tests.object_store import Store, object_store

sys.path.insert(0, str(Path(__file__).parent))  # as where a script of this folder is started
from side_by_side import machine, timed_run

BUCKET = "masks"
POLL_S = 0.05


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """The most bytes that files below a folder have, in a list of one."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(POLL_S):
            # Folders come and go meanwhile, which os.walk takes as it finds them.
            files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
            most[0] = max(most[0], sum(map(_bytes, files)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # it has just gone
        return 0


def _run(command: list[str], output: str, cache: Path) -> dict[str, Any]:
    os.environ["AMG_CACHE"] = str(cache)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with watched(cache) as most:
        seconds, peak_mb, _ = timed_run([*command, "--output", output])
    return {
        "seconds": round(seconds, 2),
        "peak_mb": round(peak_mb),
        "proxy_s": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, 2),
        "most_staged_mb": round(most[0] / 1e6, 2),
    }


def _both(store: Store, command: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """A run on a disk, and one in the bucket, round by round."""
    for round_ in range(rounds):
        for where in ("disk", "bucket"):
            with tempfile.TemporaryDirectory() as scratch:
                output = f"s3://{BUCKET}/{round_}/" if where == "bucket" else f"{scratch}/out"
                before, server_s = len(store.network.requests), store.cpu_s
                found = _run(command, output, Path(scratch, "cache"))
            found["server_s"] = round(store.cpu_s - server_s, 2)
            found["requests"] = len(store.network.requests) - before
            yield {"where": where, "round": round_, **found}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("options", nargs=-1)
@click.option("--format", "format_", default="rle", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--latency", default=0.2, show_default=True, help="Seconds a request.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all here.")
def main(
    folder: Path,
    options: tuple[str, ...],
    format_: str,
    rounds: int,
    latency: float,
    json_file: Path | None,
) -> None:
    """Time amg with both, whole processes, in turn."""
    nb_images = len(discover([folder], recursive=False))
    given = ["--input", str(folder), "--format", format_, "--quiet", *options]
    found = []
    with object_store() as store:
        store.bucket(BUCKET)
        os.environ.update(store.environment)
        store.network.latency_s = latency
        for each in _both(store, [sys.executable, "-m", "amg_cli", *given], rounds):
            click.echo(each)
            found.append(each)
        at_once = store.network.most_at_once
    of = {
        where: statistics.median(each["seconds"] for each in found if each["where"] == where)
        for where in ("disk", "bucket")
    }
    result = {
        "date": str(date.today()),
        "machine": machine(),
        "images": nb_images,
        "format": format_,
        "options": list(options),
        "latency_s": latency,
        "median_s": of,
        "throughput_of_disk": round(of["disk"] / of["bucket"], 3),
        "requests_at_once": at_once,
        "runs": found,
    }
    click.echo({name: value for name, value in result.items() if name != "runs"})
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
