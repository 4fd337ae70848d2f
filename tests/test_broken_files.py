"""Broken files: none crashes, hangs, or takes more than a bounded memory."""

from __future__ import annotations

from collections import Counter

from amg_cli.batch.integrity import AGAIN
from tests.images_to_break import BASES
from tests.mutator import mutant
from tests.reader import CONVERT, LINUX, TRUST, read_all, save_all

SEED = 20240607
NB_MUTANTS_A_FORMAT = 90


@LINUX
def test_no_broken_file_crashes_hangs_or_takes_much_memory(tmp_path):
    files = {}
    for kind in BASES:
        for seed in range(NB_MUTANTS_A_FORMAT):
            done, data = mutant(kind, SEED + seed)
            files[f"{kind}-{SEED + seed}-{done}"] = data
    assert len(files) >= 300
    # 12 bytes for each of 2^20 pixels are 12 MiB; the rest is for the file and for libraries.
    results, stderr = read_all(save_all(tmp_path, files), 2**20, bound=2**27)
    assert results.keys() == files.keys()
    assert "Traceback" not in stderr
    kinds = Counter()
    for name, result in results.items():
        kinds[name.split("-")[0], "error" in result] += 1
        assert result["peak_kb"] < 32_000, (name, result)
        assert result["elapsed_s"] < 10, (name, result)
        if "error" in result:
            assert "\n" not in result["error"]
            assert result["error"].endswith((AGAIN, TRUST, CONVERT, "re-export it")) or any(
                part in result["error"] for part in ("grey or RGB", "bits a sample")
            ), (name, result)
        else:
            height, width, channels = result["shape"]
            assert (channels, result["type"]) == (3, "uint8")
            # What was declared is what was decoded, or a bomb could get past the limit.
            assert sorted([width, height]) == sorted(result["declared"]), name
    # The mutants of a format are neither all refused at once nor all harmless.
    assert all(kinds[kind, broken] >= 9 for kind in BASES for broken in (True, False)), kinds


def test_the_mutator_makes_the_same_files_of_the_same_seed():
    assert mutant("png", 1) == mutant("png", 1)
    assert mutant("png", 1) != mutant("png", 2)
