"""What a run does with each image, and by what processes, as its options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amg_cli.cli.engine_options import on_ray
from amg_cli.cli.model_options import ModelOptions, given_reading
from amg_cli.cli.process import prepare_process
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.torch_import import import_torch

if TYPE_CHECKING:
    from amg_cli.batch.engines.local import Work
    from amg_cli.batch.engines.ray import RayEngine
    from amg_cli.batch.engines.workers import Engine
    from amg_cli.batch.run import Plan


def engine_and_work(
    values: Mapping[str, Any], plan: Plan, task: RunTask, nb_images: int | None
) -> tuple[Engine | RayEngine, Work]:
    """The model loaded, and how it is used for so many images; None where that is not known yet."""
    if on_ray(values):
        return _on_ray(values, plan, task)
    return local_engine_and_work(values, plan, task, nb_images)


def local_engine_and_work(
    values: Mapping[str, Any], plan: Plan, task: RunTask, nb_images: int | None
) -> tuple[Engine, Work]:
    """Those of this machine's processes."""
    # Torch, which --help, usage errors and a run with nothing left must not wait for.
    import_torch()
    from amg_cli.batch.engines.choice import choose_engine
    from amg_cli.models.compiled import check_compilable
    from amg_cli.models.devices import find_devices

    options = ModelOptions.of(values)
    devices = find_devices(options.device)
    if options.compiled:
        for device in devices:
            check_compilable(device)
    work = _work(values, plan, task, str(devices[0]))
    engine = choose_engine(
        work.model, devices, plan.settings["threads"], values["workers"], nb_images
    )
    return engine, work


def _work(values: Mapping[str, Any], plan: Plan, task: RunTask, device: str) -> Work:
    """What is done with each image, by a model that is loaded on a device."""
    from amg_cli.batch.engines.local import Work
    from amg_cli.models.devices import set_threads

    options = ModelOptions.of(values)
    set_threads(1)  # so that what is forked has no threads
    made = task.make()
    return Work(
        replace(options, device=device, compiled=False, threads=None).load(task.own),
        made,
        tuple(plan.image_formats),
        plan.options,
        reading=given_reading(values),
        timed=values["timings"],
        compiled=options.compiled,
        place=plan.storage.place,
    )


def _on_ray(values: Mapping[str, Any], plan: Plan, task: RunTask) -> tuple[RayEngine, Work]:
    """The model is loaded here, on the CPU, and goes to the actors' devices by Ray."""
    import torch

    from amg_cli.batch.engines.ray import RayEngine
    from amg_cli.batch.manifest import holder_file
    from amg_cli.models.devices import find_precision
    from amg_cli.models.modes import Modes

    work = _work({**values, "precision": "auto"}, plan, task, "cpu")
    theirs = torch.device("cuda" if values["gpus_per_actor"] else "cpu")
    work.model.modes = Modes(precision=find_precision(values["precision"], theirs))
    threads = plan.settings["threads"]
    engine = RayEngine(
        threads,
        values["cpus_per_actor"] or threads,
        values["gpus_per_actor"] or 0.0,
        values["actors"],
        values["ray_address"],
        # Of what goes to stdout or to the cloud nothing is at a path that others see.
        None if plan.output == STDIO or plan.is_far else holder_file(plan.output, plan.shard),
        prepare_process,
    )
    return engine, work
