"""A run's record: what is left after a break, what is refused, and what ids and names come to."""

import json
import os
import shutil
from pathlib import Path, PurePath

import cv2
import pytest

from amg_cli.batch.engines.local import Work, run
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.job import Outcome
from amg_cli.batch.manifest import Manifest
from amg_cli.batch.merge import merge
from amg_cli.batch.run import Plan, Run, preview
from amg_cli.batch.sources.images import Source, discover
from amg_cli.batch.sources.inputs import arriving_sources, listed_sources
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ImageError, InputError, OutputError
from amg_cli.formats.manifest import Shard, read_entries, read_records
from amg_cli.formats.table import FORMATS, format_of, run_formats
from tests.command import files_under

ALL_MASKS = GenerationConfig(
    points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1
)
SETTINGS = {"weights": 64 * "a", "points_per_side": 1, "threads": 1}


@pytest.fixture
def photos(tmp_path, noise):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c", "d")):
        cv2.imwrite(str(folder / f"{name}.png"), noise[number:])
    return folder


@pytest.fixture
def work(tiny_model):
    def _work(plan):
        return Work(tiny_model, Everything(ALL_MASKS), tuple(plan.image_formats))

    return _work


def plan_of(tmp_path, **more):
    values = {"output": tmp_path / "out", "formats": FORMATS, "settings": SETTINGS} | more
    return Plan(**values)


def go(plan, photos, work, stop_after=None):
    """Do the run, or a part of it. -> the names of the images done, in order."""
    done = []
    with Run.opened(plan) as the_run:
        listed = the_run.listed(discover([photos], recursive=True))
        jobs = [the_run.job(*pair) for pair in listed if the_run.status(*pair) == "to do"]
        for outcome in run(jobs[:stop_after], work(plan)):
            the_run.record(outcome)
            done.append(outcome.job.source.name)
        if stop_after is None:
            the_run.finish()
    return done


def test_a_run_that_was_broken_off_does_what_is_left_and_ends_as_if_it_had_not_been(
    photos, tmp_path, work
):
    whole = plan_of(tmp_path, output=tmp_path / "whole")
    assert go(whole, photos, work) == ["a.png", "b.png", "c.png", "d.png"]
    plan = plan_of(tmp_path)
    assert go(plan, photos, work, stop_after=1) == ["a.png"]
    assert go(plan, photos, work, stop_after=2) == ["b.png", "c.png"]
    assert go(plan, photos, work) == ["d.png"]
    assert go(plan, photos, work) == []
    assert files_under(tmp_path / "out") == files_under(tmp_path / "whole")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        ".amg", "a", "a.json", "annotations.json", "b", "b.json", "c", "c.json", "cutout",
        "cvat.xml", "d", "d.json", "labelmap", "labelme", "labelstudio.json", "masks.ndjson",
        "overlay", "parquet", "results.json", "sa1b", "yolo",
    ]  # fmt: skip


def test_a_torn_line_and_masks_that_are_not_recorded_count_for_nothing(photos, tmp_path, work):
    plan = plan_of(tmp_path, formats=("ndjson",))
    go(plan, photos, work, stop_after=2)
    folder = tmp_path / "out/.amg"
    for name in ("run.ndjson", "images.ndjson"):
        with (folder / name).open("ab") as file:
            file.write(b'{"number": 3, "outco')
    with (folder / "masks.ndjson").open("ab") as file:
        file.write(b'{"image_id": 3}\n')
    assert go(plan, photos, work) == ["c.png", "d.png"]
    results = list(format_of("ndjson").read(tmp_path / "out/masks.ndjson"))
    assert [result.number for result in results] == [1, 2, 3, 4]
    assert [result.image_hw for result in results] == [(60, 90), (59, 90), (58, 90), (57, 90)]


def test_every_run_file_has_the_images_in_order_with_their_masks(photos, tmp_path, work):
    plan = plan_of(tmp_path)
    go(plan, photos, work)
    masks = [format_of("rle").read(tmp_path / f"out/{name}.json") for name in "abcd"]
    for format_ in (each for each in run_formats(FORMATS) if each.read):
        results = list(format_.read(tmp_path / "out" / format_.file_name))
        assert [result.file_name for result in results] == ["a.png", "b.png", "c.png", "d.png"]
        assert [[mask.rle for mask in result.masks] for result in results] == [
            [mask.rle for mask in of_image] for of_image in masks
        ]
        assert [[mask.box_xyxy for mask in result.masks] for result in results] == [
            [mask.box_xyxy for mask in of_image] for of_image in masks
        ]


