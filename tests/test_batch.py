"""Many images: names, commits, and failures that cost only their own image."""

import dataclasses
import os
import sys
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amg_cli.batch.commit import committed
from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Job
from amg_cli.batch.naming import Names, output_names, why_renamed
from amg_cli.batch.sources.inputs import find_sources
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError, InputError, OutputExistsError
from amg_cli.formats import reference_rle
from amg_cli.weights.loading import load_model
from tests.command import LIBRARIES

ALL_MASKS = GenerationConfig(
    points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
)


def names(*paths):
    return [name.as_posix() for name in output_names([PurePath(path) for path in paths])]


def test_a_name_is_the_stem_in_its_folder():
    assert names("a.jpg", "sub/b.tar.png") == ["a", "sub/b.tar"]


def test_images_of_one_stem_keep_their_suffix():
    assert names("a.jpg", "a.png", "b.png") == ["a.jpg", "a.png", "b"]


def test_stems_that_differ_by_case_are_one():
    assert names("A.jpg", "a.png") == ["A.jpg", "a.png"]


def test_the_same_file_name_from_two_inputs_gets_a_number():
    assert names("a.jpg", "a.jpg", "a.jpg") == ["a.jpg", "a.jpg~2", "a.jpg~3"]


def test_a_kept_suffix_that_is_anothers_stem_spreads():
    assert names("a.jpg", "a.png", "a.jpg.png") == ["a.jpg", "a.png", "a.jpg.png"]


def test_an_image_named_as_a_mirrored_folder_keeps_its_suffix():
    assert names("sub.jpg", "sub/a.jpg") == ["sub.jpg", "sub/a"]
    assert names("sub", "sub/a.jpg") == ["sub~2", "sub/a"]


@given(st.lists(st.from_regex(r"([ab]/){0,2}[aAb](\.[aj]|~2){0,2}", fullmatch=True), max_size=12))
def test_names_are_always_different_and_no_name_is_a_folder_of_others(paths):
    found = [name.casefold() for name in names(*paths)]
    assert len(set(found)) == len(paths)
    folders = {str(folder).casefold() for path in paths for folder in PurePath(path).parents}
    assert not folders & set(found)


def test_what_is_written_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "sub/out.json"
    with committed(target, overwrite=False) as path:
        path.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_block_that_fails_leaves_the_old_output_and_nothing_else(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")

    def write_half():
        with committed(target, overwrite=True) as path:
            path.mkdir()
            (path / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.rglob("*")) == [target, target / "old"]


def test_overwriting_replaces_the_whole_folder(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with committed(target, overwrite=True) as path:
        path.mkdir()
        (path / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_output_that_appeared_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "out.json"

    def write_late():
        with committed(target, overwrite=False) as path:
            path.write_text("ours")
            target.write_text("theirs")

    with pytest.raises(OutputExistsError, match="exists; give `on_exists` overwrite"):
        write_late()
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture
def photos(tmp_path, noise):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        cv2.imwrite(str(folder / f"{name}.png"), noise)
    return folder


def jobs_of(photos, tmp_path):
    return [
        Job(path, (tmp_path / f"out/{path.stem}.json",)) for path in sorted(photos.glob("*.png"))
    ]


def test_searching_the_output_folder_for_images_is_refused(photos):
    with pytest.raises(ConfigError, match="would take its masks for images") as caught:
        find_sources([photos], photos / "../photos", recursive=True)
    assert caught.value.exit_code == 2


def test_inputs_with_nothing_but_the_output_say_so(photos):
    masks = photos / "masks/a"
    masks.mkdir(parents=True)
    (photos / "a.png").rename(masks / "0.png")
    for name in "bc":
        (photos / f"{name}.png").unlink()
    with pytest.raises(InputError, match="all images found are inside the output folder"):
        find_sources([photos], photos / "masks", recursive=True)


def test_a_run_commits_each_image_and_goes_on_after_a_failure(photos, tmp_path, tiny_model):
    jobs = jobs_of(photos, tmp_path)
    (photos / "b.png").write_bytes(b"")
    outcomes = list(run(jobs, Work(tiny_model, Everything(ALL_MASKS), (reference_rle.FORMAT,))))
    assert [outcome.result is not None for outcome in outcomes] == [True, False, True]
    assert str(outcomes[1].error).startswith(f"{photos / 'b.png'}: empty file")
    assert reference_rle.read(jobs[2].targets[0]) == outcomes[2].result.masks != []
    assert outcomes[2].result.image_hw == (60, 90)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "c.json"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(13, "Permission denied"), "{target}: Permission denied; "),
        (MemoryError(), "{source}: out of memory; give fewer `workers`"),
        (ZeroDivisionError("division\nby zero"),
         "{source}: unexpected ZeroDivisionError: division; please report it with this image"),
    ],
)  # fmt: skip
def test_whatever_fails_is_one_line_and_exit_code_3(error, line, photos, tmp_path, tiny_model):
    def fail(result, output):
        output.path.write_text("half")
        raise error

    job = jobs_of(photos, tmp_path)[0]
    broken = dataclasses.replace(reference_rle.FORMAT, write=fail)
    (outcome,) = run([job], Work(tiny_model, Everything(ALL_MASKS), (broken,)))
    assert str(outcome.error).startswith(line.format(source=job.source, target=job.targets[0]))
    assert outcome.error.exit_code == 3
    assert list(Path(tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory, and its measure")
def test_where_memory_runs_out_fewer_prompts_are_worked_on_at_a_time(tmp_path):
    receive, send = LIBRARIES.Pipe(duplex=False)
    process = LIBRARIES.Process(target=_run_in_little_memory, args=(tmp_path, send))
    process.start()
    send.close()
    plain, limited, error = receive.recv()
    process.join()
    assert limited == plain != [], error


def _run_in_little_memory(folder, pipe):
    """-> masks without a limit; with one that so many prompts at a time exceed; its error."""
    import resource

    from amg_cli.models.devices import set_threads

    set_threads(1)
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8))
    config = GenerationConfig(
        points_per_side=32, points_per_batch=1, pred_iou_thresh=0, stability_score_thresh=0.9
    )
    work = Work(load_model(image_size=256), Everything(config), ())
    job = Job(folder / "a.png", ())
    (plain,) = run([job], work)
    status = Path("/proc/self/status").read_text()
    peak = 1024 * int(status.split("VmPeak:")[1].split()[0])
    # All prompts at once need 3,072 masks of 64 x 64 logits and what made them.
    at_once = Everything(dataclasses.replace(config, points_per_batch=1024))
    work = dataclasses.replace(work, task=at_once)
    resource.setrlimit(resource.RLIMIT_AS, (peak + 2**24, resource.RLIM_INFINITY))
    (limited,) = run([job], work)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    pipe.send((plain.result.masks, limited.result and limited.result.masks, str(limited.error)))


