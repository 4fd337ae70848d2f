"""`amg` over a folder, and over the same images in a bucket whose every request takes 0.2 s more.

    python -m benchmarks.cloud_latency FOLDER --rounds 3 --json FILE -- --points-per-side 8

The bucket is that of the tests: moto's S3 server and a proxy, on this machine, whose work takes
time of the same cores. What comes after `--` is given to amg. Nothing else may run.
"""

from __future__ import annotations

import json
import os
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

sys.path.insert(0, str(Path(__file__).parent))  # as where a script of this folder is started
from side_by_side import machine, timed_run

from tests.object_store import object_store

BUCKET = "photographs"
POLL_S = 0.02


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """The most bytes that copies in a folder of temporary files have, in a list of one."""
    most, ended = [0], threading.Event()

    def look() -> None:
        """Again and again."""
        while not ended.wait(POLL_S):
            most[0] = max(most[0], sum(_bytes(path) for path in folder.glob("amg-copies-*/*")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it has just gone
        return 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("options", nargs=-1)
@click.option("--rounds", default=3, show_default=True)
@click.option("--latency", default=0.2, show_default=True, help="Seconds a request.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all here.")
def main(
    folder: Path, options: tuple[str, ...], rounds: int, latency: float, json_file: Path | None
) -> None:
    """Time amg over both, whole processes, in turn."""
    images = [source.path for source in discover([folder], recursive=False)]
    found: list[dict[str, Any]] = []
    with object_store() as store:
        store.bucket(BUCKET)
        for path in images:
            store.put(BUCKET, f"all/{path.name}", path)
        os.environ.update(store.environment)
        store.network.latency_s = latency
        for round_ in range(rounds):
            for where, given in (("disk", str(folder)), ("bucket", f"s3://{BUCKET}/all/")):
                found.append({"where": where, "round": round_, **_run(given, options)})
                click.echo(found[-1])
        most_at_once = store.network.most_at_once
    of = {
        where: statistics.median(r["seconds"] for r in found if r["where"] == where)
        for where in ("disk", "bucket")
    }
    result = {
        "date": str(date.today()),
        "machine": machine(),
        "images": len(images),
        "mean_bytes": round(statistics.mean(path.stat().st_size for path in images)),
        "latency_s": latency,
        "options": list(options),
        "median_s": of,
        "images_a_second": {where: round(len(images) / s, 3) for where, s in of.items()},
        "throughput_of_disk": round(of["disk"] / of["bucket"], 3),
        "requests_at_once": most_at_once,
        "runs": found,
    }
    click.echo({name: value for name, value in result.items() if name != "runs"})
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


def _run(given: str, options: tuple[str, ...]) -> dict[str, Any]:
    """One whole process, with its output and its copies in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        output = str(Path(scratch, "out"))
        command = [sys.executable, "-m", "amg_cli", "--input", given, "--output", output]
        with watched(Path(scratch)) as most:
            seconds, peak_mb, _ = timed_run([*command, "--format", "rle", "--quiet", *options])
        os.environ.pop("TMPDIR")
        return {
            "seconds": round(seconds, 2),
            "peak_mb": round(peak_mb),
            "most_copied_mb": round(most[0] / 1e6, 2),
        }


if __name__ == "__main__":
    main()
