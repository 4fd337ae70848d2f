"""The house rules that can be checked: floors, function sizes, docstrings, public names."""

import ast
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
    {"generation", "formats", "export"},
    {"batch", "evaluate"},
    {"cli"},
]
FLOOR_OF = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
MAX_MODULE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8


def room_of(module: Path) -> str:
    parts = module.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(module: Path) -> set[str]:
    """The rooms of our own that a module imports from."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {name.split(".")[1] for name in names if name.startswith("amg_cli.")}
    return ours & FLOOR_OF.keys()


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
    assert {"batch", "models"} <= imports_of(PACKAGE / "cli/generate.py")  # inside a function


def test_modules_and_functions_stay_small():
    for module in MODULES:
        assert len(module.read_text().splitlines()) <= MAX_MODULE_LINES, module
    for name, node in definitions(ast.FunctionDef):
        assert node.end_lineno - node.lineno + 1 <= MAX_FUNCTION_LINES, name
        parameters = [a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
        assert len(parameters) <= MAX_PARAMETERS, name


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
        "GenerationConfig",
        "Mask",
        "__version__",
        "generate",
        "load_model",
    ]
    for name in amg_cli.__all__:
        assert getattr(amg_cli, name) is getattr(amg_cli, name)
    assert callable(amg_cli.generate)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        amg_cli.nothing  # noqa: B018
