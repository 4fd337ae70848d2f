"""The page about clusters: its recipe for shards gives what one run gives."""

import os
import re
import subprocess

import pytest

from tests.command import AMG, FEW_POINTS, SMALL_MODEL, amg, files_under, save
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/cluster.md").read_text()


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (REPOSITORY / "docs" / target).exists(), target


@pytest.mark.slow
def test_the_array_of_shards_gives_what_one_run_gives(tmp_path, noise):
    for number in range(9):
        save(tmp_path / f"photos/{number % 3}/{number}.png", noise[number:])
    (script,) = (block for block in PAGE.split("```sh\n") if "--array=" in block)
    script = script.split("```")[0]
    merge = re.search(r'--wrap "(amg merge out)"', PAGE)[1]
    options = [*SMALL_MODEL, *FEW_POINTS]
    script = script.replace("exec amg ", f"exec amg {' '.join(options)} ")
    path = f"{AMG.parent}{os.pathsep}{os.environ['PATH']}"
    of_slurm = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_CPUS_PER_TASK": "1"}
    environment = {**os.environ, **of_slurm, "PATH": path}
    tasks = [
        subprocess.Popen(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env={**environment, "SLURM_ARRAY_TASK_ID": str(task)},
        )
        for task in (1, 2, 3)
    ]
    assert [task.wait(120) for task in tasks] == [0, 0, 0]
    subprocess.run(["bash", "-c", merge], cwd=tmp_path, env=environment, check=True, timeout=120)
    arguments = ["--input", "photos", "--recursive", "--format", "coco", "--threads", "1"]
    whole = amg(*arguments, *options, "--output", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert files_under(tmp_path / "out") == files_under(tmp_path / "whole")
    assert (tmp_path / "out/annotations.json").exists()
