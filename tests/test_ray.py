"""The engine of a Ray cluster: what it does is what one machine does, whatever dies meanwhile."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from amg_cli.batch.engines import ray_actor
from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.engines.ray import RayEngine, run_on_ray
from amg_cli.batch.engines.ray_actor import MOST_TRIES, Desk, Setup
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import DeviceError, InputError
from amg_cli.core.version import __version__
from amg_cli.formats import reference_rle
from tests.command import AMG, FEW_POINTS, SMALL_MODEL, amg, files_under, save
from tests.conftest import REPOSITORY

ray = pytest.importorskip("ray", reason="needs amg-cli[ray]")
ALL_MASKS = GenerationConfig(
    points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
)
STORE_BYTES = 100 * 2**20
END_S = 20  # in which processes that were told to end are gone


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes on this machine, with a CPU each."""
    from ray.cluster_utils import Cluster

    with _environment(RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=str(REPOSITORY)):
        head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def engine(nodes):
    return RayEngine(1, 1, address=nodes.address)


@pytest.fixture
def jobs(tmp_path, noise, monkeypatch):
    """Twelve, of images of different sizes; the one at 4 is none. By paths in a folder in which no
    node was begun.
    """
    monkeypatch.chdir(tmp_path)
    made = []
    for number in range(12):
        path = Path(f"in/{number:02}.png")
        save(path, noise[number:])
        made.append(Job(path, (Path(f"out/{number:02}.json"),), number, path.stem, path.name))
    made[4].source.write_bytes(b"no image")
    return made


@pytest.fixture
def work(tiny_model):
    return Work(tiny_model, Everything(ALL_MASKS), (reference_rle.FORMAT,))


@contextlib.contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


def before_each_write(work, before):
    """The same work, with something that is done before each output is written."""
    write = reference_rle.FORMAT.write

    def changed(result, output):
        before(output)
        write(result, output)

    return replace(work, formats=(replace(reference_rle.FORMAT, write=changed),))


def comparable(outcomes):
    found = [(o.job.number, o.result, str(o.error), o.file) for o in outcomes]
    return sorted(found, key=lambda each: each[0])


def done_here(jobs, work, folder):
    """What one process makes of the jobs: outcomes and files, which are taken away again."""
    outcomes, files = comparable(run(jobs, work)), files_under(folder / "out")
    for path in (folder / "out").iterdir():
        path.unlink()
    return outcomes, files


def taken(desk, *places):
    async def take():
        return [await asyncio.wait_for(desk.take(place), 5) for place in places]

    return asyncio.run(take())


def test_a_reader_that_begins_anew_gets_what_it_got_and_nothing_of_what_is_done():
    desk = Desk(size=2)
    for number in range(3):
        asyncio.run(desk.put(number, b"%d" % number))
    asyncio.run(desk.end(3))
    first, second = [(0, b"0"), (1, b"1")], [(2, b"2")]
    assert taken(desk, 0, 1, 2) == [first, second, None]
    assert asyncio.run(desk.begin(0)) == 1
    assert asyncio.run(desk.begin(0)) == 2
    asyncio.run(desk.drop(0))
    assert taken(desk, 0, 1, 2) == [[], second, None]
    assert asyncio.run(desk.begin(0)) == 1


def test_what_comes_after_the_end_that_was_sent_after_it_is_handed_out_all_the_same():
    async def out_of_order():
        desk = Desk(size=1)
        await desk.end(2)
        waiting = asyncio.create_task(desk.take(0))
        await asyncio.sleep(0)
        await desk.put(1, b"1")
        first = await waiting
        last = asyncio.create_task(desk.take(1))
        await asyncio.sleep(0)
        await desk.put(0, b"0")
        return first, await last, await desk.take(2)

    assert asyncio.run(out_of_order()) == ([(1, b"1")], [(0, b"0")], None)


def test_an_actor_that_cannot_work_where_it_is_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_actor, "SEEN_S", 0.1)
    mark = tmp_path / "mark"
    mark.write_text("ours")
    assert ray_actor._why_unfit(Setup(__version__, 1, tmp_path, landmarks={mark: b"ours"})) is None
    assert ray_actor._why_unfit(Setup(__version__, 1, tmp_path, landmarks={mark: b"other"})) == (
        f"does not see {mark}, as this machine does",
        "give an `output` that is at the same path on all nodes",
    )
    assert ray_actor._why_unfit(Setup("0.0", 1, tmp_path))[0] == f"has amg {__version__}, not 0.0"


