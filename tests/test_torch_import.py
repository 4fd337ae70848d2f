"""Torch as a run imports it: the same masks, and all of it for whoever traces or compiles."""

import os
import subprocess
import sys

import pytest

from tests.command import FEW_POINTS, SMALL_MODEL, files_under, save

META_KERNELS = "torch._meta_registrations"
IMPORT = "import sys; from amg_cli.cli.torch_import import *; import_torch(); import torch\n"
RUN = "import sys; {}from amg_cli.cli.main import main\ntry: main(prog_name='amg')\nfinally: {}\n"


def in_a_new_process(code, *arguments, **options):
    """What it prints, on stdout and on stderr."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("command", [[], ["edges"]])
def test_masks_are_those_of_the_whole_torch(command, tmp_path, noise):
    """With a worker each, which are forked; and nothing that was put off was needed."""
    save(tmp_path / "in/a.png", noise)
    save(tmp_path / "in/b.png", noise[::-1])
    few = ["--points-per-side", "2"] if command else FEW_POINTS
    given = [*command, "--input", "in", *SMALL_MODEL, *few, "--workers", "2", "--quiet"]
    seen = f"print({META_KERNELS!r} in sys.modules)"
    for before, output in (("", "sooner"), ("import torch; ", "whole")):
        code = RUN.format(before, seen)
        said, _ = in_a_new_process(code, *given, "--output", output, cwd=tmp_path)
        assert said.endswith(f"{bool(before)}\n")
    assert files_under(tmp_path / "sooner") == files_under(tmp_path / "whole") != {}


def test_networks_of_all_known_models_can_be_made():
    code = (
        "from amg_cli.models.sam import Sam; from amg_cli.weights.zoo import ZOO\n"
        "for known in ZOO.values():\n"
        "    with torch.device('meta'): Sam(known.config)\n"
        f"assert {META_KERNELS!r} not in sys.modules"
    )
    in_a_new_process(IMPORT + code)


@pytest.mark.parametrize(
    "first",
    [
        "",
        f"import {META_KERNELS}",
        "import torch._prims",
        "import torch._refs",
        "import torch._decomp.decompositions",
        "import torch._functorch.aot_autograd",
        "import torch.utils._content_store",
        "from torch.fx.experimental import symbolic_shapes",
    ],
)
def test_whatever_traces_finds_all_of_torch(first):
    code = f"""
assert {META_KERNELS!r} not in sys.modules and not hasattr(torch, "_meta_registrations")
{first}
def function(x): return torch.nn.functional.gelu(x @ x.T).sum()
x = torch.ones(3, 3)
assert torch.compile(function, backend="aot_eager")(x) == function(x)
assert torch.fft.fft(torch.empty(3, 4, device="meta")).shape == (3, 4)
assert torch._meta_registrations is sys.modules[{META_KERNELS!r}]
assert torch.export.export(torch.nn.Linear(3, 3), (x,)).graph.nodes
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("amg_cli")]
for name in ("torch._prims", "torch._refs", "torch._decomp"):
    module = sys.modules[name]
    assert module.__spec__.name == name and module.__spec__.loader is module.__loader__
"""
    in_a_new_process(IMPORT + code)


def test_tensors_without_data_find_it_where_torch_asks_for_it():
    code = (
        "from torch._subclasses.fake_tensor import FakeTensorMode\n"
        "with FakeTensorMode(): assert torch.fft.fft(torch.empty(3, 4)).shape == (3, 4)"
    )
    in_a_new_process(IMPORT + code)


def test_a_torch_that_is_imported_stays_as_it_is():
    code = "import sys, torch\nbefore = list(sys.meta_path), set(sys.modules)\n"
    code += "from amg_cli.cli.torch_import import *; import_torch()\n"
    code += f"assert {META_KERNELS!r} in sys.modules and sys.meta_path == before[0]"
    in_a_new_process(code)


def test_nothing_of_torch_is_looked_through_for_garbage():
    code = (
        "import gc; assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "assert sum(each['collections'] for each in gc.get_stats()) - before < 5"
    )
    before = "import gc, amg_cli.cli.torch_import\n"
    before += "before = sum(each['collections'] for each in gc.get_stats())\n"
    in_a_new_process(before + IMPORT + code)


@pytest.mark.parametrize(
    ("torch", "wanted"),
    [
        ("", "False"),
        ("from torch import _meta_registrations", "False"),
        ("import torch._meta_registrations as kernels; VALUE = kernels.VALUE", "True"),
        ("from torch._meta_registrations import VALUE", "True"),
    ],
)
def test_another_torch_is_imported_as_ever(torch, wanted, tmp_path):
    """One that uses at once what is put off here, and one that has no such module."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text(torch)
    (package / "_meta_registrations.py").write_text("VALUE = 7")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORT}"
    code += f"assert {META_KERNELS!r} in sys.modules or not hasattr(torch, '_meta_registrations')\n"
    code += f"print({META_KERNELS!r} in sys.modules, getattr(torch, 'VALUE', 7))\n"
    code += "import torch._meta_registrations; assert torch._meta_registrations.VALUE == 7"
    assert in_a_new_process(code)[0] == f"{wanted} 7\n"


def test_a_torch_that_is_missing_is_said_to_be(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('no torch here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from amg_cli.cli.torch_import import *\n"
    code += "try: import_torch()\nexcept ImportError as error: print(error)\n"
    code += f"assert {META_KERNELS!r} not in sys.modules"
    assert in_a_new_process(code)[0] == "no torch here\n"


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_settings_are_there_before_the_library(tmp_path, noise):
    save(tmp_path / "a.png", noise)
    given = ["--input", "a.png", "--output", "out", *SMALL_MODEL, *FEW_POINTS]
    command = [sys.executable, "-m", "amg_cli", *given]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "GOMP_SPINCOUNT = '0'" in done.stderr
