"""What the command sets for its process: memory, waiting, and threads by the quota of CPUs."""

import os
import subprocess
import sys

import pytest

from amg_cli.cli import process
from amg_cli.cli.process import cpu_quota, keep_memory, respect_quota, wait_without_spinning

SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
MALLOC = tuple(name for name, _, _ in process.MALLOC_SETTINGS)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """The environment of a user who has set nothing; it is put back after each test."""
    for name in (*SPINNING, *PRIMITIVES, *THREADS, *MALLOC, "THP_MEM_ALLOC_ENABLE"):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the test sets
        monkeypatch.delenv(name)


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(process, "nb_own_cores", lambda: 8)


def tree(root, cgroup, **files):
    """A root folder with /proc/self/cgroup, and with files of /sys/fs/cgroup by their paths."""
    files = {"proc/self/cgroup": cgroup, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def set_of(names):
    """Those variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def in_a_new_process(code, *arguments, **environment):
    """What it prints, on both streams."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = os.environ | environment
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("limit", "quota"), [("50000 100000\n", 0.5), ("max 100000\n", None), ("", None)]
)
def test_version_2_says_quota_and_period_in_one_file(tmp_path, limit, quota):
    assert cpu_quota(tree(tmp_path, "0::/job\n", **{"job/cpu.max": limit})) == quota


def test_the_smallest_quota_of_the_groups_above_counts(tmp_path):
    limits = {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}
    limits |= {"cpu.max": "700000 100000\n", "a/b/c/cpu.max": "300000 100000\n"}
    limits |= {"other/cpu.max": "10000 100000\n"}
    assert cpu_quota(tree(tmp_path, "0::/a/b/c\n", **limits)) == 1.5


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1_says_quota_and_period_in_two_files(tmp_path, mount):
    group = f"{mount}/job"
    limits = {f"{group}/cpu.cfs_quota_us": "25000\n", f"{group}/cpu.cfs_period_us": "10000\n"}
    of_cpuset = "cpu/elsewhere"
    limits |= {f"{of_cpuset}/cpu.cfs_{part}_us": "1000\n" for part in ("quota", "period")}
    lines = "5:memory:/job\n4:cpuset:/elsewhere\n3:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n"
    assert cpu_quota(tree(tmp_path, lines, **limits)) == 2.5


def test_a_quota_of_minus_one_is_none(tmp_path):
    limits = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(tree(tmp_path, "3:cpu:/\n", **limits)) is None


def test_a_container_that_sees_names_from_outside_has_its_own_group_at_the_top(tmp_path):
    limits = {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(tree(tmp_path, "3:cpu:/docker/0123abcd\n", **limits)) == 1


def test_version_2_may_lie_beside_version_1(tmp_path):
    limits = {"unified/job/cpu.max": "200000 100000\n"}
    assert cpu_quota(tree(tmp_path, "1:memory:/\n0::/job\n", **limits)) == 2


@pytest.mark.usefixtures("eight_cores")
def test_threads_are_the_quota_rounded_up(tmp_path):
    respect_quota(tree(tmp_path, "0::/\n", **{"cpu.max": "110000 100000\n"}))
    assert set_of(THREADS) == {"OMP_NUM_THREADS": "2", "OPENCV_FOR_THREADS_NUM": "2"}


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize("limit", ["max 100000\n", "800000 100000\n", "9900000 100000\n"])
def test_threads_are_the_libraries_choice_where_the_quota_pays_for_all_cores(tmp_path, limit):
    respect_quota(tree(tmp_path, "0::/\n", **{"cpu.max": limit}))
    assert set_of(THREADS) == {}


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("OMP_NUM_THREADS", {"OMP_NUM_THREADS": "5", "OPENCV_FOR_THREADS_NUM": "1"}),
        ("MKL_NUM_THREADS", {"MKL_NUM_THREADS": "5", "OPENCV_FOR_THREADS_NUM": "1"}),
        ("OPENCV_FOR_THREADS_NUM", {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "5"}),
    ],
)
def test_numbers_of_threads_that_the_user_has_set_stay(tmp_path, monkeypatch, given, wanted):
    monkeypatch.setenv(given, "5")
    respect_quota(tree(tmp_path, "0::/\n", **{"cpu.max": "100000 100000\n"}))
    assert set_of(THREADS) == wanted