# Names


def test_a_name_that_would_be_the_folder_itself_or_the_one_around_it_keeps_its_suffix():
    assert names("...jpg", "..jpg", "sub/...png") == ["...jpg", "..jpg", "sub/...png"]
    assert names("....jpg", ". .jpg", ".a.jpg") == ["...", ". ", ".a"]


def test_names_that_other_systems_refuse_stay_as_they_are():
    assert names("CON.jpg", "a:b.jpg", "c .jpg", "d..jpg") == ["CON", "a:b", "c ", "d."]


@given(st.lists(st.from_regex(r"[a. ]{1,4}(\.jpg)?", fullmatch=True), max_size=6))
def test_no_name_ever_leaves_the_output_folder(file_names):
    paths = [PurePath(name) for name in file_names if name not in ("", ".", "..")]
    found = output_names(paths)
    assert len(found) == len(paths)
    for name in found:
        assert not {".", ".."} & set(name.parts)
        target = Path("/out") / name
        assert Path(os.path.normpath(target)) == target != Path("/out")


def test_why_a_name_is_not_the_plain_one_is_said():
    paths = [PurePath(path) for path in ("...png", "a.png", "a.bmp", "sub/b.png")]
    found = output_names(paths)
    assert {
        path.name: why_renamed(path.as_posix(), name.as_posix())
        for path, name in zip(paths, found, strict=True)
    } == {
        "...png": "without its suffix its name would be '..'",
        "a.bmp": "its plain name is another's too",
        "a.png": "its plain name is another's too",
        "b.png": "",
    }


def test_a_name_once_given_stays_and_what_comes_later_gives_way():
    given = Names()
    assert given.give(["a.jpg"]) == ["a"]
    given.keep("b")
    later = ["a.png", "b.png", "a/c.jpg", "A.jpg"]
    assert given.give(later) == ["a.png", "b.png", "a~2/c", "A.jpg"]
    assert given.give(["a.png"]) == ["a.png~2"]


@given(st.lists(st.from_regex(r"([ab]/){0,2}[aAb](\.[aj]|~2){0,2}", fullmatch=True), max_size=12))
def test_names_given_one_by_one_are_different_and_no_folder_of_others(paths):
    given_names = Names()
    found = [given_names.give([path])[0] for path in paths]
    keys = [name.casefold() for name in found]
    assert len(set(keys)) == len(paths)
    folders = {str(folder).casefold() for name in found for folder in PurePath(name).parents}
    assert not folders & set(keys)
