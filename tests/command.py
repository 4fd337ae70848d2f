"""What tests of the installed command share."""

import subprocess
import sys
from pathlib import Path

import cv2

from amg_cli.formats.manifest import FOLDER

AMG = Path(sys.executable).with_name("amg")
FEW_POINTS = ["--points-per-side", "2", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]


def amg(*arguments, cwd, **options):
    """Run it to its end. options: of `subprocess.run`."""
    command = [AMG, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, cwd=cwd, text=True, timeout=300, **options)


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
        if "done (" not in line and " images, " not in line
    ]
