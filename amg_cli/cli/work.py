"""What a run does with each image, and by what processes, as its options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amg_cli.cli.model_options import ModelOptions, given_reading
from amg_cli.cli.run_task import RunTask

if TYPE_CHECKING:
    from amg_cli.batch.local import Work
    from amg_cli.batch.run import Plan
    from amg_cli.batch.workers import Engine


def engine_and_work(
    values: Mapping[str, Any], plan: Plan, task: RunTask, nb_images: int | None
) -> tuple[Engine, Work]:
    """The model loaded, and how it is used for so many images; None where that is not known yet."""
    # These load torch, which --help, usage errors and a run with nothing left must not wait for.
    from amg_cli.batch.engine import choose_engine
    from amg_cli.batch.local import Work
    from amg_cli.models.compiled import check_compilable
    from amg_cli.models.devices import find_devices, set_threads

    options = ModelOptions.of(values)
    devices = find_devices(options.device)
    if options.compiled:
        for device in devices:
            check_compilable(device)
    set_threads(1)  # so that what is forked has no threads
    made = task.make()
    work = Work(
        replace(options, device=str(devices[0]), compiled=False, threads=None).load(task.own),
        made,
        tuple(plan.image_formats),
        plan.options,
        reading=given_reading(values),
        timed=values["timings"],
        compiled=options.compiled,
        place=plan.place,
    )
    engine = choose_engine(
        work.model, devices, plan.settings["threads"], values["workers"], nb_images
    )
    return engine, work
