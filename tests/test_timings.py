"""Where the time of a run goes: stages, the funnel, and what `--timings` prints."""

import re
import threading
import time

import cv2
import pytest

from amg_cli import GenerationConfig, generate
from amg_cli.batch.engines import local
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.cli.timings import one_image, whole_run
from amg_cli.core.timings import FUNNEL, STAGES, Timings, collect, count, timed
from amg_cli.formats import reference_rle
from tests.command import SMALL_MODEL, amg

ALL = GenerationConfig(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)


def test_a_stage_has_the_time_of_what_is_done_inside_every_time():
    with collect() as timings:
        for _ in range(2):
            with timed("read"):
                time.sleep(0.02)
        with timed("write"):
            pass
    assert 0.04 <= timings.seconds["read"] < 1
    assert timings.seconds["write"] < 0.02


def test_nothing_is_collected_outside_and_in_other_threads():
    with collect() as timings:
        thread = threading.Thread(target=count, args=("prompts", 5))
        thread.start()
        thread.join()
    count("prompts", 7)
    with timed("read"):
        pass
    assert not timings.counts
    assert not timings.seconds


def test_a_stage_that_fails_is_counted_too():
    with collect() as timings:
        with pytest.raises(KeyError), timed("read"):
            raise KeyError
        count("prompts", 1)
    assert set(timings.seconds) == {"read"}


def test_the_device_is_waited_for_before_each_look_at_the_clock():
    waits = []
    with collect(lambda: waits.append(1)), timed("encode"):
        assert len(waits) == 1
    assert len(waits) == 2


def test_timings_add_up():
    total = Timings()
    for _ in range(3):
        one = Timings()
        one.seconds["read"] = 0.5
        one.counts["prompts"] = 4
        total.add(one)
    assert total.seconds["read"] == 1.5
    assert total.counts["prompts"] == 12


def test_a_run_tells_every_stage_and_how_many_masks_are_left(tiny_model, noise):
    start = time.perf_counter()
    with collect() as timings:
        masks = generate(noise, tiny_model, ALL)
    elapsed_s = time.perf_counter() - start
    assert masks
    assert set(timings.seconds) == set(STAGES) - {"read", "names", "write"}
    assert sum(timings.seconds.values()) <= elapsed_s
    left = [timings.counts[step] for step in FUNNEL]
    assert left[:2] == [9, 27]
    assert left == [9, *sorted(left[1:], reverse=True)]
    assert left[-1] == len(masks)


def test_crops_are_in_the_funnel_too(tiny_model, noise):
    config = GenerationConfig(points_per_side=2, crop_n_layers=1)
    with collect() as timings:
        generate(noise, tiny_model, config)
    assert timings.counts["prompts"] == 4 + 4 * 4


def test_the_table_of_a_run_adds_up_to_it():
    timings = Timings()
    timings.seconds.update(read=1.0, prompts=2.0)
    timings.counts.update(prompts=8, candidates=24)
    lines = list(whole_run(timings, elapsed_s=4.0, nb_images=2))
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert list(rows) == [*STAGES, "other", "all"]
    assert rows["prompts"] == ["2.00", "1.000", "50.0%"]
    assert rows["other"] == ["1.00", "0.500", "25.0%"]
    assert rows["all"] == ["4.00", "2.000", "100.0%"]
    assert lines[-1].startswith("8 prompts, 24 candidates, 0 after IoU")
    assert "\n" not in one_image(timings)


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_waits_for_the_device_only_if_timings_are_asked_for(
    asked, tiny_model, noise, tmp_path, monkeypatch
):
    waits = []
    monkeypatch.setattr(local, "synchronizer", lambda _: lambda: waits.append(1))
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    work = local.Work(tiny_model, Everything(ALL), (reference_rle.FORMAT,), timed=asked)
    job = Job(tmp_path / "a.png", (tmp_path / "a.json",))
    assert [outcome.error for outcome in local.run([job], work)] == [None]
    assert bool(waits) == asked


def test_the_command_prints_them_to_stderr_even_if_quiet(tmp_path, noise):
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), noise)
    arguments = ["--input", ".", "--output", "out", *SMALL_MODEL]
    done = amg(*arguments, "--points-per-side", "2", "--timings", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out/a\nout/b\n"
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"amg: a\.png: read .* s; 4 prompts, 12 candidates, .*", lines[0])
    assert lines[1].startswith("amg: b.png: ")
    assert lines[-1].startswith("8 prompts, 24 candidates")
    assert len(lines) == 2 + 1 + len(STAGES) + 2 + 1
