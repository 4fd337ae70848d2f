"""`amg` with outputs on a disk, and in a bucket whose every request takes 0.2 s more.

    python -m benchmarks.cloud_output FOLDER --format rle --rounds 3 --json FILE

The bucket is that of the tests: moto's S3 server and a proxy, on this machine, whose work takes
time of the same cores: `proxy_s` and `server_s`. Nothing else may run.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from amg_cli.batch.sources.images import discover
from amg_cli.cli.options import with_options
from tests.object_store import Store, object_store

sys.path.insert(0, str(Path(__file__).parent))  # as where a script of this folder is started
from cloud import OPTIONS, report, watched
from side_by_side import timed_run

BUCKET = "masks"


def _files_below(folder: Path) -> Iterator[Path]:
    """Folders come and go meanwhile, which os.walk takes as it finds them."""
    return (Path(root, name) for root, _, names in os.walk(folder) for name in names)


def _run(command: list[str], output: str, cache: Path) -> dict[str, Any]:
    os.environ["AMG_CACHE"] = str(cache)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with watched(lambda: _files_below(cache)) as most:
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
@with_options(OPTIONS)
@click.option("--format", "format_", default="rle", show_default=True)
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
    about = {
        "images": nb_images,
        "format": format_,
        "options": list(options),
        "latency_s": latency,
        "requests_at_once": at_once,
    }
    report(found, about, json_file)


if __name__ == "__main__":
    main()
