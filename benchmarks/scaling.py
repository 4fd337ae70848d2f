"""How `amg` scales with threads and workers: measured as far as there are cores, then predicted.

    python benchmarks/scaling.py --checkpoint mobile_sam.pt --image dog.jpg FOLDER

Threads work on one image, with MobileSAM: each stage's seconds with one and with two say what share
of it is serial, by Amdahl's law. Workers have an image each, with `nano` over the folder: one and
two of them say what they take from each other, such as the memory's bandwidth, by the same law;
and the process that leads them may be busy all the time, but not longer. A prediction is no
measurement: it knows no caches, sockets or clocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from side_by_side import machine
from sizes import one_run

from amg_cli.batch.sources.images import discover

COUNTS = (1, 2, 4, 8)
MEASURED = COUNTS[:2]
LOOK_S = 0.1  # between looks at the processes of a run
TICKS = os.sysconf("SC_CLK_TCK")


def serial_share(one: float, two: float) -> float:
    """By Amdahl's law, from the seconds with one and with two. -> 0 to 1"""
    return min(1.0, max(0.0, 2 * two / one - 1)) if one else 0.0


def seconds_with(count: int, one: float, serial: float) -> float:
    """By Amdahl's law, from the seconds with one."""
    return one * (serial + (1 - serial) / count)


def threads(image: Path, checkpoint: Path, rounds: int) -> dict[str, Any]:
    """Seconds of one image by threads; the share of each stage that is serial."""
    runs: dict[int, list[dict[str, float]]] = {n: [] for n in MEASURED}
    for _ in range(rounds):
        for count, found in runs.items():
            run = one_run(image, checkpoint, "--threads", str(count))
            stages = run["stages_s"]
            stages["start-up"] = run["seconds"] - stages.pop("all")
            found.append(stages)
    stages = {
        count: {name: statistics.median(run[name] for run in found) for name in found[0]}
        for count, found in runs.items()
    }
    one, two = stages.values()
    serial = {name: serial_share(one[name], two[name]) for name in one}
    seconds = {count: sum(measured.values()) for count, measured in stages.items()}
    for count in COUNTS[len(MEASURED) :]:
        seconds[count] = sum(seconds_with(count, one[name], serial[name]) for name in one)
    return {"seconds": _rounded(seconds), "serial share": _rounded(serial), "stages": stages}


def workers(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds a photograph by workers; what they are held up by; memory a worker."""
    nb_images = len(list(discover([folder], recursive=False)))
    found: dict[int, list[dict[str, float]]] = {n: [] for n in MEASURED}
    for _ in range(rounds):
        for count, runs in found.items():
            runs.append(_watched(folder, count, nb_images))
    one, two = (
        {k: statistics.median(r[k] for r in runs) for k in runs[0]} for runs in found.values()
    )
    contention = serial_share(one["seconds"], two["seconds"])
    seconds = {1: one["seconds"], 2: two["seconds"]}
    for count in COUNTS[len(MEASURED) :]:
        predicted = seconds_with(count, one["seconds"], contention)
        seconds[count] = max(predicted, two["leader_cpu_s"])  # which is one process
    return {
        "seconds a photograph": _rounded(seconds),
        "contention": round(contention, 3),
        "leader's CPU seconds a photograph": round(two["leader_cpu_s"], 4),
        "a worker, MB of its own": round(two["worker_mb"]),
        "leader, MB": round(two["leader_mb"]),
    }


def _watched(folder: Path, count: int, nb_images: int) -> dict[str, float]:
    """Run `nano` over the folder, and look at its processes meanwhile."""
    leader: dict[str, float] = {}
    largest_mb, start_up_s = 0.0, None  # of the leader's CPU, until it has workers
    with tempfile.TemporaryDirectory() as scratch:
        given = ["--input", str(folder), "--output", str(Path(scratch) / "out"), "--format", "rle"]
        how = ["--model-type", "nano", "--workers", str(count), "--threads", "1", "--quiet"]
        start = time.perf_counter()
        command = [sys.executable, "-m", "amg_cli", *given, *how]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                with contextlib.suppress(OSError, ValueError):  # it may end meanwhile
                    leader = _cpu_and_memory(process.pid)
                    own = [_cpu_and_memory(pid)["own_mb"] for pid in _children(process.pid)]
                    largest_mb = max([largest_mb, *own])
                    if own and start_up_s is None:
                        start_up_s = leader["cpu_s"]
                time.sleep(LOOK_S)
        seconds = (time.perf_counter() - start) / nb_images
    if process.returncode:
        raise click.ClickException(f"amg ended with {process.returncode}")
    return {
        "seconds": seconds,
        "leader_cpu_s": (leader["cpu_s"] - (start_up_s or 0.0)) / nb_images,
        "leader_mb": leader["own_mb"],
        "worker_mb": largest_mb,
    }


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def _cpu_and_memory(pid: int) -> dict[str, float]:
    """As Linux counts it: CPU seconds, and megabytes that no other process shares."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own_kb = sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))
    return {"cpu_s": (int(after_name[11]) + int(after_name[12])) / TICKS, "own_mb": own_kb / 1024}


def _rounded(values: Mapping[Any, float]) -> dict[Any, float]:
    return {name: round(value, 3) for name, value in values.items()}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--image", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(folder: Path, checkpoint: Path, image: Path, rounds: int, json_file: Path | None) -> None:
    """Measure with one and with two, predict for more."""
    result = {
        "machine": machine(),
        "measured": MEASURED,
        "threads": threads(image, checkpoint, rounds),
        "workers": workers(folder, rounds),
    }
    click.echo(json.dumps({k: result[k] for k in ("threads", "workers")}, indent=1))
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
