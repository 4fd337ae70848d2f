"""What tests of the installed command share."""

import subprocess
import sys
from pathlib import Path

import cv2

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
    """Every file, hidden ones too, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def error_lines(result):
    """stderr without the summary."""
    return [line for line in result.stderr.splitlines() if "done (" not in line]
