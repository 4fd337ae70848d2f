"""Commands of the tests' own start, which saves the loading of libraries, against the real one."""

import os
import subprocess

import pytest

from tests import command
from tests.command import FEW_POINTS, SMALL_MODEL, amg, files_under, save


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--points-per-side", "0"], 2),
        (["--input", "none", "--output", "out"], 1),
        (["--input", "photos", "--output", "out", *SMALL_MODEL, *FEW_POINTS], 3),
    ],
)
def test_a_fork_answers_as_the_installed_file_does(arguments, code, tmp_path, noise):
    for name in ("forked", "installed"):
        save(tmp_path / name / "photos/a.png", noise)
        (tmp_path / name / "photos/b.png").write_bytes(b"")
    forked = amg(*arguments, cwd=tmp_path / "forked")
    installed = amg(*arguments, cwd=tmp_path / "installed", env=os.environ)
    assert forked.returncode == installed.returncode == code
    assert forked.stdout == installed.stdout
    assert command.error_lines(forked) == command.error_lines(installed)
    assert files_under(tmp_path / "forked") == files_under(tmp_path / "installed")


def test_a_command_that_takes_too_long_is_killed(tmp_path, noise, monkeypatch):
    monkeypatch.setattr(command, "TIMEOUT_S", 0.3)
    save(tmp_path / "a.png", noise)
    with pytest.raises(subprocess.TimeoutExpired):
        amg("--input", "a.png", "--output", "out", "--points-per-side", "64", cwd=tmp_path)
    assert not files_under(tmp_path / "out")
