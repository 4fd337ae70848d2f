"""Output that appears whole or not at all, also where the process is killed at the worst moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amg_cli.batch import commit
from amg_cli.batch.commit import check_writable, committed, recover
from amg_cli.batch.exchange import exchange
from amg_cli.core.errors import OutputError
from amg_cli.core.interrupts import Interrupted, signals_raise


def folder_with(path, name):
    path.mkdir(parents=True)
    (path / name).write_text(name)
    return path


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux is known to have it")
def test_two_folders_take_each_others_place(tmp_path):
    one, other = folder_with(tmp_path / "one", "1"), folder_with(tmp_path / "other", "2")
    assert exchange(one, other)
    assert listing(tmp_path) == ["one", "one/2", "other", "other/1"]
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "none")


@pytest.fixture(params=[True, False], ids=["exchanged", "in two steps"])
def system(request, monkeypatch):
    """A system that exchanges folders, and one that cannot."""
    if not request.param:
        monkeypatch.setattr(commit, "exchange", lambda one, other: False)


def test_overwriting_leaves_the_new_and_nothing_else(system, tmp_path):
    folder_with(tmp_path / "a", "old")
    (tmp_path / "b.json").write_text("old")
    (tmp_path / "c").symlink_to("nowhere")
    for name in ("a", "c"):
        with committed(tmp_path / name, overwrite=True) as path:
            folder_with(path, "new")
    with committed(tmp_path / "b.json", overwrite=True) as path:
        path.write_text("new")
    assert listing(tmp_path) == ["a", "a/new", "b.json", "c", "c/new"]
    assert (tmp_path / "b.json").read_text() == "new"


KILLED = """
import os, signal, sys
from pathlib import Path
from amg_cli.batch import commit

target, moment, two_steps = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "two"

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if two_steps:
    commit.exchange = lambda one, other: False
if moment == "between":
    plain = Path.rename
    Path.rename = lambda self, to: die() if self.parent.name == "new" else plain(self, to)
if moment == "after":
    commit.shutil.rmtree = die
with commit.committed(target, overwrite=True) as path:
    path.mkdir()
    (path / "new").write_text("new")
    if moment == "writing":
        die()
"""


@pytest.mark.parametrize("steps", ["one", "two"])
@pytest.mark.parametrize(
    ("moment", "left"), [("writing", "old"), ("between", "new"), ("after", "new")]
)
def test_a_kill_at_any_moment_loses_neither_the_old_nor_the_new(moment, left, steps, tmp_path):
    folder_with(tmp_path / "a", "old")
    command = [sys.executable, "-c", KILLED, tmp_path / "a", moment, steps]
    done = subprocess.run(command, timeout=60)
    if (moment, steps) == ("between", "one"):
        assert done.returncode == 0  # there is no such moment
    else:
        assert done.returncode == -signal.SIGKILL
        assert len(listing(tmp_path)) > 2
    recover([tmp_path])
    assert listing(tmp_path) == ["a", f"a/{left}"]


LIVING = """
import sys, time
from pathlib import Path
from amg_cli.batch.commit import committed
with committed(Path(sys.argv[1]), overwrite=False) as path:
    path.write_text("new")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    command = [sys.executable, "-c", LIVING, tmp_path / "a.json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        before = listing(tmp_path)
        recover([tmp_path])
        assert listing(tmp_path) == before
        process.communicate(timeout=60)
    assert listing(tmp_path) == ["a.json"]


def test_only_workspaces_are_removed(tmp_path):
    kept = folder_with(tmp_path / ".amg-abcdefgh", "metadata.csv")  # an image may be called so
    folder_with(tmp_path / ".amg-notes", "new")
    (tmp_path / ".amg-12345678").write_text("a file")
    (tmp_path / ".amg-abc12345/new").mkdir(parents=True)  # killed before it was locked
    recover([tmp_path, tmp_path / "none", kept])
    assert listing(tmp_path) == [
        ".amg-12345678", ".amg-abcdefgh", ".amg-abcdefgh/metadata.csv", ".amg-notes",
        ".amg-notes/new",
    ]  # fmt: skip


def test_a_target_that_came_back_meanwhile_is_not_replaced_by_what_was_left(tmp_path):
    workspace = tmp_path / ".amg-abcdefgh"
    folder_with(workspace / "old/a", "old")
    folder_with(workspace / "new/a", "new")
    folder_with(tmp_path / "a", "newest")
    recover([tmp_path])
    assert listing(tmp_path) == ["a", "a/newest"]


def test_what_was_set_aside_without_a_new_one_comes_back(tmp_path):
    folder_with(tmp_path / ".amg-abcdefgh/old/a", "old")
    recover([tmp_path])
    assert listing(tmp_path) == ["a", "a/old"]


def test_a_workspace_that_vanishes_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    plain, made = commit._locked, []

    def locked(path):
        made.append(path)
        if len(made) < 3:
            path.rmdir()  # as another process's recovery does
            return None
        return plain(path)

    monkeypatch.setattr(commit, "_locked", locked)
    with committed(tmp_path / "a.json", overwrite=False) as path:
        path.write_text("new")
    assert len(made) == 3
    assert listing(tmp_path) == ["a.json"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_writing_changes_nothing_and_one_while_committing_comes_after(
    number, tmp_path, monkeypatch
):
    def write(name, after=lambda: None):
        with signals_raise(), committed(tmp_path / name, overwrite=False) as path:
            path.write_text("new")
            after()

    def send(*_):
        os.kill(os.getpid(), number)
        time.sleep(0.01)

    with pytest.raises(Interrupted):
        write("a.json", send)
    assert listing(tmp_path) == []
    plain = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (send(), plain(self, to)))
    with pytest.raises(Interrupted):
        write("b.json")
    assert listing(tmp_path) == ["b.json"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    check_writable(tmp_path)
    assert listing(tmp_path) == []
    with pytest.raises(OutputError, match=r"^/proc: cannot write to it: "):
        check_writable(Path("/proc"))


def test_a_lock_that_cannot_be_made_leaves_no_workspace(tmp_path, monkeypatch):
    def locked(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(commit, "_locked", locked)
    with pytest.raises(OutputError, match="cannot write to it: no space left on device"):
        check_writable(tmp_path)
    assert listing(tmp_path) == []
