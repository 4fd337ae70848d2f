"""The engine of several processes: outcomes in order, deaths that cost one image, nothing left."""

import dataclasses
import os
import signal
import threading
import time

import cv2
import pytest
import torch

from amg_cli.batch.cores import choose_threads, nb_cores
from amg_cli.batch.engines.choice import choose_engine
from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.engines.workers import AHEAD, END_S, Engine, _Pool, run_in_workers
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import AmgError, InputError
from amg_cli.core.interrupts import Interrupted, signals_raise
from amg_cli.formats import reference_rle
from amg_cli.weights.loading import load_model
from tests.command import files_under
from tests.conftest import REPOSITORY

CPU = [torch.device("cpu")]
ALL_MASKS = GenerationConfig(
    points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
)
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def jobs(tmp_path, noise):
    """Twelve, of images of different sizes; the one at 4 is none."""
    (tmp_path / "in").mkdir()
    made = []
    for number in range(12):
        path = tmp_path / f"in/{number:02}.png"
        cv2.imwrite(str(path), noise[number:])
        made.append(Job(path, (tmp_path / f"out/{number:02}.json",), number, path.stem, path.name))
    made[4].source.write_bytes(b"no image")
    return made


@pytest.fixture
def work(tiny_model):
    return Work(tiny_model, Everything(ALL_MASKS), (reference_rle.FORMAT,))


def with_write(work, write):
    def format_write(result, output):
        write(result.masks, output.path)

    changed = dataclasses.replace(reference_rle.FORMAT, write=format_write)
    return dataclasses.replace(work, formats=(changed,))


def comparable(outcomes):
    return [(o.job, o.result, str(o.error), o.file) for o in outcomes]


def done_here(jobs, work, folder):
    """What one process makes of the jobs: outcomes and files, which are taken away again."""
    outcomes, files = comparable(run(jobs, work)), files_under(folder / "out")
    for path in (folder / "out").iterdir():
        path.unlink()
    return outcomes, files


@pytest.mark.usefixtures("one_thread")
def test_workers_do_what_one_process_does_in_the_order_of_the_jobs(jobs, work, tmp_path):
    wanted, files = done_here(jobs, work, tmp_path)
    found = comparable(run_in_workers(jobs, work, Engine(3, 1)))
    assert found == wanted
    assert files_under(tmp_path / "out") == files
    assert len(files) == 11


def test_the_first_outcome_does_not_wait_for_the_next_job(jobs, work):
    go_on = []

    def slow_jobs():
        yield jobs[0]
        while not go_on:
            time.sleep(0.01)
        yield jobs[1]

    outcomes = run_in_workers(slow_jobs(), work, Engine(2, 1))
    assert next(outcomes).job == jobs[0]
    go_on.append(True)
    assert [outcome.job for outcome in outcomes] == [jobs[1]]


def test_jobs_are_not_begun_long_before_the_first_is_done(jobs, work, tmp_path):
    taken = []

    def endless():
        for number in range(10_000):
            taken.append(number)
            job = jobs[0] if number else jobs[1]
            yield dataclasses.replace(job, targets=(tmp_path / f"out/{number}.json",))

    def write(masks, path):
        if path.name == "0.json":
            while len(list(path.parent.parent.parent.glob("*.json"))) < 20:
                time.sleep(0.01)
            time.sleep(1)
        path.write_text("[]")

    outcomes = run_in_workers(endless(), with_write(work, write), Engine(2, 1))
    next(outcomes)
    outcomes.close()
    assert 20 < len(taken) < 2 * AHEAD + 10


def test_a_worker_that_dies_costs_the_image_in_hand_and_no_other(jobs, work, tmp_path):
    def write(masks, path):
        if path.name in ("02.json", "09.json"):
            os.kill(os.getpid(), signal.SIGKILL)
        path.write_text("[]")

    outcomes = list(run_in_workers(jobs, with_write(work, write), Engine(2, 1)))
    assert [outcome.job for outcome in outcomes] == jobs
    failed = {outcome.job.number: str(outcome.error) for outcome in outcomes if outcome.error}
    assert sorted(failed) == [2, 4, 9]
    assert failed[2] == (
        f"{jobs[2].source}: the process that worked on it was killed by SIGKILL; it may need more "
        "memory than there is; give fewer `workers` and `retry_failed`"
    )


def test_a_path_that_no_system_has_costs_itself_alone(jobs, work):
    jobs[1] = dataclasses.replace(jobs[1], source=jobs[1].source.with_name("a\0b.png"))
    outcomes = list(run_in_workers(jobs[:4], work, Engine(2, 1)))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, True]
    for outcome in (outcomes[1], *run(jobs[1:2], work)):
        assert str(outcome.error).endswith("cannot read it: embedded null byte; check the path")