def test_a_changed_image_is_done_again_and_one_that_was_only_touched_is_not(
    photos, tmp_path, work, noise
):
    plan = plan_of(tmp_path)
    go(plan, photos, work)
    os.utime(photos / "a.png", ns=(1, 1))
    cv2.imwrite(str(photos / "b.png"), 255 - noise)
    assert go(plan, photos, work) == ["b.png"]
    shutil.rmtree(tmp_path / "out/c")
    assert go(plan, photos, work) == ["c.png"]
    dataset = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["id"] for image in dataset["images"]] == [1, 2, 3, 4]
    assert dataset["images"][1]["height"] == 60


@pytest.mark.parametrize("stream", [False, True])
def test_a_folder_that_was_moved_is_gone_on_with(stream, photos, tmp_path, work):
    plan = plan_of(tmp_path)
    assert go(plan, photos, work, stop_after=2) == ["a.png", "b.png"]
    moved = photos.rename(tmp_path / "moved")
    sources = discover([moved], recursive=True)
    with Run.opened(plan) as the_run:
        batches = [[source] for source in sources] if stream else [sources]
        pairs = [pair for batch in batches for pair in the_run.listed(batch)]
        assert [the_run.status(*pair) for pair in pairs] == ["done", "done", "to do", "to do"]
    statuses = [status for _, status in preview(plan, sources)]
    assert statuses == ["done", "done", "to do", "to do"]
    assert go(plan, moved, work) == ["c.png", "d.png"]
    assert [(e.number, e.name) for e in read_entries(plan.output)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
        (4, "d"),
    ]


def test_an_image_of_the_same_name_elsewhere_is_another_while_the_first_is_there(
    photos, tmp_path, work
):
    plan = plan_of(tmp_path)
    go(plan, photos, work)
    (tmp_path / "other").mkdir()
    shutil.copy(photos / "a.png", tmp_path / "other/a.png")
    assert go(plan, tmp_path / "other", work) == ["a.png"]
    assert [entry.name for entry in read_entries(plan.output)] == ["a", "b", "c", "d", "a.png"]


def test_images_that_come_later_are_appended_and_what_clashes_gives_way(
    photos, tmp_path, work, noise
):
    plan = plan_of(tmp_path)
    go(plan, photos, work)
    cv2.imwrite(str(photos / "a.bmp"), noise)
    assert go(plan, photos, work) == ["a.bmp"]
    entries = [(e.number, e.name, e.file_name) for e in read_entries(tmp_path / "out")]
    assert entries[0] == (1, "a", "a.png")
    assert entries[4:] == [(5, "a.bmp", "a.bmp")]


def test_other_settings_weights_or_formats_are_refused_each_difference_named(
    photos, tmp_path, work
):
    go(plan_of(tmp_path, formats=("ndjson", "coco")), photos, work)
    before = files_under(tmp_path / "out")
    other = plan_of(
        tmp_path,
        formats=("rle",),
        settings={"weights": 64 * "b", "points_per_side": 2, "threads": 1},
    )
    with pytest.raises(OutputError) as caught:
        go(other, photos, work)
    assert caught.value.cause == (
        "what is in it was made with `format` coco ndjson, now rle; "
        "`weights` aaaaaaaa, now bbbbbbbb; `points_per_side` 1, now 2"
    )
    assert caught.value.remedy == "give the same, `on_exists` overwrite, or another `output`"
    assert files_under(tmp_path / "out") == before


def test_overwriting_starts_anew_with_other_settings_or_after_an_end_and_else_goes_on(
    photos, tmp_path, work
):
    go(plan_of(tmp_path), photos, work)
    plan = plan_of(tmp_path, settings=SETTINGS | {"points_per_side": 2}, on_exists="overwrite")
    assert go(plan, photos, work, stop_after=3) == ["a.png", "b.png", "c.png"]
    assert go(plan, photos, work) == ["d.png"]
    assert len(go(plan, photos, work)) == 4


def test_settings_under_which_nothing_was_done_are_forgotten(photos, tmp_path, work):
    go(plan_of(tmp_path, settings=SETTINGS | {"weights": 64 * "0"}), photos, work, stop_after=0)
    assert len(go(plan_of(tmp_path), photos, work)) == 4


@pytest.mark.parametrize("on_exists", ["error", "skip", "overwrite"])
def test_output_of_no_recorded_run_goes_by_on_exists(on_exists, photos, tmp_path, work):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.json").write_text("mine")
    plan = plan_of(tmp_path, formats=("rle",), on_exists=on_exists)
    wanted = ["a.png", "c.png", "d.png"] if on_exists != "overwrite" else 4
    done = go(plan, photos, work)
    assert (done if on_exists != "overwrite" else len(done)) == wanted
    kept = (tmp_path / "out/b.json").read_text() == "mine"
    assert kept == (on_exists != "overwrite")
    if kept:  # so it is the second time
        assert go(plan, photos, work) == []
        assert (tmp_path / "out/b.json").read_text() == "mine"