def test_torch_and_opencv_take_so_many_threads(tmp_path):
    root = tree(tmp_path, "0::/\n", **{"cpu.max": "50000 100000\n"})
    code = (
        "import sys; from pathlib import Path; from amg_cli.cli.process import respect_quota\n"
        "respect_quota(Path(sys.argv[1])); import cv2, torch\n"
        "print(torch.get_num_threads(), cv2.getNumThreads())"
    )
    assert in_a_new_process(code, root) == "1 1\n"


def test_nothing_heavy_is_loaded_before_the_settings():
    code = (
        "import sys; from amg_cli.cli.process import prepare_process; prepare_process()\n"
        "print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    )
    assert in_a_new_process(code) == "set()\n"


def test_what_the_modules_make_is_not_looked_through_for_garbage():
    code = (
        "import atexit, gc\n"
        "collected = []\n"
        "gc.callbacks.append(lambda phase, _: collected.append(phase))\n"
        "atexit.register(lambda: print(len(collected) < 50, gc.get_freeze_count() > 100_000))\n"
        "from amg_cli.cli.process import prepare_process; prepare_process(); prepare_process()\n"
        "import torch"
    )
    assert in_a_new_process(code) == "True True\n"


@pytest.mark.parametrize("name", SPINNING)
def test_a_way_to_wait_that_the_user_has_set_stays(monkeypatch, name):
    monkeypatch.setenv(name, "7")
    wait_without_spinning()
    assert set_of(SPINNING) == {name: "7"}


@needs_linux
def test_openmp_as_torch_loads_it_does_not_spin():
    code = "from amg_cli.cli.process import prepare_process; {}import torch"
    said = in_a_new_process(code.format("prepare_process(); "), OMP_DISPLAY_ENV="VERBOSE")
    assert "GOMP_SPINCOUNT = '0'" in said
    said = in_a_new_process(code.format(""), OMP_DISPLAY_ENV="VERBOSE")
    assert "GOMP_SPINCOUNT = '0'" not in said


RESIDENT = """
import re, sys
from pathlib import Path
from amg_cli.cli.process import prepare_process

def resident_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

if sys.argv[1] == "prepared":
    prepare_process()
before = resident_mb()
pieces = [bytearray(20 * 2**20) for _ in range(10)]
del pieces
print(resident_mb() - before)
"""


@needs_linux
def test_freed_memory_is_kept():
    assert int(in_a_new_process(RESIDENT, "prepared")) >= 190
    assert int(in_a_new_process(RESIDENT, "as it is")) <= 30


@needs_linux
def test_malloc_settings_of_the_user_stay():
    trimmed = {"MALLOC_TRIM_THRESHOLD_": "100000", "MALLOC_TOP_PAD_": "0"}
    assert int(in_a_new_process(RESIDENT, "prepared", **trimmed)) <= 30


@needs_linux
def test_a_malloc_that_refuses_a_large_threshold_has_the_largest_it_takes(monkeypatch):
    taken = {}

    class Libc:
        @staticmethod
        def mallopt(parameter, value):
            if parameter == -3 and value > 2**25:
                return 0
            taken[parameter] = value
            return 1

    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Libc)
    keep_memory()
    assert taken[-3] == 2**25


@pytest.mark.parametrize("name", PRIMITIVES)
def test_few_of_onednns_primitives_are_kept_unless_the_user_says(monkeypatch, name):
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: None)  # this process stays as it is
    keep_memory()
    assert set_of(PRIMITIVES) == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    monkeypatch.setenv(name, "7")
    keep_memory()
    assert set_of(PRIMITIVES) == {name: "7"}
