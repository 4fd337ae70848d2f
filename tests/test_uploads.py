"""Outputs on their way to the cloud while the next image is worked on, by real processes."""

import dataclasses
import os
import signal
import time

import cv2
import pytest

from amg_cli.batch.cloud.place import Place
from amg_cli.batch.cloud.uploads import IMAGES_AT_ONCE
from amg_cli.batch.engines.local import Work, attempt, run
from amg_cli.batch.engines.workers import Engine, run_in_workers
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import InputError
from amg_cli.formats import reference_rle
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures

ALL_MASKS = GenerationConfig(
    points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
)
BUCKET, NB_JOBS = "masks", 12
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def jobs(tmp_path, noise):
    """The one at 4 is no image."""
    (tmp_path / "in").mkdir()
    made = []
    for number in range(NB_JOBS):
        path = tmp_path / f"in/{number:02}.png"
        cv2.imwrite(str(path), noise[number:])
        target = tmp_path / f"out/{number:02}.json"
        made.append(Job(path, (target,), number, path.stem, path.name, overwrite=True))
    made[4].source.write_bytes(b"no image")
    return made


@pytest.fixture
def work(tiny_model, tmp_path, store):  # noqa: F811
    place = Place(f"s3://{store.bucket(BUCKET)}/x", tmp_path / "out")
    store.network.latency_s = 0.3
    return Work(tiny_model, Everything(ALL_MASKS), (reference_rle.FORMAT,), place=place)


def results(outcomes):
    return [(outcome.job.number, outcome.result) for outcome in outcomes]


@pytest.mark.usefixtures("one_thread")
def test_outcomes_come_in_order_when_their_outputs_are_there(jobs, work, tmp_path, store):  # noqa: F811
    here = dataclasses.replace(work, place=None)
    wanted = results(run(jobs, here))
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    start = time.perf_counter()
    for outcomes in (run(jobs, work), run_in_workers(jobs, work, Engine(2, 1))):
        found = []
        for outcome in outcomes:
            found.append((outcome.job.number, outcome.result))
            if outcome.result:
                assert f"x/{outcome.job.targets[0].name}" in store.keys(BUCKET)
            staged = list((tmp_path / "out").glob("*.json"))
            assert len(staged) <= 2 * (IMAGES_AT_ONCE + 2)
        assert found == wanted
        assert {k.removeprefix("x/"): store.get(BUCKET, k) for k in store.keys(BUCKET)} == files
        assert not list((tmp_path / "out").iterdir())
    assert store.network.most_at_once > 1
    assert time.perf_counter() - start < 60
    assert attempt(jobs[0], work).result == wanted[0][1]  # which waits for its own
    assert str(attempt(jobs[4], work).error).startswith(f"{jobs[4].source}: ")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("engine", [run, lambda *given: run_in_workers(*given, Engine(2, 1))])
def test_what_came_before_an_error_of_the_jobs_is_sent(engine, jobs, work, store):  # noqa: F811
    def failing():
        yield from jobs[:3]
        raise InputError("stdin", "is broken")

    outcomes = engine(failing(), work)
    assert [next(outcomes).job for _ in range(3)] == jobs[:3]
    with pytest.raises(InputError, match="is broken"):
        next(outcomes)
    assert store.keys(BUCKET) == [f"x/{number:02}.json" for number in range(3)]


@pytest.mark.usefixtures("one_thread")
def test_a_worker_that_dies_costs_the_image_in_hand_and_not_those_on_their_way(
    jobs,
    work,
    store,  # noqa: F811
):
    def write(result, output):
        if output.target.name == "06.json":
            os.kill(os.getpid(), signal.SIGKILL)
        reference_rle.FORMAT.write(result, output)

    changed = dataclasses.replace(reference_rle.FORMAT, write=write)
    deadly = dataclasses.replace(work, formats=(changed,))
    outcomes = list(run_in_workers(jobs, deadly, Engine(1, 1)))
    assert [outcome.job.number for outcome in outcomes] == list(range(NB_JOBS))
    failed = {o.job.number: str(o.error) for o in outcomes if o.result is None}
    assert failed.keys() == {4, 6}, failed
    assert "was killed by SIGKILL" in failed[6]
    assert len(store.keys(BUCKET)) == NB_JOBS - 2
