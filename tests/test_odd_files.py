"""Odd names, files of every kind, and the rights of other users."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from amg_cli.batch.integrity import AGAIN
from amg_cli.batch.naming import output_names
from amg_cli.batch.reading import read_image
from amg_cli.batch.sources.images import discover
from amg_cli.batch.sources.inputs import find_sources
from amg_cli.core.errors import ImageError, InputError
from tests.command import AMG, FEW_POINTS, SMALL_MODEL, files_under
from tests.image_bytes import encoded
from tests.images_to_break import NOISE
from tests.reader import LINUX, error_of, read_all

PNG = encoded("PNG", NOISE)
NAMES = [b"caf\xe9.png", b"-dash.png", b"--help.png", b"two\nlines.png", b"\t.png", b"*.png"]
NAMES += [b"a 'q\" $(x) `y`; z.png", b"x" * 251 + b".png", "\u202eabc \u00e9.png".encode()]


def test_images_of_odd_names_are_found_planned_and_read(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in NAMES:
        (photos / os.fsdecode(name)).write_bytes(PNG)
    sources = find_sources([photos], tmp_path / "out", recursive=False)
    assert {os.fsencode(source.path.name) for source in sources} == set(NAMES)
    names = output_names([PurePath(source.relative) for source in sources])
    assert {os.fsencode(name) for name in names} == {name[:-4] for name in NAMES}
    for source in sources:
        assert read_image(source.path).shape == (40, 60, 3)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_about_an_odd_name_is_one_line_that_any_stream_can_print(name, tmp_path):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    line = str(caught.value)
    assert line.isprintable()
    assert line.endswith(f": empty file; {AGAIN}")
    line.encode("utf-8")


def test_a_link_to_itself_is_an_error_of_its_image(tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    for source in discover([tmp_path], recursive=True):
        assert error_of(source.path) == (
            "cannot read it: too many levels of symbolic links; check the path"
        )
    with pytest.raises(InputError, match="too many levels of symbolic links; check the path"):
        discover([tmp_path / "a.png"], recursive=False)


def test_files_and_folders_that_vanish_after_they_are_listed_are_errors_of_their_images(tmp_path):
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "in" / "b.png"):
        path.write_bytes(PNG)
    found = discover([tmp_path], recursive=True)
    assert len(found) == 2
    for source in found:
        source.path.unlink()
    (tmp_path / "in").rmdir()
    (tmp_path / "in").touch()  # a file where the folder was
    assert error_of(found[0].path) == "no such file; it may have been moved since"
    assert error_of(found[1].path) == "cannot read it: not a directory; check the path"


def test_only_files_are_taken_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    Path("a.png").write_bytes(PNG)
    assert [source.path.name for source in discover([tmp_path], recursive=True)] == ["a.png"]


@LINUX
def test_what_is_no_file_is_an_error_and_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    links = {"to a pipe": "pipe", "to zeros": "/dev/zero", "to nothing": "/dev/null"}
    for name, target in links.items():
        Path(name).symlink_to(target)
    results, _ = read_all(tmp_path, bound=2**30, timeout_s=30)
    found = discover([Path("pipe"), Path("/dev/zero")], recursive=False)
    assert [str(source.path) for source in found] == ["pipe", "/dev/zero"]
    assert {name: result["error"] for name, result in results.items()} == {
        "pipe": "a pipe, not a file; give an image file",
        "socket": "a socket, not a file; give an image file",
        "to a pipe": "a pipe, not a file; give an image file",
        "to zeros": "a device, not a file; give an image file",
        "to nothing": "a device, not a file; give an image file",
    }


@LINUX
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, write, monkeypatch):
    """Between the look at it and its opening; an alarm would interrupt the waiting."""
    path = write(PNG)
    is_file = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: is_file)

    def too_long(*_: object) -> None:
        raise TimeoutError("waited")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        assert error_of(path) == f"empty file; {AGAIN}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="amg-hostile-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


# Become a user whom rights bind; once all is imported, as that user may not reach the modules.
AS_NOBODY = """
import dataclasses, os, sys, types
from pathlib import Path
from amg_cli.batch import image_tasks
from amg_cli.batch.engines import local
from amg_cli.batch.sources.images import discover
from amg_cli.batch.reading import read_image
from amg_cli.batch.job import Job
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import AmgError
from amg_cli.formats.reference_rle import FORMAT

