"""What a run would do, and how long it may take, without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from amg_cli.batch.images import Source
from amg_cli.batch.run import Plan, preview
from amg_cli.cli.figures import duration
from amg_cli.cli.model_options import ModelOptions, given_reading
from amg_cli.cli.options import generation_config
from amg_cli.cli.words import say

TRIED = 2  # images a worker, spread over all


def dry_run(values: Mapping[str, Any], plan: Plan, sources: Sequence[Source]) -> int:
    """Say how many images there are, where they go and what is left. -> the exit code.

    The time is estimated by a few images.
    """
    images = preview(plan, sources)
    counts = Counter(status for _, status in images)
    to_do = [source for source, status in images if status == "to do"]
    say(f"{len(images)} images, to {plan.output} as {', '.join(plan.formats)}")
    say(
        f"{len(to_do)} to do, {counts['done']} done, {counts['failed']} failed before, "
        f"{counts['exists']} with output that no recorded run has made"
    )
    if to_do:
        seconds, workers = _seconds_an_image(values, to_do, plan.settings["threads"])
        left = duration(seconds * len(to_do) / workers)
        say(f"{seconds:.1f} s an image, {workers} at a time: {left} in all, by a few images")
    return 0


def _seconds_an_image(
    values: Mapping[str, Any], to_do: Sequence[Source], threads: int
) -> tuple[float, int]:
    """The mean of a few images, done at once by as many workers as a run has, and their number."""
    from amg_cli.batch.engine import choose_engine
    from amg_cli.batch.job import Job
    from amg_cli.batch.local import Work
    from amg_cli.models.devices import set_threads

    set_threads(1)
    model = ModelOptions.of(values).load()
    work = Work(model, generation_config(values), (), reading=given_reading(values))
    engine = choose_engine(model, threads, values["workers"], len(to_do))
    tried = to_do[:: -(-len(to_do) // (TRIED * engine.workers))]
    outcomes = list(engine.run([Job(source.path, ()) for source in tried], work))
    return sum(outcome.seconds for outcome in outcomes) / len(outcomes), engine.workers