def test_a_run_file_of_no_recorded_run_is_refused(photos, tmp_path, work):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/annotations.json").write_text("mine")
    with pytest.raises(OutputError, match="exists, and no record says what made it"):
        go(plan_of(tmp_path), photos, work)
    assert (tmp_path / "out/annotations.json").read_text() == "mine"
    go(plan_of(tmp_path, on_exists="overwrite"), photos, work)
    assert (tmp_path / "out/annotations.json").read_text() != "mine"


def test_what_failed_is_done_again_only_if_asked_or_changed(photos, tmp_path, work, noise):
    for name in "bc":
        (photos / f"{name}.png").write_bytes(b"no image")
    plan = plan_of(tmp_path)
    go(plan, photos, work)
    records = read_records(tmp_path / "out", Shard()).of_image
    assert [records[number].outcome for number in (1, 2, 3, 4)] == [
        "done",
        "failed",
        "failed",
        "done",
    ]
    assert records[2].error.startswith(f"{photos / 'b.png'}: ")
    assert go(plan, photos, work) == []
    cv2.imwrite(str(photos / "b.png"), noise)
    assert go(plan, photos, work) == ["b.png"]
    assert go(plan_of(tmp_path, retry_failed=True), photos, work) == ["c.png"]
    dataset = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["id"] for image in dataset["images"]] == [1, 2, 4]


def test_a_full_disk_ends_the_run_and_records_nothing_of_the_image(photos, tmp_path):
    job_error = OutputError(tmp_path / "out", "no space left on device", "make room")
    with Run.opened(plan_of(tmp_path)) as the_run:
        (source, entry), *_ = the_run.listed(discover([photos], recursive=False))
        with pytest.raises(OutputError, match="no space left"):
            the_run.record(Outcome(the_run.job(source, entry), error=job_error))
        assert the_run.status(source, entry) == "to do"


def test_a_second_run_in_one_folder_is_refused_and_told_whose_it_is(photos, tmp_path):
    with Run.opened(plan_of(tmp_path)), pytest.raises(OutputError) as caught:
        Run.opened(plan_of(tmp_path)).__enter__()
    assert f"another run is writing to it: process {os.getpid()} on " in str(caught.value)
    with Run.opened(plan_of(tmp_path)):
        pass


def test_shards_part_the_images_by_name_and_share_numbers(photos, tmp_path, work):
    shards = [Shard(index, 2) for index in (1, 2)]
    parts = [go(plan_of(tmp_path, shard=shard), photos, work) for shard in shards]
    assert sorted(parts[0] + parts[1]) == ["a.png", "b.png", "c.png", "d.png"]
    assert all(parts)
    whole = plan_of(tmp_path, output=tmp_path / "whole")
    go(whole, photos, work)
    assert read_entries(tmp_path / "out") == read_entries(tmp_path / "whole")
    assert not (tmp_path / "out/annotations.json").exists()


def test_a_preview_says_what_a_run_would_do_and_writes_nothing(photos, tmp_path, work):
    plan = plan_of(tmp_path)
    sources = discover([photos], recursive=False)
    assert [status for _, status in preview(plan, sources)] == 4 * ["to do"]
    assert not (tmp_path / "out").exists()
    go(plan, photos, work, stop_after=2)
    before = files_under(tmp_path / "out")
    found = [status for _, status in preview(plan, sources)]
    assert found == ["done", "done", "to do", "to do"]
    assert files_under(tmp_path / "out") == before


def test_a_record_that_is_none_is_refused_by_name(photos, tmp_path, work):
    go(plan_of(tmp_path), photos, work)
    path = tmp_path / "out/.amg/run.ndjson"
    path.write_text("[]\n")
    with pytest.raises(OutputError, match="no record of a run") as caught:
        go(plan_of(tmp_path), photos, work)
    assert caught.value.where == str(path)


def test_paths_in_a_stream_come_one_by_one_and_once_each(tmp_path):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as out:
        sources = arriving_sources(stream, null=False)
        out.write(b"x/a.jpg\r\n\nx/../y.jpg\n")
        assert next(sources) == Source.of(Path("x/a.jpg"), PurePath("x/a.jpg"))
        here = os.path.realpath(".").lstrip("/")
        assert next(sources).relative == f"{here}/y.jpg"
        out.write(b"x/a.jpg\nlast")
        out.close()
        assert [source.relative for source in sources] == ["last"]


