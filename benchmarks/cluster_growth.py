"""What a run of very many images costs the driver of a cluster, and a photograph an actor.

    python benchmarks/cluster_growth.py plan --images 10000000 --json results/cluster-plan.json
    python benchmarks/cluster_growth.py feed --images 45000 --json results/cluster-feed.json
    python benchmarks/cluster_growth.py cost FOLDER --json results/cluster-cost.json

`plan` lists made-up paths as a run does, into a folder that it removes: time, memory, disk. `feed`
sends made-up paths through Ray to two actors, which find no file at each, and back. `cost` runs
`amg` over a folder, whole processes, on 1 and 2 workers and on 1 and 2 actors; of each twice, over
few and over all of the photographs, so that the start can be taken off. Nothing else may run.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
from side_by_side import machine

FILES_A_FOLDER = 1000
EVERY = 500  # images, after which the driver's memory is looked at
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes() -> int:
    """What this process has in memory, as Linux counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def write(values: dict[str, Any], json_file: Path | None) -> None:
    """Print the figures, and keep them."""
    result = {"date": str(date.today()), "machine": machine(), **values}
    click.echo(json.dumps(values, indent=1))
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write here.")


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.option("--images", default=1_000_000, show_default=True)
@JSON
def plan(images: int, json_file: Path | None) -> None:
    """List made-up paths as a run does."""
    from amg_cli.batch.run import Plan, Run
    from amg_cli.batch.sources.images import Source

    def source(number: int) -> Source:
        relative = f"{number // FILES_A_FOLDER:05}/photo_{number:08}.jpg"
        path = f"/data/photos/{relative}"
        return Source(path, relative, path)

    before = rss_bytes()
    steps: dict[str, Any] = {}

    def step(name: str, since: float) -> float:
        now = time.perf_counter()
        steps[name] = {"seconds": round(now - since, 1), "memory_gb": (rss_bytes() - before) / 1e9}
        return now

    with tempfile.TemporaryDirectory() as folder:
        output, start = Path(folder) / "out", time.perf_counter()
        sources = [source(number) for number in range(images)]
        at = step("paths", start)
        with Run.opened(Plan(output, ("rle",), {"threads": 1})) as run:
            listed = run.listed(sources)
            at = step("numbers and names, recorded", at)
            to_do = [pair for pair in listed if run.status(*pair) == "to do"]
            at = step("what there is to do", at)
            nb_jobs = sum(1 for _ in (run.job(*pair) for pair in to_do))
            step("jobs, one at a time", at)
        record_bytes = (output / ".amg/images.ndjson").stat().st_size
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    facts = {"peak_gb": round(peak_gb, 2), "record_gb": record_bytes / 1e9}
    write({"images": nb_jobs, "steps": steps, **facts}, json_file)


@main.command()
@click.option("--images", default=45_000, show_default=True)
@JSON
def feed(images: int, json_file: Path | None) -> None:
    """Send made-up paths through Ray and back, one a block and as many as a large cluster has."""
    from amg_cli.batch.engines import ray as ray_engine

    runs = []
    for jobs_a_block in (1, ray_engine.MOST_JOBS):
        with patch.object(ray_engine, "jobs_a_block", return_value=jobs_a_block):
            runs.append({"jobs_a_block": jobs_a_block, **fed(images)})
        click.echo(runs[-1])
    write({"images": images, "blocks_a_data_set": ray_engine.BLOCKS, "runs": runs}, json_file)


def fed(images: int) -> dict[str, Any]:
    """The way of made-up paths, from the first outcome on."""
    from amg_cli.batch.engines.local import Work
    from amg_cli.batch.engines.ray import RayEngine, run_on_ray
    from amg_cli.batch.image_tasks import Everything
    from amg_cli.batch.job import Job
    from amg_cli.core.config import GenerationConfig
    from amg_cli.weights.loading import load_model

    work = Work(load_model("nano", device="cpu"), Everything(GenerationConfig()), ())
    given = 0

    def jobs() -> Iterator[Job]:
        nonlocal given
        here = Path.cwd()
        for given in range(1, images + 1):
            yield Job(here / f"photo_{given:08}.jpg", (), given, f"photo_{given:08}")

    begun = time.perf_counter()
    start = cpu = first_s = 0.0
    memory, most_held = [], 0
    for count, _ in enumerate(run_on_ray(RayEngine(1, 1), jobs(), work)):
        if not count:
            start, cpu = time.perf_counter(), time.process_time()
            first_s = start - begun
        most_held = max(most_held, given - count)
        if count % EVERY == 0:
            memory.append(round(rss_bytes() / 1e6))
    return {
        "first_s": round(first_s, 1),
        "ms_an_image": round((time.perf_counter() - start) / images * 1e3, 3),
        "driver_cpu_ms_an_image": round((time.process_time() - cpu) / images * 1e3, 3),
        "most_held": most_held,
        "driver_mb": memory,
    }


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=1, show_default=True)
@click.option("--few", default=2, show_default=True, help="Photographs, beside all of them.")
@click.option("--only", multiple=True, help="Only this way, such as '1 actor'; several times.")
@JSON
def cost(
    folder: Path, rounds: int, few: int, only: tuple[str, ...], json_file: Path | None
) -> None:
    """Time `amg` with nano over a folder, by workers and by actors."""
    from amg_cli.batch.sources.images import discover

    images = [source.path for source in discover([folder], recursive=False)]
    ways = {
        "1 worker": ["--workers", "1"],
        "2 workers": ["--workers", "2"],
        "1 actor": ["--engine", "ray", "--actors", "1"],
        "2 actors": ["--engine", "ray", "--actors", "2"],
    }
    runs = []
    for round_ in range(rounds):
        for name, options in ways.items():
            if only and name not in only:
                continue
            some, every = (seconds_of(given, options) for given in (images[:few], images))
            an_image = (every - some) / (len(images) - few)
            runs.append(
                {
                    "way": name,
                    "round": round_,
                    "few_s": round(some, 2),
                    "all_s": round(every, 2),
                    "s_an_image": round(an_image, 3),
                    "start_s": round(some - few * an_image, 2),
                }
            )
            click.echo(runs[-1])
    write({"images": len(images), "few": few, "runs": runs}, json_file)


def seconds_of(images: list[Path], options: list[str]) -> float:
    """Of a whole process over some images."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list"
        listed.write_text("".join(f"{path.resolve()}\n" for path in images))
        given = ["--input-list", str(listed), "--output", f"{folder}/out", "--format", "rle"]
        command = [sys.executable, "-m", "amg_cli", *given, "--threads", "1", "--quiet", *options]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
