"""`amg` over a folder, and over the same images in a bucket whose every request takes 0.2 s more.

    python -m benchmarks.cloud_latency FOLDER --rounds 3 --json FILE -- --points-per-side 8

The bucket is that of the tests: moto's S3 server and a proxy, on this machine, whose work takes
time of the same cores. What comes after `--` is given to amg. Nothing else may run.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from amg_cli.batch.sources.images import discover
from amg_cli.cli.options import with_options
from tests.object_store import object_store

sys.path.insert(0, str(Path(__file__).parent))  # as where a script of this folder is started
from cloud import OPTIONS, report, watched
from side_by_side import timed_run

BUCKET = "photographs"


@click.command()
@with_options(OPTIONS)
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
    about = {
        "images": len(images),
        "mean_bytes": round(statistics.mean(path.stat().st_size for path in images)),
        "latency_s": latency,
        "options": list(options),
        "requests_at_once": most_at_once,
    }
    report(found, about, json_file)


def _run(given: str, options: tuple[str, ...]) -> dict[str, Any]:
    """One whole process, with its output and its copies in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        output = str(Path(scratch, "out"))
        command = [sys.executable, "-m", "amg_cli", "--input", given, "--output", output]
        with watched(lambda: Path(scratch).glob("amg-copies-*/*")) as most:
            seconds, peak_mb, _ = timed_run([*command, "--format", "rle", "--quiet", *options])
        os.environ.pop("TMPDIR")
        return {
            "seconds": round(seconds, 2),
            "peak_mb": round(peak_mb),
            "most_copied_mb": round(most[0] / 1e6, 2),
        }


if __name__ == "__main__":
    main()
