"""What a run would do, and how long it may take, without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amg_cli.batch.run import Plan, preview
from amg_cli.batch.sources.images import Source
from amg_cli.cli.figures import duration
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.words import say
from amg_cli.cli.work import local_engine_and_work

TRIED = 2  # images a worker, spread over all


def dry_run(values: Mapping[str, Any], plan: Plan, task: RunTask, sources: Sequence[Source]) -> int:
    """Say how many images there are, where they go and what is left. -> the exit code.

    The time is estimated by a few images.
    """
    images = preview(plan, sources)
    counts = Counter(status for _, status in images)
    to_do = [source for source, status in images if status == "to do"]
    say(f"{len(images)} images, to {plan.storage.shown(plan.output)} as {', '.join(plan.formats)}")
    say(
        f"{len(to_do)} to do, {counts['done']} done, {counts['failed']} failed before, "
        f"{counts['exists']} with output that no recorded run has made"
    )
    for error in task.refused(sources):
        say(error)
    if to_do:
        seconds, workers = _seconds_an_image(values, plan, task, to_do)
        left = duration(seconds * len(to_do) / workers)
        say(f"{seconds:.1f} s an image, {workers} at a time: {left} in all, by a few images")
    return 0


def _seconds_an_image(
    values: Mapping[str, Any], plan: Plan, task: RunTask, to_do: Sequence[Source]
) -> tuple[float, int]:
    """The mean of a few images, done at once by as many workers as a run has, and their number."""
    engine, work = local_engine_and_work(values, plan, task, len(to_do))
    from amg_cli.batch.engines.choice import run_on
    from amg_cli.batch.job import Job

    tried = to_do[:: -(-len(to_do) // (TRIED * engine.workers))]
    jobs = [task.given(Job(source.where, (), fault=source.fault), source) for source in tried]
    outcomes = list(run_on(engine, jobs, replace(work, formats=())))
    return sum(outcome.seconds for outcome in outcomes) / len(outcomes), engine.workers
