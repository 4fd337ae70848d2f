"""What `--timings` prints, for people: a line an image, and a table of the whole run."""

from __future__ import annotations

from collections.abc import Iterator

from amg_cli.core.timings import FUNNEL, STAGES, Timings


def one_image(timings: Timings) -> str:
    """The stages in seconds, and how many masks were left at each step, in a line."""
    stages = ", ".join(f"{stage} {timings.seconds[stage]:.2f}" for stage in STAGES)
    return f"{stages} s; {_funnel(timings)}"


def whole_run(timings: Timings, elapsed_s: float, nb_images: int) -> Iterator[str]:
    """The lines of a table: seconds of each stage, an image, and its share of the run."""
    yield f"{'stage':<10} {'seconds':>8} {'an image':>9} {'share':>6}"
    other_s = elapsed_s - sum(timings.seconds.values())
    rows = [(stage, timings.seconds[stage]) for stage in STAGES]
    for stage, seconds in (*rows, ("other", other_s), ("all", elapsed_s)):
        share = seconds / elapsed_s if elapsed_s else 0.0
        yield f"{stage:<10} {seconds:8.2f} {seconds / max(nb_images, 1):9.3f} {share:6.1%}"
    yield _funnel(timings)


def _funnel(timings: Timings) -> str:
    return ", ".join(f"{timings.counts[step]} {step}" for step in FUNNEL)
