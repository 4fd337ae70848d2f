"""What a run prints: results on stdout; progress, errors and a summary on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from tqdm import tqdm

from amg_cli.batch.job import Outcome
from amg_cli.batch.naming import why_renamed
from amg_cli.batch.run import Plan
from amg_cli.batch.sources.images import Source
from amg_cli.cli.figures import duration
from amg_cli.cli.timings import one_image, whole_run
from amg_cli.cli.words import say, warn
from amg_cli.core.errors import AmgError, ImageError, OutputExistsError
from amg_cli.core.timings import Timings
from amg_cli.formats.manifest import Entry

EVERY_S = 30.0  # between lines of progress, where there is no terminal to have a bar
MOST_NAMES = 20  # lines about names, before the rest is only counted


class Report:
    """Prints each outcome as it comes, and counts. With `quiet`, only errors go to stderr.

    total:   images to do; None where that is not known yet
    has_masks: whether that is what is found, and counted
    timings: print where the time went too, even if quiet
    shown:   what an output's path is called; None for as it is

    A context manager, whose end is the end of the progress bar.
    """

    def __init__(
        self,
        total: int | None,
        quiet: bool,
        timings: bool = False,
        has_masks: bool = True,
        shown: Callable[[Path | str], str] | None = None,
    ) -> None:
        self._shown = shown or str
        self._has_masks = has_masks
        self._timings = Timings() if timings else None
        self._quiet, self._total = quiet, total
        self._start = self._last_line = time.perf_counter()
        self._done = self._before = self._skipped = self._failed = 0
        self._warned = self._nb_masks = self._refused = 0
        self._work_s = 0.0
        hidden = quiet or not sys.stderr.isatty()
        self._bar = tqdm(total=total, unit="image", disable=hidden, file=sys.stderr)

    @property
    def nb_failed(self) -> int:
        """Images that have failed in this run."""
        return self._failed

    def names(self, images: Sequence[tuple[Source, Entry]], plan: Plan) -> None:
        """Say which outputs have another name than one would expect, before the work begins."""
        renamed = [
            (source.file, next(iter(plan.targets(entry.name)), entry.name), why)
            for source, entry in images
            if (why := why_renamed(source.relative, entry.name))
        ]
        for path, target, why in renamed[:MOST_NAMES]:
            self._say(f"{path}: goes to {self._shown(target)}, as {why}")
        if len(renamed) > MOST_NAMES:
            more = len(renamed) - MOST_NAMES
            self._say(f"{more} more have such names; .amg/images.ndjson has all")

    def settled(self, done: int, failed: int) -> None:
        """Images that an earlier run has done, or failed at, as this one would."""
        self._before += done
        self._failed += failed
        if failed:
            self._say(f"{failed} failed before; --retry-failed does them again")

    def refused(self, errors: Sequence[AmgError]) -> None:
        """Say what was asked for and is not to be had, where all else is; it counts as failed."""
        self._refused += len(errors)
        for error in errors:
            say(error)

    def existing(self, count: int, output: Path, skipped: bool) -> None:
        """Images whose output is there, and not of a recorded run."""
        if skipped:
            self._skipped += count
            return
        self._failed += count
        what = "image has output" if count == 1 else "images have output"
        cause = f"{count} {what} in it that no recorded run has made"
        say(OutputExistsError(self._shown(output), cause, "give `on_exists` skip or overwrite"))

    def add(self, outcome: Outcome) -> None:
        """Print and count one outcome."""
        with tqdm.external_write_mode(file=sys.stderr):
            self._warned += bool(outcome.warnings)
            for warning in outcome.warnings:
                self.warn(warning)
            self.refused(outcome.refused)
            if outcome.result is None:
                self._failed += 1
                say(outcome.error)
            else:
                self._done += 1
                self._nb_masks += len(outcome.result.masks)
                self.print_paths(outcome.job.targets)
                if self._timings and outcome.timings:
                    self._work_s += outcome.seconds
                    self._timings.add(outcome.timings)
                    say(f"{outcome.job.source}: {one_image(outcome.timings)}")
        counts = {"masks": self._nb_masks} if self._has_masks else {}
        self._bar.set_postfix(counts | {"failed": self._failed}, refresh=False)
        self._bar.update()
        self._progress()

    def warn(self, warning: AmgError) -> None:
        """Say what may be wrong, and ends nothing."""
        with tqdm.external_write_mode(file=sys.stderr):
            if not self._quiet:
                warn(warning)

    def print_paths(self, paths: Sequence[Path]) -> None:
        """Outputs that are in place, a line each on stdout."""
        for path in paths:
            # As bytes: a name need not be text in any encoding, and pipelines want it as it is.
            click.echo(os.fsencode(self._shown(path)))

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()  # also when interrupted, so that the next line starts at its margin

    def summary(self) -> int:
        """Print what the run came to. -> the exit code."""
        self._bar.close()
        elapsed_s = time.perf_counter() - self._start
        warned = f", {self._warned} with a warning" if self._warned else ""
        masks = f" ({self._nb_masks} masks)" if self._has_masks else ""
        before = f", {self._before} done before" if self._before else ""
        refused = f", {self._refused} refused" if self._refused else ""
        self._say(
            f"{self._done} done{masks}{before}, {self._skipped} skipped, "
            f"{self._failed} failed{refused}{warned}, in {elapsed_s:.1f} s",
            done=self._done,
            before=self._before,
            masks=self._nb_masks,
            skipped=self._skipped,
            failed=self._failed,
            refused=self._refused,
            seconds=round(elapsed_s, 3),
        )
        if self._timings:
            # Of all workers' time, which is more than the clock's where there are several.
            for line in whole_run(self._timings, self._work_s, self._done):
                click.echo(line, err=True)
        return ImageError.exit_code if self._failed or self._refused else 0

    def _progress(self) -> None:
        """A line every so often, where there is no bar."""
        now = time.perf_counter()
        if not self._bar.disable or now - self._last_line < EVERY_S:
            return
        self._last_line = now
        nb_done = self._done + self._failed
        of_all, left = "", ""
        if self._total:
            left_s = (now - self._start) / nb_done * (self._total - nb_done)
            of_all, left = f" of {self._total}", f", {duration(left_s)} left"
        masks = f"{self._nb_masks} masks, " if self._has_masks else ""
        self._say(f"{nb_done}{of_all} images, {masks}{self._failed} failed{left}")

    def _say(self, line: str, **facts: object) -> None:
        if not self._quiet:
            say(line, **facts)