folder = Path(sys.argv[1])
if os.geteuid() == 0:
    try:
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
    except OSError as error:
        print("cannot become user 65534:", error)
        sys.exit(77)
"""


def as_nobody(code: str, folder: Path) -> list[str]:
    """What `code`, run by a user who is not root, prints about `folder`, line by line."""
    command = [sys.executable, "-c", AS_NOBODY + code, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_images_closed_to_us_are_errors_of_their_own(open_folder):
    closed = open_folder / "closed"
    closed.mkdir()
    for path in (open_folder / "a.png", open_folder / "b.png", closed / "c.png"):
        path.write_bytes(PNG)
    (open_folder / "d.png").symlink_to("closed/c.png")
    (open_folder / "a.png").chmod(0)
    closed.chmod(0)
    code = """
def read_all(recursive):
    for source in discover([folder], recursive):
        try:
            print(source.relative, read_image(source.path).shape)
        except AmgError as error:
            print(error)

read_all(False)
try:
    read_all(True)
except AmgError as error:
    print(error)
"""
    lines = as_nobody(code, open_folder)
    closed.chmod(0o755)  # so that it can be removed
    assert lines == [
        f"{open_folder}/a.png: cannot read it: permission denied; check the path",
        "b.png (40, 60, 3)",
        f"{open_folder}/d.png: cannot read it: permission denied; check the path",
        f"{closed}: cannot list it: permission denied; check its rights",
    ]


def test_an_output_folder_that_becomes_closed_fails_only_the_images_of_that_time(open_folder):
    for name in "abc":
        (open_folder / f"{name}.png").write_bytes(PNG)
    open_folder.chmod(0o777)
    code = """
image_tasks.generate = lambda *_, **__: []
out = folder / "out"
jobs = [Job(folder / f"{name}.png", (out / f"{name}.json",)) for name in "abc"]
out.mkdir()
model = types.SimpleNamespace(device=None)
empty = dataclasses.replace(FORMAT, write=lambda _, output: output.path.write_bytes(b"[]"))
outcomes = local.run(jobs, local.Work(model, image_tasks.Everything(GenerationConfig()), (empty,)))
for rights in (0o755, 0o555, 0o755):
    out.chmod(rights)
    outcome = next(outcomes)
    print(outcome.error or len(outcome.result.masks))
print(*sorted(path.name for path in out.iterdir()))
"""
    first, second, third, left = as_nobody(code, open_folder)
    assert (first, third, left) == ("0", "0", "a.json c.json")
    assert second.startswith(f"{open_folder}/out/")
    assert "permission denied" in second.lower()


def amg_in(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run `amg`, its standard input closed, and keep what it prints as bytes."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", AMG, *map(str, arguments)]
    variables = os.environ | environment
    return subprocess.run(
        command, cwd=folder, capture_output=True, timeout=300, env=variables, check=False
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_odd_names_are_written_and_printed_whatever_the_encoding(encoding, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / os.fsdecode(b"-caf\xe9.png")).write_bytes(PNG)
    (photos / os.fsdecode(b"b\xe9.png")).write_bytes(b"")
    (photos / ("x" * 251 + ".png")).write_bytes(PNG)
    (photos / "z.png").symlink_to("z.png")
    os.mkfifo(photos / "pipe.png")
    arguments = [*SMALL_MODEL, *FEW_POINTS, "--convert-to-rle"]
    done = amg_in(
        photos, *arguments, "--input", ".", "--output", "--", "--quiet", PYTHONIOENCODING=encoding
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 3
    assert done.stdout == b"--/-caf\xe9.json\n"
    assert list(files_under(photos / "--")) == [os.fsdecode(b"-caf\xe9.json")]
    lines = sorted(done.stderr.decode("ascii").splitlines())
    assert len(lines) == 3, lines
    assert "name too long" in lines[0].lower()
    assert lines[1] == f"amg: b\\udce9.png: empty file; {AGAIN}"
    assert lines[2].startswith("amg: z.png: cannot read it: too many levels of symbolic links")
