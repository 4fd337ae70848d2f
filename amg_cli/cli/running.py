"""A run, from its options to its report."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.batch.cores import choose_threads
from amg_cli.batch.naming import plain_name
from amg_cli.batch.run import Plan, Run, Status
from amg_cli.batch.sources.data_sets import Columns
from amg_cli.batch.sources.inputs import (
    Sources,
    arriving_sources,
    far_shards,
    find_sources,
    listed_sources,
)
from amg_cli.batch.sources.shards import images_in_all
from amg_cli.batch.storage import OnDisk
from amg_cli.cli.engine_options import on_ray
from amg_cli.cli.format_options import given_options
from amg_cli.cli.in_place import in_place
from amg_cli.cli.model_options import ModelOptions, given_reading
from amg_cli.cli.report import Report
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.viewing import VIEW, Wanted, check_viewable, make_view, view_folder
from amg_cli.cli.work import engine_and_work
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import interrupted_with
from amg_cli.formats.manifest import Entry, read_settings
from amg_cli.weights.identity import weights_sha256

if TYPE_CHECKING:
    from amg_cli.batch.job import Job, Outcome
    from amg_cli.batch.live_preview import LivePreview
    from amg_cli.batch.sources.images import Source

GO_ON = "finished images are kept; the same command goes on from here"


def do_run(values: Mapping[str, Any], formats: list[str], task: RunTask) -> int:
    """Plan, load the model if there is work, do it, report. -> the exit code."""
    ModelOptions.of(values)  # for its usage errors, before anything is made
    if values.get("view"):
        check_viewable(values, formats)
    sources = _sources(values)
    with in_place(values) as (placed, storage):
        return _planned(placed, formats, task, sources, storage)


def _planned(
    values: Mapping[str, Any],
    formats: list[str],
    task: RunTask,
    sources: Sources,
    storage: OnDisk,
) -> int:
    """The run, where its output is a folder here. storage: as of `Plan`"""
    plan = replace(_plan(values, formats, sources, task), storage=storage)
    if values["dry_run"]:
        from amg_cli.cli.dry_run import dry_run

        return dry_run(values, plan, task, list(itertools.chain.from_iterable(sources.batches)))
    _check_preview(values, sources)
    if values["output"] == STDIO:
        return _to_stdout(values, plan, task, sources)
    with interrupted_with(GO_ON), Run.opened(plan) as run:
        exit_code = _to_folder(values, plan, task, sources, run)
    if values.get("view"):
        output = values["output"]
        wanted = Wanted(reading=given_reading(values), quiet=values["quiet"])
        click.echo(bytes(make_view(output, view_folder(output), wanted)))
    return exit_code


def _to_folder(
    values: Mapping[str, Any], plan: Plan, task: RunTask, sources: Sources, run: Run
) -> int:
    """A run whose outputs and record are in a folder."""
    refused = task.refused(sources.listed)
    counts: Counter[Status] = Counter()
    to_do: Iterable[tuple[Source, Entry]] = _to_do(run, sources, counts)
    total = None
    if sources.total is not None:
        to_do = list(to_do)
        total = len(to_do)
    with _report(values, task, total, plan) as report:
        report.refused(refused)
        if isinstance(to_do, list):
            report.names(to_do, plan)
        preview = _preview(values, report)
        if total != 0:
            jobs = (task.given(run.job(source, entry), source) for source, entry in to_do)
            with closing(_outcomes(values, jobs, plan, task, total)) as outcomes:
                for outcome in outcomes:
                    run.record(outcome)
                    report.add(outcome)
                    preview.add(outcome.result)
                    _check_failures(report, values["max_failures"])
                preview.finish()
        report.print_paths(run.finish())
        report.settled(counts["done"], counts["failed"])
        if counts["exists"]:
            report.existing(counts["exists"], plan.output, skipped=plan.on_exists == "skip")
        return report.summary()


def _to_do(run: Run, sources: Sources, counts: Counter[Status]) -> Iterator[tuple[Source, Entry]]:
    """The images that there is work for. Counts what becomes of all."""
    for batch in sources.batches:
        found = [(source, entry, run.status(source, entry)) for source, entry in run.listed(batch)]
        counts.update(status for _, _, status in found)
        to_do = [(source, entry) for source, entry, status in found if status == "to do"]
        run.replacing(entry for _, entry in to_do)
        yield from to_do


def _to_stdout(values: Mapping[str, Any], plan: Plan, task: RunTask, sources: Sources) -> int:
    """A run without a folder: a line of JSON an image, each as soon as it is there."""
    from amg_cli.batch.job import Job
    from amg_cli.formats.ndjson import line_of, line_of_failure

    def job_of(number: int, source: Source) -> Job:
        """An image as work."""
        name = plain_name(source.relative)
        with_fault = Job(source.where, (), number, name, source.file, fault=source.fault)
        return task.given(replace(with_fault, data_set_id=source.id), source)

    refused = task.refused(sources.listed)
    every = itertools.chain.from_iterable(sources.batches)
    jobs = (job_of(number, source) for number, source in enumerate(every, 1))
    with (
        _report(values, task, sources.total) as report,
        closing(_outcomes(values, jobs, plan, task, sources.total)) as outcomes,
    ):
        report.refused(refused)
        preview = _preview(values, report)
        for outcome in outcomes:
            job = outcome.job
            line = line_of_failure(job.number, job.file_name, outcome.error)
            click.echo(line_of(outcome.result) if outcome.result else line, nl=False)
            report.add(outcome)
            preview.add(outcome.result)
            _check_failures(report, values["max_failures"])
        preview.finish()
        return report.summary()


def _outcomes(
    values: Mapping[str, Any],
    jobs: Iterable[Job],
    plan: Plan,
    task: RunTask,
    total: int | None,
) -> Generator[Outcome, None, None]:
    """What becomes of the jobs, which the model is loaded for. total: None for not known yet."""
    engine, work = engine_and_work(values, plan, task, total)
    from amg_cli.batch.engines.choice import run_on

    return run_on(engine, jobs, work)


def _sources(values: Mapping[str, Any]) -> Sources:
    """The images of the run: all at once, or, from stdin, as they arrive."""
    if STDIO in values["inputs"]:
        arriving = arriving_sources(sys.stdin.buffer, values["null"])
        return Sources(([source] for source in arriving), None)
    output = None if values["output"] == STDIO else values["output"]
    given, columns = values["inputs"], Columns(values["image_column"], values["id_column"])
    sources = find_sources(given, output, values["recursive"], columns) if given else []
    if values["input_list"] is not None:
        listed = listed_sources(values["input_list"], values["null"])
        sources = list({s.identity: s for s in (*sources, *listed)}.values())
    if shards := far_shards(given):
        return Sources(itertools.chain([sources], images_in_all(shards)), None)
    return Sources([sources], len(sources), sources)


def _plan(values: Mapping[str, Any], formats: list[str], sources: Sources, task: RunTask) -> Plan:
    settings = {
        "task": task.name,
        "weights": weights_sha256(values["checkpoint"], values["model_type"]),
        "image_size": values["image_size"],
        "precision": "fp32" if values["precision"] == "auto" else values["precision"],
        "compiled": values["compiled"],
        "stretch": values["stretch"],
        "threads": _threads(values, sources),
        "backend": values["backend"],
        "hq_token_only": values["hq_token_only"],
        **task.settings,
    }
    return Plan(
        output=values["output"],
        formats=tuple(formats),
        settings=settings,
        options=given_options(values),
        on_exists=values["on_exists"],
        shard=values["shard"],
        retry_failed=values["retry_failed"],
        taken=(VIEW,) if values.get("view") else (),
    )


def _threads(values: Mapping[str, Any], sources: Sources) -> int:
    """CPU threads of a worker: as asked for, or as the run has begun, whose masks go by it."""
    if values["threads"]:
        return int(values["threads"])
    if values["output"] != STDIO:
        recorded = read_settings(values["output"], values["shard"]) or {}
        if "threads" in recorded:
            return int(recorded["threads"])
    if on_ray(values):  # whose cores are not this machine's
        return values["cpus_per_actor"] or 1
    return choose_threads(sources.total, values["workers"])


def _report(
    values: Mapping[str, Any], task: RunTask, total: int | None, plan: Plan | None = None
) -> Report:
    shown = None if plan is None else plan.storage.shown
    return Report(total, values["quiet"], values["timings"], task.has_masks, shown)


def _check_preview(values: Mapping[str, Any], sources: Sources) -> None:
    """Raises OutputError where there can be no file of --preview."""
    if values.get("preview") is not None:
        from amg_cli.batch.live_preview import check_preview

        folders = [path for path in values["inputs"] if isinstance(path, Path)]
        output = values["output"]
        check_preview(values["preview"], sources.listed, folders, output, values["recursive"])


def _preview(values: Mapping[str, Any], report: Report) -> LivePreview:
    """What --preview asks for, if it is given."""
    from amg_cli.batch.live_preview import LivePreview

    return LivePreview(values.get("preview"), given_reading(values), report.warn)


def _check_failures(report: Report, most: int | None) -> None:
    if most is not None and report.nb_failed >= most:
        cause = f"{report.nb_failed} images have failed, which is as many as `max_failures`"
        raise ImageError("the run", f"{cause} allows", "what is done is kept")