def test_a_list_may_have_names_with_newlines_if_they_end_with_nul(tmp_path):
    (tmp_path / "list").write_bytes(b"two\nlines.png\0caf\xe9.png\0")
    found = listed_sources(tmp_path / "list", null=True)
    assert [os.fsencode(source.relative) for source in found] == [b"two\nlines.png", b"caf\xe9.png"]
    (tmp_path / "list").write_bytes(b"\n")
    with pytest.raises(InputError, match="lists no image"):
        listed_sources(tmp_path / "list", null=False)


def test_an_image_error_is_recorded_with_what_is_known_of_its_file(photos, tmp_path, work):
    with Manifest.held(tmp_path / "out", Shard()) as manifest:
        manifest.begin(SETTINGS)
    (photos / "a.png").unlink()
    plan = plan_of(tmp_path, formats=("rle",))
    with Run.opened(plan) as the_run:
        source = Source.of(photos / "a.png", PurePath("a.png"))
        ((_, entry),) = the_run.listed([source])
        (outcome,) = run([the_run.job(source, entry)], work(plan))
        the_run.record(outcome)
    record = read_records(tmp_path / "out", Shard()).of_image[1]
    assert isinstance(outcome.error, ImageError)
    assert (record.outcome, record.bytes, record.sha256) == ("failed", None, None)


@pytest.mark.parametrize("apart", [True, False], ids=["in folders of their own", "in one folder"])
def test_merged_shards_are_the_unsharded_run(apart, photos, tmp_path, work):
    whole = plan_of(tmp_path, output=tmp_path / "whole")
    go(whole, photos, work)
    folders = [tmp_path / (f"part{i}" if apart else "part") for i in (1, 2)]
    for index, folder in enumerate(folders, 1):
        go(plan_of(tmp_path, output=folder, shard=Shard(index, 2)), photos, work)
    merged = merge(folders if apart else folders[:1], tmp_path / ("out" if apart else "part"))
    assert (merged.nb_done, merged.nb_failed, merged.missing, merged.absent) == (4, 0, (), ())
    output = tmp_path / ("out" if apart else "part")
    assert files_under(output) == files_under(tmp_path / "whole")
    whole_files = {format_.file_name for format_ in run_formats(FORMATS)}
    assert {path.name for path in merged.written} == whole_files
    assert go(plan_of(tmp_path, output=output), photos, work) == []


def test_merged_labels_lead_to_their_photographs_from_wherever_they_lie(photos, tmp_path, work):
    parts = [tmp_path / "deep/er" / str(index) for index in (1, 2)]
    for index, folder in enumerate(parts, 1):
        plan = plan_of(tmp_path, output=folder, shard=Shard(index, 2), formats=("labelme",))
        go(plan, photos, work)
    merge(parts, tmp_path / "out")
    for path in (tmp_path / "out/labelme").iterdir():
        image = path.parent / json.loads(path.read_text())["imagePath"]
        assert image.resolve() == (photos / f"{path.stem}.png").resolve()


def test_a_merge_names_what_is_missing_and_merges_it_later(photos, tmp_path, work):
    (photos / "a.png").write_bytes(b"no image")
    parts = [plan_of(tmp_path, shard=Shard(index, 2)) for index in (1, 2)]
    done = go(parts[0], photos, work)
    missing = {"a.png", "b.png", "c.png", "d.png"} - set(done)
    merged = merge([tmp_path / "out"], tmp_path / "out")
    assert set(merged.missing) == missing != set()
    assert merged.absent == (Shard(2, 2),)
    go(parts[1], photos, work)
    merged = merge([tmp_path / "out"], tmp_path / "out")
    assert (merged.nb_done, merged.nb_failed, merged.missing) == (3, 1, ())


def test_shards_of_different_runs_are_not_merged(photos, tmp_path, work):
    first, second = tmp_path / "1", tmp_path / "2"
    go(plan_of(tmp_path, output=first, shard=Shard(1, 2)), photos, work)
    other = SETTINGS | {"points_per_side": 2}
    go(plan_of(tmp_path, output=second, shard=Shard(2, 2), settings=other), photos, work)
    with pytest.raises(InputError, match="other settings: `points_per_side` 1, now 2"):
        merge([first, second], tmp_path / "out")
    with pytest.raises(InputError, match="no shard of a run in it"):
        merge([photos], tmp_path / "out")
    (photos / "0.png").write_bytes((photos / "a.png").read_bytes())
    third = tmp_path / "3"
    go(plan_of(tmp_path, output=third, shard=Shard(2, 2)), photos, work)
    with pytest.raises(InputError, match=r"image 1 is 0\.png there, and a\.png elsewhere"):
        merge([first, third], tmp_path / "out")
