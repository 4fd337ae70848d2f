"""The README says what the program does."""

import re
import subprocess
import sys

from click.testing import CliRunner

from amg_cli.batch.sources.images import IMAGE_SUFFIXES
from amg_cli.cli.main import main
from benchmarks import tables
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_the_help_text_is_the_programs():
    help_text = CliRunner().invoke(main, ["--help"], prog_name="amg", terminal_width=100).output
    shown = README.split("<!-- amg --help -->\n```\n")[1].split("```")[0]
    assert shown == help_text


def test_the_tables_are_those_of_the_results():
    assert tables.with_tables(README) == README
    for make in tables.TABLES:
        assert make() in README


def test_every_link_to_a_file_leads_somewhere():
    text = re.sub(r"`[^`\n]*`", "", README)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (REPOSITORY / target).exists(), target


def test_the_python_examples_run(tmp_path):
    generated, prompted = (run_block(i, tmp_path) for i in (1, 2))
    boxed = run_block(3, tmp_path, before=README.split("```python\n")[2].split("click = ")[0])
    assert boxed == "2 True\n"
    count, shape = generated.split(" ", 1)
    assert int(count) >= 5
    assert shape.startswith("(400, 600)")
    assert prompted == "(1, 3, 400, 600) (1, 3)\nfloat32\n"


def run_block(number, folder, before=""):
    """The output of one of the README's blocks of Python, after what it needs of another."""
    code = before + README.split("```python\n")[number].split("```")[0]
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(REPOSITORY / "examples")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_constraints_pin_what_pyproject_asks_for():
    pins = set(re.findall(r"^([\w-]+)==", (REPOSITORY / "constraints.txt").read_text(), re.M))
    dependencies = (REPOSITORY / "pyproject.toml").read_text().split("[project.scripts]")[0]
    assert pins == set(re.findall(r'"([\w-]+)>=', dependencies)) - {"setuptools"}


def test_formats_the_readme_names_are_those_looked_for():
    for name in ("JPEG", "PNG", "WebP", "BMP", "TIFF"):
        assert name in README
        assert f".{name.lower()}" in IMAGE_SUFFIXES
