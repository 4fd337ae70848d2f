"""Reading files in a process of its own: what crashes there fails one test here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from amg_cli.batch.integrity import MAX_PIXELS
from amg_cli.batch.reading import read_image
from amg_cli.core.errors import ImageError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
TRUST = "raise `max_megapixels` if you trust it"
CONVERT = "convert it to one of these"

# Reads every file of a folder, and prints a line of JSON on each: before, so that the last one
# tells which file crashed it, and after.
READER = """
import json, os, resource, sys, time
from pathlib import Path
import cv2, numpy as np
from amg_cli.batch.headers import declared_sizes, still_png
from amg_cli.batch.reading import read_image
from amg_cli.core.errors import ImageError

def peak_kb(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
def now_kb(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4

folder, max_pixels, bound = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cv2.setNumThreads(1)
cv2.cvtColor(np.zeros((9, 9, 3), np.uint8), cv2.COLOR_BGR2RGB)
if bound:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + bound, used + bound))
for name in sorted(os.listdir(folder)):
    print(json.dumps({"name": name}), flush=True)
    path = folder / name
    before_kb, start = now_kb(), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    try:
        image = read_image(path, max_pixels)
        said = {"shape": image.shape, "type": str(image.dtype)}
        said["declared"] = list(declared_sizes(path.read_bytes()))[0][1:]
        del image
    except ImageError as error:
        said = {"error": str(error).removeprefix(f"{path}: ")}
    said["elapsed_s"] = time.perf_counter() - start
    said["peak_kb"] = peak_kb() - before_kb
    print(json.dumps({"name": name} | said), flush=True)
"""


def read_all(
    folder: Path, max_pixels: int = MAX_PIXELS, bound: int = 0, timeout_s: float = 60
) -> tuple[dict[str, dict], str]:
    """What `read_image` makes of the files of a folder, in a process of its own.

    bound: how many bytes of addresses the process may take besides what it has at its start
    -> each file's name and result, and what was printed to stderr
    """
    command = [sys.executable, "-c", READER, folder, str(max_pixels), str(bound)]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1]["name"] if lines else "nothing"
    assert done.returncode == 0, f"{done.returncode} while reading {last}: {done.stderr}"
    return {line.pop("name"): line for line in lines}, done.stderr


def save_all(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def error_of(path: Path, max_pixels: int = MAX_PIXELS) -> str:
    """What `read_image` says is wrong: the line without the path."""
    with pytest.raises(ImageError) as caught:
        read_image(path, max_pixels)
    return str(caught.value).removeprefix(f"{path}: ")
