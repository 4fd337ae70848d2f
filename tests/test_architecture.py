"""The house rules that can be checked: floors, function sizes, docstrings, public names."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import amg_cli
from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "amg_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Rooms by floor, bottom first. Imports only run down; rooms of one floor do not import each other.
FLOORS = [
    {"core"},
    {"models"},
    {"generation", "weights"},
    {"formats", "tasks", "export"},
    {"batch", "evaluate", "viewer", "tfimm", "segment_anything"},
    {"cli"},
]
FLOOR_OF = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
MAX_MODULE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8
# What users choose of a model, all by keyword; the seed's API asks for each by its name.
MORE_PARAMETERS = {"load_model": 10}


def room_of(module: Path) -> str:
    parts = module.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(module: Path) -> set[str]:
    """The rooms of our own that a module imports from."""
    return imports_in(module.read_text())


def imports_in(code: str) -> set[str]:
    """A public name, which `from amg_cli import` gives, counts as the room that it lives in."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name.removeprefix("amg_cli.") for name in names if name.startswith("amg_cli.")}
    homes = {amg_cli._HOME.get(name, f"amg_cli.{name}").split(".")[1] for name in ours}
    return homes & FLOOR_OF.keys()


def definitions(*kinds):
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, kinds):
                yield f"{module.relative_to(PACKAGE)}:{node.lineno} {node.name}", node


def test_every_room_is_on_a_floor():
    assert {room_of(module) for module in MODULES} - {""} <= FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_run_down(module):
    room = room_of(module)
    if not room:
        return  # the package itself and `python -m amg_cli` only name what is inside
    for other in imports_of(module) - {room}:
        assert FLOOR_OF[other] < FLOOR_OF[room], f"{module} imports from {other}"


def test_the_test_of_the_floors_sees_imports():
    assert {"core", "models"} <= imports_of(PACKAGE / "generation/propose.py")
    assert {"batch", "formats"} <= imports_of(PACKAGE / "cli/running.py")  # inside a function
    assert imports_in("from amg_cli import generate, __version__") == {"generation"}
    assert imports_in("from amg_cli import batch") == {"batch"}


def test_no_command_imports_another():
    commands = {"doctor", "evaluate", "generate", "merge", "models", "predict"}
    for name in commands:
        code = (PACKAGE / "cli" / f"{name}.py").read_text()
        imported = set(re.findall(r"amg_cli\.cli\.(\w+)", code))
        assert not imported & commands, f"{name} imports {imported & commands}"


@pytest.mark.parametrize(
    "module",
    [
        "core.config",
        "core.drawing",
        "core.mask",
        "core.naming",
        "models.configs",
        "weights.zoo",
        "weights.cache",
        "weights.text_image",
        "formats.found",
        "formats.class_names",
        "formats.decisions",
    ],
)
def test_plain_values_load_no_torch(module):
    script = f"import sys, amg_cli.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_modules_and_functions_stay_small():
    for module in MODULES:
        assert len(module.read_text().splitlines()) <= MAX_MODULE_LINES, module
    for name, node in definitions(ast.FunctionDef):
        assert node.end_lineno - node.lineno + 1 <= MAX_FUNCTION_LINES, name
        parameters = [a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
        assert len(parameters) <= MORE_PARAMETERS.get(node.name, MAX_PARAMETERS), name


def test_everything_public_has_a_docstring():
    for module in MODULES:
        assert ast.get_docstring(ast.parse(module.read_text())), module
    for name, node in definitions(ast.FunctionDef, ast.ClassDef):
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), name


def test_one_broad_except_in_the_whole_package():
    caught = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert len(caught) == 1, caught


def test_the_public_names_are_there():
    assert sorted(amg_cli.__all__) == [
        "AmgError",
        "Candidates",
        "Encoded",
        "GenerationConfig",
        "Instance",
        "Mask",
        "Masks",
        "NamingConfig",
        "Prediction",
        "Prompts",
        "SAMPredictor",
        "SamPredictor",
        "__version__",
        "draw",
        "edges",
        "encode_image",
        "generate",
        "load_model",
        "load_text_image_encoder",
        "name_masks",
        "predict",
        "propose",
        "reference_record",
        "segment_boxes",
        "select",
    ]
    for name in amg_cli.__all__:
        home = amg_cli._HOME.get(name)
        if home:
            assert getattr(amg_cli, name) is getattr(import_module(home), name)
    assert callable(amg_cli.generate)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        amg_cli.nothing  # noqa: B018