def test_without_ray_a_line_says_how_to_get_it(jobs, work, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^engine ray: .*; pip install 'amg-cli\[ray\]'$"):
        list(run_on_ray(RayEngine(1, 1), jobs, work))


def test_a_clients_address_is_refused(jobs, work):
    with pytest.raises(DeviceError, match=r"^ray://head:10001: is for clients"):
        list(run_on_ray(RayEngine(1, 1, address="ray://head:10001"), jobs, work))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--actors", "2"], "--actors goes with --engine ray"),
        (["--ray-address", "auto"], "--ray-address goes with --engine ray"),
        (["--engine", "ray", "--workers", "2"], "--workers is for --engine local"),
        (["--engine", "ray", "--dry-run"], "--dry-run is tried on this machine"),
        (["--engine", "ray", "--device", "cuda"], "give --gpus-per-actor, and no --device"),
        (["--engine", "ray", "--gpus-per-actor", "1", "--device", "cpu"], "and no --device"),
        (
            ["--engine", "ray", "--gpus-per-actor", "1", "--backend", "onnx"],
            "--gpus-per-actor is for --backend torch",
        ),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(arguments, line, tmp_path):
    result = amg("--input", "a.png", "--output", "out", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert line in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_actors_do_what_one_process_does_and_failures_are_outcomes(
    jobs, work, engine, tmp_path, capfd
):
    wanted, files = done_here(jobs, work, tmp_path)
    seen = tmp_path / "seen"
    engine = replace(engine, prepare=lambda: seen.write_text(str("torch" in sys.modules)))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    found = comparable(run_on_ray(engine, jobs, work))
    assert found == wanted
    assert files_under(tmp_path / "out") == files
    assert "not a JPEG" in found[4][2]
    assert seen.read_text() == "False"  # in time
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_an_actor_that_is_killed_costs_nothing_and_what_kills_each_is_a_failure(
    jobs, work, engine, tmp_path, capfd
):
    (tmp_path / "begun").mkdir()

    def die(output):
        name = output.target.stem
        (tmp_path / f"begun/{name}-{time.monotonic_ns()}").touch()
        if name == "09" or (name == "02" and len(list(tmp_path.glob("begun/02-*"))) == 1):
            os.kill(os.getpid(), signal.SIGKILL)

    found = comparable(run_on_ray(engine, jobs, before_each_write(work, die)))
    assert [number for number, *_ in found] == list(range(12))
    failed = {number: error for number, _, error, _ in found if error != "None"}
    assert sorted(failed) == [4, 9]
    assert failed[9] == (
        f"{jobs[9].source}: the actor that worked on it ended, 3 times; it may need more memory "
        "than there is; give more `cpus_per_actor` and `retry_failed`"
    )
    begun = Counter(path.name[:2] for path in (tmp_path / "begun").iterdir())
    assert (begun["02"], begun["09"], begun["04"]) == (2, MOST_TRIES, 0)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{number:02}.json" for number in range(12) if number not in (4, 9)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_node_that_goes_costs_nothing(jobs, work, nodes, engine, tmp_path):
    _, files = done_here(jobs, work, tmp_path)

    def slow(output):
        (tmp_path / f"node-{ray.get_runtime_context().get_node_id()}").touch()
        time.sleep(1)

    outcomes = run_on_ray(engine, jobs, before_each_write(work, slow))
    first = [next(outcomes), next(outcomes)]
    while len(list(tmp_path.glob("node-*"))) < 2:
        time.sleep(0.1)
    nodes.remove_node(nodes.second, allow_graceful=False)
    try:
        found = comparable([*first, *outcomes])
    finally:
        nodes.second = nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    assert [number for number, *_ in found] == list(range(12))
    assert files_under(tmp_path / "out") == files


@pytest.mark.slow
def test_the_first_outcome_does_not_wait_for_the_next_job_and_errors_of_jobs_end_the_run(
    jobs, work, engine
):
    go_on = threading.Event()

    def slow_jobs():
        yield jobs[0]
        go_on.wait(60)
        yield jobs[1]
        raise InputError("stdin", "is broken")

    outcomes = run_on_ray(engine, slow_jobs(), work)
    assert next(outcomes).job == jobs[0]
    go_on.set()
    assert next(outcomes).job == jobs[1]
    with pytest.raises(InputError, match="is broken"):
        next(outcomes)


@pytest.mark.slow
def test_what_an_actor_does_not_see_ends_the_run(jobs, work, engine, tmp_path):
    mark = tmp_path / "mark"
    mark.write_text("ours")
    hidden = replace(engine, landmark=mark, prepare=lambda: mark.write_text("theirs"))
    with pytest.raises(DeviceError, match=rf"^node .*: does not see {mark}, .* `output`"):
        list(run_on_ray(hidden, jobs, work))
    assert not (tmp_path / "out").exists()
    with pytest.raises(DeviceError, match=r"^Ray at 127\.0\.0\.1:1: "):
        list(run_on_ray(RayEngine(1, 1, address="127.0.0.1:1"), jobs, work))


@pytest.fixture
def photos(tmp_path, noise):
    for number in range(10):
        save(tmp_path / f"in/{number}.png", cv2.resize(noise[number:], (300, 200)))
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    return ["--input", "in", "--format", "rle", "--format", "coco", *SMALL_MODEL, *FEW_POINTS]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_and_its_own_cluster_ends_with_it(photos, number, tmp_path):
    arguments = [*photos, "--threads", "1"]
    arguments += ["--points-per-side", "8"]
    on_ray = [*arguments, "--output", "out", "--engine", "ray", "--actors", "1"]
    command = [str(AMG), *on_ray]
    before = _ray_processes()
    with subprocess.Popen(command, cwd=tmp_path, text=True, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("out/*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        stderr = process.stderr.read()
    done = len(list(tmp_path.glob("out/*.json")))
    assert 2 <= done < 10
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert stderr.splitlines()[-1] == (
            "amg: interrupted; finished images are kept; the same command goes on from here"
        )
        assert not list(tmp_path.glob("out/.amg-*"))
        assert len(stderr.splitlines()) == 2 + ("bad.png" in stderr)  # the model, and that
    else:
        assert process.returncode == -number
    deadline = time.monotonic() + END_S
    while (left := _ray_processes() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    either = on_ray if number == signal.SIGINT else [*arguments, "--output", "out"]
    again = amg(*either, cwd=tmp_path)
    assert again.returncode == 3, again.stderr
    local = amg(*arguments, "--output", "local", cwd=tmp_path)
    assert local.returncode == 3
    assert files_under(tmp_path / "out") == files_under(tmp_path / "local")


def _ray_processes():
    """Those of any cluster: its servers, and its actors."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if b"raylet" in words or b"gcs_server" in words or b"ray::Map" in words:
                found.add(folder.name)
    return found
