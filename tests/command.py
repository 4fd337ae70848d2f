"""What tests of the installed command share."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from amg_cli.formats.manifest import FOLDER

AMG = Path(sys.executable).with_name("amg")
FEW_POINTS = ["--points-per-side", "2", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]
SMALL_MODEL = ["--model-type", "nano", "--image-size", "256"]
TIMEOUT_S = 300

# A process that has loaded the libraries, which takes seconds, and forks one for each command.
# Of amg itself it has loaded nothing: each command does all that amg does.
LIBRARIES = multiprocessing.get_context("forkserver")
LIBRARIES.set_forkserver_preload(["click", "cv2", "numpy", "pycocotools.mask", "torch", "tqdm"])


def amg(*arguments, cwd, **options):
    """Run it to its end, in a process of its own; as `subprocess.run` gives it.

    options: of `subprocess.run`. With any, the installed file is started; without, a process in
    which the libraries are loaded, where what they do as they load has been done.
    """
    command = [str(AMG), *map(str, arguments)]
    if options:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.run(command, cwd=cwd, text=True, timeout=TIMEOUT_S, **options)
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        given = (command, cwd, dict(os.environ), outputs)
        process = LIBRARIES.Process(target=_be_amg, args=given)
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, TIMEOUT_S)
        texts = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def _be_amg(command, cwd, environment, outputs):
    """What the installed file does, with standard files, folder and environment set before."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = command
    from amg_cli.cli.main import main

    sys.exit(main())


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def files_under(folder):
    """Every file, hidden ones too, with its bytes, but for a run's record."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and FOLDER not in path.parts
    }


def visible(folder):
    """The names in a folder, but for hidden ones, such as a run's record."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def error_lines(result):
    """stderr without the summary and the progress."""
    return [
        line
        for line in result.stderr.splitlines()
        if "done (" not in line
        and " images, " not in line
        and not line.startswith("amg: model nano")
    ]
