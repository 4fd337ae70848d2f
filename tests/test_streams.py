"""stdout, whose loss ends a run, and stderr, whose loss costs words: in every command."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from amg_cli.cli.streams import ReaderGoneError, ResultsError, own_streams
from tests.command import AMG, amg, files_under, save
from tests.writing import write

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
NO_SPACE = "amg: stdout: cannot write results to it: no space left on device; what is done is kept"
CLOSED = "amg: stdout: cannot write results to it: it is closed; what is done is kept"


@pytest.fixture
def two_images(tmp_path, noise):
    for name in "ab":
        save(tmp_path / f"photos/{name}.png", noise)
    # With the settings of the reference, of which no line tells.
    return ["--input", "photos", "--output", "out", "--convert-to-rle", "--nms", "box"]


def shell(command, cwd):
    """A line of bash, in which "$AMG" is the command."""
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=300,
        env=os.environ | {"AMG": str(AMG)},
    )  # fmt: skip


def test_results_on_a_full_disk_end_the_run_after_the_image_in_hand(run, two_images, tmp_path):
    with Path("/dev/full").open("w") as full:
        result = run(*two_images, stdout=full)
    assert (result.returncode, result.stderr.splitlines()) == (5, [NO_SPACE])
    assert "a.json" in files_under(tmp_path / "out")


def test_a_closed_stdout_ends_the_run_after_the_image_in_hand(run, two_images, tmp_path):
    result = run(*two_images, stdout=None, preexec_fn=lambda: os.close(1))
    assert (result.returncode, result.stderr.splitlines()) == (5, [CLOSED])
    assert "a.json" in files_under(tmp_path / "out")


def test_a_reader_that_goes_away_ends_the_run_quietly(run, two_images, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    result = run(*two_images, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")
    assert "a.json" in files_under(tmp_path / "out")


@pytest.mark.parametrize("close", [True, False], ids=["closed", "full"])
def test_a_missing_stderr_loses_nothing_but_words(close, run, two_images, tmp_path, noise):
    (tmp_path / "photos/bad.png").write_bytes(b"bad")
    if close:
        result = run(*two_images, stderr=None, preexec_fn=lambda: os.close(2))
    else:
        with Path("/dev/full").open("w") as full:
            result = run(*two_images, stderr=full)
    assert (result.returncode, result.stdout) == (3, "out/a.json\nout/b.json\n")
    assert list(files_under(tmp_path / "out")) == ["a.json", "b.json"]


def test_all_three_may_be_closed_and_no_mask_becomes_a_standard_file(run, two_images, tmp_path):
    def close_all():
        os.closerange(0, 3)

    result = run(*two_images, stdout=None, stderr=None, preexec_fn=close_all)
    assert result.returncode == 5
    assert (tmp_path / "out/a.json").read_text().startswith("[{")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models"], ["doctor"]])
def test_every_command_says_that_its_results_cannot_be_written(arguments, tmp_path):
    with Path("/dev/full").open("w") as full:
        result = amg(*arguments, cwd=tmp_path, stdout=full)
    assert (result.returncode, result.stderr.splitlines()[-1:]) == (5, [NO_SPACE])
    piped = shell(f'set -o pipefail; "$AMG" {" ".join(arguments)} | true', tmp_path)
    assert "Traceback" not in piped.stderr
    assert piped.returncode in (0, 141)  # it may have written all before its reader went away


def test_scores_that_cannot_be_written_are_said_too(tmp_path):
    from amg_cli.formats import reference_rle
    from tests.eval_data import block, made

    write(reference_rle.FORMAT, [made(block((6, 8), 1, 1, 4, 5), 0.75)], tmp_path / "a.json")
    with Path("/dev/full").open("w") as full:
        result = amg("eval", "--masks", ".", "--against", ".", cwd=tmp_path, stdout=full)
    assert (result.returncode, result.stderr.splitlines()) == (5, [NO_SPACE])


def test_a_stream_that_failed_says_so_once_and_then_drops_all(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    saved = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    try:
        with own_streams():
            with pytest.raises(ReaderGoneError):
                print("first", flush=True)
            print("second", flush=True)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert sys.stdout is sys.__stdout__
    assert ResultsError.exit_code == 5


def test_streams_in_memory_are_left_alone(monkeypatch):
    memory = io.StringIO()
    monkeypatch.setattr(sys, "stdout", memory)
    with own_streams():
        print("here")
    assert memory.getvalue() == "here\n"
    assert errno.EPIPE  # the one error that is a reader's, not a disk's


# Folders that nothing can be written to


def test_a_folder_that_cannot_be_written_to_is_said_before_the_model_is_loaded(tmp_path, noise):
    save(tmp_path / "a.png", noise)
    # A file system of the kernel's, which even root cannot write to.
    (tmp_path / "none").write_bytes(b"no model")
    result = amg("--input", "a.png", "--output", "/proc", "--checkpoint", "none", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("amg: /proc: cannot write to it: ")
    assert result.stderr.endswith("; give a folder that can be written to\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--input", "--output", "--checkpoint"])
def test_an_empty_path_is_a_usage_error_and_not_the_current_folder(option, tmp_path, noise):
    save(tmp_path / "a.png", noise)
    given = {"--input": "a.png", "--output": "out"} | {option: ""}
    result = amg(*(part for pair in given.items() for part in pair), cwd=tmp_path)
    assert result.returncode == 2
    assert f"Invalid value for '{option}': the path is empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("option", "given", "line"),
    [
        ("--checkpoint", "https://user:password@host/a.pt?sig=b",
         "https://host/a.pt: is an address, not a file; download it and give its path"),
        ("--input-list", "s3://bucket",
         "s3://bucket: is an address, not a file; download it and give its path"),
        ("--input", "photos/*.jpg",
         "photos/*.jpg: no such file; as a pattern, the shell found no names for it; "
         "give the folder, or check the pattern"),
    ],
)  # fmt: skip
def test_what_is_no_path_is_named_as_what_it_is(option, given, line, tmp_path):
    result = amg(option, given, "--output", "out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, f"amg: {line}\n")


def test_a_file_with_the_signs_of_a_pattern_is_a_file(run, tmp_path, noise):
    save(tmp_path / "a[1]*.png", noise)
    assert run("--input", "a[1]*.png", "--output", "out").stdout == "out/a[1]*\n"


def test_a_tilde_is_the_users_folder(run, tmp_path, noise):
    save(tmp_path / "home/a.png", noise)
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    result = run("--input=~/a.png", "--output=~/out", env=environment)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "home/out/a/metadata.csv").exists()
