"""Signals end the work where they arrive, whatever swallows what they raise, and leave nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from amg_cli.core.interrupts import (
    Interrupted,
    check,
    interrupted_with,
    shielded,
    signals_raise,
)
from tests.command import AMG, FEW_POINTS, SMALL_MODEL, files_under, save, visible

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def send(number):
    os.kill(os.getpid(), number)


def raised_by(work):
    """The signal that ends `work`."""
    with pytest.raises(Interrupted) as caught, signals_raise():
        work()
    return caught.value


@pytest.mark.parametrize("number", CODES)
def test_a_signal_raises_where_it_arrives(number):
    found = raised_by(lambda: send(number))
    assert (found.number, found.exit_code) == (number, CODES[number])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class Swallows:
    """What numpy asks for an array, and whose interrupt it turns into another error."""

    def __array__(self, *_, **__):
        send(signal.SIGINT)
        time.sleep(0.1)
        return np.zeros(1)


def test_an_interrupt_that_is_swallowed_is_raised_at_the_next_check():
    def work():
        with contextlib.suppress(BaseException):
            np.asarray(Swallows())
        check()

    assert raised_by(work).number == signal.SIGINT


def test_an_interrupt_that_is_swallowed_is_raised_at_the_end_at_the_latest():
    with pytest.raises(Interrupted), signals_raise(), contextlib.suppress(BaseException):
        send(signal.SIGTERM)
    check()  # it is forgotten then


def test_an_error_that_an_interrupt_was_turned_into_is_the_interrupt_again():
    def work():
        try:
            send(signal.SIGTERM)
        except Interrupted as error:
            raise TypeError("as numpy says it") from error

    assert raised_by(work).number == signal.SIGTERM


def test_a_shield_puts_a_signal_off_until_the_change_is_whole():
    done = []

    def work():
        with shielded():
            with shielded():
                send(signal.SIGTERM)
                done.append("first")
            done.append("second")
        done.append("never")

    assert raised_by(work).number == signal.SIGTERM
    assert done == ["first", "second"]


def test_the_innermost_words_for_how_to_go_on_are_kept():
    def work():
        with interrupted_with("outer"), interrupted_with("inner"):
            send(signal.SIGTERM)

    assert str(raised_by(work)) == "interrupted by SIGTERM; inner"


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raise():
            send(signal.SIGHUP)
            check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_changes():
    found = []

    def work():
        with signals_raise(), shielded():
            check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


TWICE = """
import os, signal, sys
from amg_cli.core.interrupts import Interrupted, signals_raise

number = int(sys.argv[1])
with signals_raise():
    try:
        os.kill(os.getpid(), number)
    except Interrupted:
        print("putting away", flush=True)
        os.kill(os.getpid(), number)
    print("not reached")
"""


@pytest.mark.parametrize("number", CODES)
def test_a_second_signal_ends_at_once_what_the_first_has_not_ended(number):
    command = [sys.executable, "-c", TWICE, str(int(number))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -number
    assert ended.stdout == "putting away\n"


# The command


@pytest.fixture
def started(tmp_path, noise):
    """`amg` at work on its second image, whose prompts take long on a CPU."""
    for name in "abc":
        save(tmp_path / f"photos/{name}.png", noise)
    arguments = ["--input", "photos", "--output", "out", "--device", "cpu", *SMALL_MODEL]
    process = subprocess.Popen(
        [AMG, *arguments, *FEW_POINTS, "--points-per-side", "24"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "out/a\n"
    time.sleep(0.5)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", CODES)
def test_every_signal_keeps_what_is_done_and_leaves_nothing_half_written(number, started, tmp_path):
    started.send_signal(number)
    _, stderr = started.communicate(timeout=60)
    assert started.returncode == CODES[number]
    by = "" if number == signal.SIGINT else f" by {number.name}"
    *_, last = stderr.splitlines()
    assert last == (
        f"amg: interrupted{by}; finished images are kept; the same command goes on from here"
    )
    # Two are worked on at once; the one that is not done has left nothing, hidden or not.
    done = visible(tmp_path / "out")
    assert done in (["a"], ["a", "b"])
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == [".amg", *done]
    assert all((tmp_path / "out" / name / "metadata.csv").exists() for name in done)


SWALLOWED = """
import sys
from amg_cli.batch import image_tasks
from amg_cli.cli.main import main

plain, calls = image_tasks.generate, []

def generate(*args, **more):
    calls.append(1)
    if len(calls) == 2:
        import os, signal
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            raise TypeError("as numpy says it")
    return plain(*args, **more)

image_tasks.generate = generate
main(sys.argv[1:])
"""


def test_an_interrupt_that_became_an_error_is_no_image_that_failed(tmp_path, noise):
    for name in "abc":
        save(tmp_path / f"photos/{name}.png", noise)
    command = [sys.executable, "-c", SWALLOWED, "--input", "photos", "--output", "out"]
    command += [*SMALL_MODEL, *FEW_POINTS, "--convert-to-rle"]
    command += ["--workers", "1"]  # in this process, whose function is replaced
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 130, done.stderr
    assert "failed" not in done.stderr
    assert list(files_under(tmp_path / "out")) == ["a.json"]


def test_warnings_that_are_errors_harm_no_image(run, tmp_path, noise):
    save(tmp_path / "a.png", noise)
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    arguments = ["--input", "a.png", "--output", "out", "--min-mask-region-area", "5"]
    result = run(*arguments, env=environment)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/a/0.png").exists()
