"""What a run prints: output paths on stdout; progress, errors and a summary on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import click
from tqdm import tqdm

from amg_cli.batch.local import Outcome
from amg_cli.batch.plan import Job
from amg_cli.cli.timings import one_image, whole_run
from amg_cli.cli.words import say, warn
from amg_cli.core.errors import ImageError
from amg_cli.core.timings import Timings


class Report:
    """Prints each outcome as it comes, and counts. With `quiet`, only errors go to stderr.

    timings: print where the time went too, even if quiet

    A context manager, whose end is the end of the progress bar.
    """

    def __init__(self, jobs: Sequence[Job], quiet: bool, timings: bool = False) -> None:
        self._timings = Timings() if timings else None
        self._quiet = quiet
        self._start = time.perf_counter()
        self._done = self._skipped = self._failed = self._warned = self._nb_masks = 0
        for job in jobs:
            if job.renamed:
                self._say(f"{job.source}: goes to {job.target}, as {job.renamed}")
        hidden = quiet or not sys.stderr.isatty()
        self._bar = tqdm(total=len(jobs), unit="image", disable=hidden, file=sys.stderr)

    def add(self, outcome: Outcome) -> None:
        """Print and count one outcome."""
        with tqdm.external_write_mode(file=sys.stderr):
            self._warned += bool(outcome.warnings)
            for warning in () if self._quiet else outcome.warnings:
                warn(warning)
            if outcome.error is not None:
                self._failed += 1
                say(outcome.error)
            elif outcome.nb_masks is None:
                self._skipped += 1
            else:
                self._done += 1
                self._nb_masks += outcome.nb_masks
                # As bytes: a name need not be text in any encoding, and pipelines want it as it is.
                click.echo(os.fsencode(outcome.job.target))
                if self._timings and outcome.timings:
                    self._timings.add(outcome.timings)
                    line = f"{outcome.job.source}: {one_image(outcome.timings)}"
                    say(line)
        self._bar.update()

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()  # also when interrupted, so that the next line starts at its margin

    def summary(self) -> int:
        """Print what the run came to. -> the exit code."""
        self._bar.close()
        elapsed_s = time.perf_counter() - self._start
        warned = f", {self._warned} with a warning" if self._warned else ""
        self._say(
            f"{self._done} done ({self._nb_masks} masks), {self._skipped} skipped, "
            f"{self._failed} failed{warned}, in {elapsed_s:.1f} s"
        )
        if self._timings:
            for line in whole_run(self._timings, elapsed_s, self._done):
                click.echo(line, err=True)
        return ImageError.exit_code if self._failed else 0

    def _say(self, line: str) -> None:
        if not self._quiet:
            say(line)
