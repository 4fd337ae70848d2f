"""Where the time goes between the start of `amg` and its first image, and after its last.

    python benchmarks/start_up.py examples/images/coffee.jpg --json FILE

Each is a cold process of `amg` on one photograph with `nano`, whose files are in memory: the first
process is not counted. A stage ends when a module has been imported or a function begins or ends,
as a finder of modules before Python's own sees it. Beside it, `amg --help`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# What ends each stage after Python's own start: an import, or a call's begin (>) or end (<).
STAGES = {
    "the command and its options": "amg_cli.cli.main",
    "its checks, numpy": "> amg_cli.cli.running.do_run",
    "the record, the images": "> amg_cli.cli.work.engine_and_work",
    "torch": "torch",
    "what computes": "> amg_cli.weights.loading.load_model",
    "the model": "< amg_cli.weights.loading.load_model",
    "to the first image": "> amg_cli.batch.engines.local.made",
    "the first image": "< amg_cli.batch.engines.local.made",
}
FIRST, LAST = "Python", "the end"
MARKS, START = "AMG_MARKS", "AMG_START"  # variables: the file of marks, when the process began


class Marks(MetaPathFinder):
    """Sees what is imported and called, and when: `times`, in seconds since the process began."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._calls = [mark[2:].rsplit(".", 1) for mark in STAGES.values() if mark[1] == " "]

    def mark(self, name: str) -> None:
        """Something has come to pass, for the first time."""
        self.times.setdefault(name, time.time() - float(os.environ[START]))

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """What the other finders find, with a loader that marks."""
        called = {function for module, function in self._calls if module == name}
        if not called and name not in STAGES.values():
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        return spec and self._marking(spec, called)

    def _marking(self, spec: ModuleSpec, called: set[str]) -> ModuleSpec:
        loader: Any = spec.loader
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            self.mark(spec.name)
            for function in called:
                where = f"{spec.name}.{function}"
                setattr(module, function, self._watched(getattr(module, function), where))

        loader.exec_module = exec_module
        return spec

    def _watched(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*given: Any, **options: Any) -> Any:
            self.mark(f"> {name}")
            result = function(*given, **options)
            self.mark(f"< {name}")
            return result

        return watched


def be_amg() -> None:
    """What `amg` does, marked. In a process of its own."""
    marks = Marks()
    marks.mark(FIRST)
    sys.meta_path.insert(0, marks)
    try:
        from amg_cli.cli.main import main

        main(prog_name="amg")
    finally:
        Path(os.environ[MARKS]).write_text(json.dumps(marks.times))


def one_run(image: Path) -> dict[str, float]:
    """Seconds of each stage of one process."""
    with tempfile.TemporaryDirectory() as scratch:
        marks = Path(scratch) / "marks"
        given = ["--input", str(image), "--output", str(Path(scratch) / "out"), "--quiet"]
        start = time.time()
        environment = os.environ | {MARKS: str(marks), START: repr(start)}
        command = [sys.executable, __file__, *given]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        end = time.time() - start
        times = json.loads(marks.read_text())
    found, before = {}, 0.0
    for stage, mark in {FIRST: FIRST, **STAGES}.items():
        found[stage] = times[mark] - before
        before = times[mark]
    return {**found, LAST: end - before}


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median and spread of each stage, and of all before the first image."""
    before = list({FIRST: FIRST, **STAGES})[:-1]
    for run in runs:
        run["before the first image"] = sum(run[stage] for stage in before)
    return {stage: _spread([run[stage] for run in runs]) for stage in runs[0]}


def _spread(seconds: list[float]) -> dict[str, float]:
    kinds = {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}
    return {kind: round(value, 3) for kind, value in kinds.items()}


def benchmark() -> None:
    """The command line, whose modules a process that is `amg` must not have imported."""
    import click
    from side_by_side import machine, timed_run

    @click.command(help="Time the stages of a start.")
    @click.argument("image", type=click.Path(exists=True, path_type=Path))
    @click.option("--rounds", default=7, type=click.IntRange(min=1), show_default=True)
    @click.option("--json", "json_file", type=click.Path(path_type=Path))
    def main(image: Path, rounds: int, json_file: Path | None) -> None:
        helps, runs = [], []
        for _ in range(rounds + 1):
            helps.append(timed_run([sys.executable, "-m", "amg_cli", "--help"])[0])
            runs.append(one_run(image.absolute()))
        found = {"stages": summary(runs[1:]), "amg --help": _spread(helps[1:])}
        for name, times in {**found["stages"], "amg --help": found["amg --help"]}.items():
            low, high = times["min_s"], times["max_s"]
            click.echo(f"{name:<28} {times['median_s']:7.3f} s ({low:.3f} to {high:.3f})")
        if json_file:
            result = {"machine": machine(), "image": image.name, "rounds": rounds, **found}
            json_file.write_text(json.dumps(result, indent=1) + "\n")

    main()


if __name__ == "__main__":
    if MARKS in os.environ:
        be_amg()
    else:
        benchmark()