@pytest.mark.parametrize(
    ("error", "words"),
    [(InputError("stdin", "is broken"), "is broken"), (KeyError("x"), "reading ahead broke off")],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_jobs_ends_the_run_after_those_before_it(error, words, jobs, work):
    def failing():
        yield from jobs[:3]
        raise error

    outcomes = run_in_workers(failing(), work, Engine(2, 1))
    assert [next(outcomes).job for _ in range(3)] == jobs[:3]
    with pytest.raises(AmgError, match=words):
        next(outcomes)


def test_a_signal_ends_the_workers_and_leaves_nothing_half_written(jobs, work, tmp_path):
    def write(masks, path):
        path.write_text("[")
        time.sleep(60)

    alarm = threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM))
    start = time.perf_counter()
    outcomes = run_in_workers(jobs, with_write(work, write), Engine(2, 1))
    alarm.start()
    with pytest.raises(Interrupted), signals_raise():
        list(outcomes)
    assert time.perf_counter() - start < 30
    assert list((tmp_path / "out").iterdir()) == []


def test_large_images_are_not_worked_on_at_once(jobs, work, tmp_path):
    def write(masks, path):
        """Busy until so many are as there may be, and a little longer; or for a second."""
        marker = path.parents[2] / f"busy{os.getpid()}"
        marker.touch()
        wanted, end = int((tmp_path / "wanted").read_text()), time.monotonic() + 1
        while len(list(path.parents[2].glob("busy*"))) < wanted and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
        path.write_text(str(len(list(path.parents[2].glob("busy*")))))
        marker.unlink()

    def at_once(max_pixels, wanted):
        (tmp_path / "wanted").write_text(str(wanted))
        work_ = with_write(work, write)
        outcomes = list(run_in_workers(jobs, work_, Engine(3, 1, max_pixels=max_pixels)))
        assert [outcome.job for outcome in outcomes] == jobs
        return [int(job.targets[0].read_text()) for job in jobs if job.targets[0].exists()]

    one = jobs[0].nb_pixels or cv2.imread(str(jobs[0].source))[..., 0].size
    assert set(at_once(one - 1, 1)) == {1}
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert max(at_once(2 * one, 2)) == 2
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert max(at_once(3 * one, 3)) == 3


@pytest.mark.usefixtures("one_thread")
def test_workers_of_several_devices_are_started_anew_and_find_the_same(jobs, work, tmp_path):
    wanted, files = done_here(jobs, work, tmp_path)

    class OfGpus(Engine):
        """Which are not here: a worker is started as there, and works on the CPU."""

        forks = False

    assert comparable(run_in_workers(jobs, work, OfGpus(2, 1, (*CPU, *CPU)))) == wanted
    assert files_under(tmp_path / "out") == files
    gpus = [torch.device("cuda:0"), torch.device("cuda:1")]
    engine = choose_engine(work.model, gpus, 1, None, 100)
    assert (engine.workers, engine.devices, engine.forks) == (2, tuple(gpus), False)
    assert choose_engine(work.model, gpus, 1, 4, 100).workers == 4


def test_workers_that_have_just_been_started_end_at_once(work):
    for _ in range(20):
        pool = _Pool(work, Engine(2, 1))
        start = time.perf_counter()
        pool.stop()
        assert time.perf_counter() - start < END_S / 2


def test_workers_and_threads_share_the_cores(tiny_model, monkeypatch):
    cores = nb_cores()
    assert choose_threads(None, None) == 1
    assert choose_threads(1, None) == cores
    assert choose_threads(100, None) == 1
    assert choose_threads(100, 1) == cores
    assert choose_engine(tiny_model, CPU, 1, None, None).workers == cores
    assert choose_engine(tiny_model, CPU, 1, None, 1).workers == 1
    assert choose_engine(tiny_model, CPU, cores, None, 100).workers == 1
    assert choose_engine(tiny_model, CPU, 1, 7, 100).workers == 7
    monkeypatch.setattr("amg_cli.batch.engines.choice.available_bytes", lambda: 0.5e9)
    assert choose_engine(tiny_model, CPU, 1, None, 100).workers == 1


def test_masks_of_a_worker_are_those_of_its_threads_whatever_the_workers():
    config = GenerationConfig(points_per_side=3, pred_iou_thresh=0.5, stability_score_thresh=0.5)
    jobs = [Job(REPOSITORY / "examples/images/coffee.jpg", ())] * 3
    nano = load_model(image_size=256)
    found = [
        [
            outcome.result.masks
            for outcome in run_in_workers(jobs, Work(nano, Everything(config), ()), Engine(n, 1))
        ]
        for n in (2, 3)
    ]
    assert found[0] == found[1][:3]
    assert found[0][0] != []
