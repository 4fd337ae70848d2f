"""Which engine a run has: how many processes, on what devices, and how many CPU threads each."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import torch

from amg_cli.batch.cores import available_bytes, nb_cores
from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.engines.ray import RayEngine, run_on_ray
from amg_cli.batch.engines.workers import Engine, run_in_workers
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.sources.fetching import fetching
from amg_cli.models.configs import VitConfig
from amg_cli.models.devices import is_cpu, set_threads
from amg_cli.models.onnx import OnnxDecoder, OnnxEncoder
from amg_cli.models.sam import Sam

# What a worker needs beside the weights, with an image of a few megapixels; as measured, and half
# more. A plain ViT has attention over the whole image.
WORKER_BYTES, WORKER_BYTES_OF_VIT = 1.0e9, 6.0e9
# What a larger image adds: four as measured up to 260 megapixels, and as much again.
BYTES_A_PIXEL = 8


def run_on(
    engine: Engine | RayEngine, jobs: Iterable[Job], work: Work
) -> Generator[Outcome, None, None]:
    """What becomes of each job; here in their order. Closed early, it leaves nothing behind."""
    if isinstance(engine, RayEngine):
        return run_on_ray(engine, jobs, work)
    if engine.workers == 1:
        set_threads(engine.threads)
        ready = work.on(engine.devices[0])
        return fetching(jobs, work.reading, lambda jobs: run(jobs, ready))
    return fetching(jobs, work.reading, lambda jobs: run_in_workers(jobs, work, engine))


def choose_engine(
    model: Sam,
    devices: Sequence[torch.device],
    threads: int,
    workers: int | None,
    nb_images: int | None,
) -> Engine:
    """The engine for a model: as many workers as there are cores for, and images, and memory.

    On GPUs one each, which has it to itself; and one where ONNX Runtime has a device.
    """
    need = WORKER_BYTES_OF_VIT if isinstance(model.config.encoder, VitConfig) else WORKER_BYTES
    if isinstance(model.image_encoder, OnnxEncoder):  # which processes do not share
        need += model.image_encoder.graph.nb_bytes
    if workers is None and isinstance(model.mask_decoder, OnnxDecoder):
        workers = 1
    if workers is None:
        on_cpu = all(map(is_cpu, devices))
        workers = max(1, nb_cores() // threads) if on_cpu else len(devices)
        workers = max(1, min(workers, int(available_bytes() // need)))
    size = max(1, workers if nb_images is None else min(workers, nb_images))
    max_pixels = (available_bytes() - size * need) / BYTES_A_PIXEL
    return Engine(size, threads, tuple(devices), max_pixels)
