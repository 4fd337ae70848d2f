"""Outputs in the cloud: those of a disk, whatever the network does and whenever a run is killed."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from amg_cli.formats.manifest import FOLDER, Shard, read_entries, read_records
from amg_cli.formats.parts import join_parts
from amg_cli.formats.table import FORMATS, image_formats, run_formats
from tests.command import AMG, SMALL_MODEL, amg, error_lines, files_under, save
from tests.object_store import KEY, SECRET, one_object_store, store  # noqa: F401 - fixtures

THRESHOLDS = ["--pred-iou-thresh", "0.5", "--stability-score-thresh", "0.5"]
FAST = [*SMALL_MODEL, "--points-per-side", "4", *THRESHOLDS, "--threads", "1"]
# A folder, a file, and a file of the whole run.
THREE = ["--format", "png", "--format", "rle", "--format", "coco"]
EXAMPLES = Path(__file__).parent.parent / "examples/images"
BUCKET, URL = "masks", "s3://masks/of photos/1"
PREFIX = "of photos/1/"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Six of different sizes, two in a folder."""
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(("a", "b", "c", "d", "more/e", "more/ä #f?")):
        image = cv2.imread(str(sorted(EXAMPLES.glob("*.jpg"))[number % 2]))
        save(tmp_path / f"photos/{name}.jpg", cv2.resize(image, (150 + 10 * number, 120)))
    return tmp_path / "photos"


@pytest.fixture
def bucket(store):  # noqa: F811
    store.bucket(BUCKET)
    return store


def command(*arguments, output=URL):
    return [*FAST, "--input", "photos", "--recursive", "--output", output, *map(str, arguments)]


def run(*arguments, cwd, output=URL):
    return amg(*command(*arguments, output=output), cwd=cwd)


def objects(store, prefix=PREFIX):  # noqa: F811
    """All below a prefix, with their bytes, but for the record."""
    keys = store.keys(BUCKET, prefix)
    keys = [key for key in keys if f"/{FOLDER}/" not in key]
    return {key.removeprefix(prefix): store.get(BUCKET, key) for key in keys}


def copied(store, folder, prefix=PREFIX):  # noqa: F811
    """The same on the disk, with the record. -> the folder"""
    for key in store.keys(BUCKET, prefix):
        path = folder / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(BUCKET, key))
    return folder


def done_in(folder):
    """What a record says, but for times and order."""
    entries = {entry.number: entry for entry in read_entries(folder)}
    records = read_records(folder, Shard())
    done = {
        entries[number].file_name: (number, r.outcome, r.bytes, r.mtime_ns, r.sha256, r.masks)
        for number, r in records.of_image.items()
    }
    return done, records.ended, records.settings


def assert_no_secret(text):
    assert SECRET not in text
    assert KEY not in text


@pytest.mark.slow
def test_outputs_in_a_bucket_are_those_on_a_disk(photos, tmp_path, bucket):
    formats = [word for name in FORMATS for word in ("--format", name)]
    there = run(*formats, "--workers", "2", cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    here = run(*formats, "--workers", "2", cwd=tmp_path, output="out")
    assert here.returncode == 0, here.stderr
    ours, theirs = files_under(tmp_path / "out"), objects(bucket)
    assert ours.keys() == theirs.keys()
    different = {name for name in ours if ours[name] != theirs[name]}
    assert len(different) == 6  # which say where the photograph is, from where they lie
    for name in different:
        one, other = json.loads(ours[name]), json.loads(theirs[name])
        assert Path(other.pop("imagePath")).is_absolute()
        del one["imagePath"]
        assert one == other
    lines = [line.replace("out/", f"{URL}/", 1) for line in here.stdout.splitlines()]
    assert there.stdout.splitlines() == lines
    assert not list((tmp_path / "cache/outputs").glob("*/"))

    copy = copied(bucket, tmp_path / "copy")
    assert done_in(copy) == done_in(tmp_path / "out")
    assert sorted(path.name for path in (copy / FOLDER).glob("[ir]*")) == [
        "images.ndjson", "run.ndjson",
    ]  # fmt: skip
    for path in (copy / FOLDER).iterdir():
        assert_no_secret(path.read_text())
    assert_no_secret(there.stdout + there.stderr)

    again = run(*formats, "--workers", "2", cwd=tmp_path)
    assert again.stdout == ""
    assert "0 done (0 masks), 6 done before" in again.stderr
    assert objects(bucket) == theirs


def test_a_copy_is_a_runs_folder_that_is_gone_on_with(photos, tmp_path, bucket):
    first = run(*THREE, "--shard", "1/2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    copied(bucket, tmp_path / "out")
    for shard in ("1/2", "2/2"):
        assert run(*THREE, "--shard", shard, cwd=tmp_path, output="out").returncode == 0
    assert amg("merge", "out", cwd=tmp_path).returncode == 0
    assert run(*THREE, cwd=tmp_path, output="whole").returncode == 0
    assert files_under(tmp_path / "out") == files_under(tmp_path / "whole")


@pytest.mark.slow
def test_shards_in_a_bucket_are_merged_there(photos, tmp_path, bucket):
    for shard in ("2/2", "1/2"):
        result = run(*THREE, "--shard", shard, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        merged = amg("merge", URL, cwd=tmp_path)
        assert merged.returncode == (3 if shard == "2/2" else 0), merged.stderr
    assert merged.stdout == f"{URL}/annotations.json\n"
    assert merged.stderr == "amg: 6 done, 0 failed, 0 missing\n"
    assert run(*THREE, cwd=tmp_path, output="whole").returncode == 0
    assert objects(bucket) == files_under(tmp_path / "whole")
    assert done_in(copied(bucket, tmp_path / "copy")) == done_in(tmp_path / "whole")
    assert "0 done (0 masks), 6 done before" in run(*THREE, cwd=tmp_path).stderr


@pytest.mark.slow
def test_faults_that_pass_lose_nothing(photos, tmp_path, bucket):
    bucket.network.share_503, bucket.network.share_cut = 0.2, 0.2
    bucket.network.latency_s = 0.02
    result = run(*THREE, "--workers", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    bucket.network.be_well()
    assert run(*THREE, "--workers", "2", cwd=tmp_path, output="out").returncode == 0
    assert objects(bucket) == files_under(tmp_path / "out")


@pytest.mark.slow
def test_an_image_whose_outputs_cannot_be_sent_is_a_line_and_is_done_the_next_time(
    photos, tmp_path, bucket
):
    bucket.network.share_503, bucket.network.only = 1.0, "PUT b.json"
    result = run("--format", "rle", cwd=tmp_path)
    assert result.returncode == 3
    (line,) = error_lines(result)
    assert line == (
        f"amg: {URL}/b.json: the server answers 503; all else is done; run the same again"
    )
    assert sorted(objects(bucket)) == [
        "a.json", "c.json", "d.json", "more/e.json", "more/ä #f?.json",
    ]  # fmt: skip
    bucket.network.be_well()
    again = run("--format", "rle", cwd=tmp_path)
    assert again.stdout == f"{URL}/b.json\n"
    assert "1 done" in again.stderr
    assert "5 done before" in again.stderr


@pytest.mark.slow
def test_a_record_that_cannot_be_sent_ends_the_run_in_a_line(photos, tmp_path, bucket):
    bucket.network.share_503, bucket.network.only = 1.0, "PUT run.ndjson"
    result = run("--format", "rle", cwd=tmp_path)
    assert result.returncode == 1
    assert error_lines(result)[-1].startswith(f"amg: {URL}: the server answers 503; ")
    assert_no_secret(result.stderr)
    bucket.network.be_well()
    assert run("--format", "rle", cwd=tmp_path).returncode == 0
    assert len(objects(bucket)) == 6


def test_no_bucket_no_rights_and_no_credentials_are_a_line_each(
    photos, tmp_path, bucket, monkeypatch
):
    missing = run("--format", "rle", cwd=tmp_path, output="s3://nothing-of-the-kind/x")
    assert missing.returncode == 1
    assert error_lines(missing) == [
        "amg: s3://nothing-of-the-kind/x: no such bucket, container or repository; "
        "check the address"
    ]
    bucket.refuse_strangers()
    denied = run("--format", "rle", cwd=tmp_path)
    assert denied.returncode == 1
    assert error_lines(denied) == [
        f"amg: {URL}: access is denied; check the credentials and their rights"
    ]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    nobody = run("--format", "rle", cwd=tmp_path)
    assert nobody.returncode == 1
    (line,) = error_lines(nobody)
    assert line.startswith(f"amg: {URL}: no credentials for it are found; ")


@pytest.mark.slow
def test_what_no_run_has_made_is_kept_skipped_or_replaced(photos, tmp_path, bucket):
    bucket.put(BUCKET, f"{PREFIX}a.json", b"mine")
    kept = run("--format", "rle", cwd=tmp_path)
    assert kept.returncode == 3
    cause = "1 image has output in it that no recorded run has made"
    assert error_lines(kept) == [f"amg: {URL}: {cause}; give --on-exists skip or overwrite"]
    assert run("--format", "rle", "--on-exists", "skip", cwd=tmp_path).returncode == 0
    assert objects(bucket)["a.json"] == b"mine"
    assert run("--format", "rle", "--on-exists", "overwrite", cwd=tmp_path).returncode == 0
    assert objects(bucket)["a.json"] != b"mine"


@pytest.mark.slow
def test_other_settings_are_refused_or_begin_anew_and_leave_no_file_of_before(
    photos, tmp_path, bucket
):
    assert run(*THREE, cwd=tmp_path).returncode == 0
    before = objects(bucket)
    other = [*THREE, "--points-per-side", "2"]
    refused = run(*other, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"amg: {URL}: what is in it was made with --points-per-side 4, now 2; "
    )
    assert objects(bucket) == before
    assert run(*other, "--on-exists", "overwrite", cwd=tmp_path).returncode == 0
    assert run(*other, cwd=tmp_path, output="out").returncode == 0
    assert objects(bucket) == files_under(tmp_path / "out")
    assert len(objects(bucket)) < len(before)
    assert done_in(copied(bucket, tmp_path / "copy")) == done_in(tmp_path / "out")


@pytest.mark.slow
def test_a_changed_image_is_done_again_and_a_failed_one_when_asked(photos, tmp_path, bucket):
    (photos / "a.jpg").write_bytes(b"no image")
    first = run(*THREE, cwd=tmp_path)
    assert first.returncode == 3
    assert "1 failed" in run(*THREE, cwd=tmp_path).stderr
    (photos / "a.jpg").write_bytes((photos / "b.jpg").read_bytes())
    (photos / "c.jpg").write_bytes((photos / "d.jpg").read_bytes())
    again = run(*THREE, "--retry-failed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 done" in again.stderr
    assert run(*THREE, cwd=tmp_path, output="out").returncode == 0
    assert objects(bucket) == files_under(tmp_path / "out")


def test_an_image_without_masks_is_done_once(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "photos/grey.png", np.full((90, 90, 3), 128, np.uint8))
    arguments = ["--format", "cutout", "--pred-iou-thresh", "9"]
    assert run(*arguments, cwd=tmp_path).returncode == 0
    assert objects(bucket) == {}
    assert "0 done (0 masks), 1 done before" in run(*arguments, cwd=tmp_path).stderr


@pytest.mark.slow
def test_before_outputs_are_replaced_their_record_is_taken_back(photos, tmp_path, bucket):
    assert run("--format", "png", cwd=tmp_path).returncode == 0
    (photos / "c.jpg").write_bytes((photos / "d.jpg").read_bytes())
    bucket.network.share_503, bucket.network.only = 1.0, "PUT masks/of%20photos/1/c/"
    assert run("--format", "png", cwd=tmp_path).returncode == 3
    done, _, _ = done_in(copied(bucket, tmp_path / "copy"))
    assert sorted(done) == ["a.jpg", "b.jpg", "d.jpg", "more/e.jpg", "more/ä #f?.jpg"]
    bucket.network.be_well()
    assert run("--format", "png", cwd=tmp_path).returncode == 0
    assert run("--format", "png", cwd=tmp_path, output="out").returncode == 0
    assert objects(bucket) == files_under(tmp_path / "out")


def test_what_a_disk_alone_can_have_is_refused_in_a_line(photos, tmp_path, bucket):
    for arguments, line in [
        (command("--format", "rle", "--view"), "--view needs a folder of this disk to write to"),
        (("merge", URL, "out"), "shards in the cloud are merged where they are: give that alone"),
        (command(output="https://h/x"), "https://h/x: https:// can only be read; "),
        (("view", URL), "is an address, not a file; "),
        (("convert", URL, "--format", "coco", "--output", "x"), "is an address, not a file; "),
        (("select", URL, "--output", "x"), "is an address, not a file; "),
        (command("--workers", 2, output="memory://x"), "memory:// is of one process: give --work"),
    ]:
        result = amg(*arguments, cwd=tmp_path)
        assert result.returncode in (1, 2), arguments
        assert line in result.stderr.splitlines()[-1], arguments
    dry = run("--dry-run", cwd=tmp_path)
    assert dry.returncode == 0
    assert f"6 images, to {URL} as png" in dry.stderr
    assert bucket.keys(BUCKET) == []


def test_any_file_system_of_fsspec_will_do(photos, tmp_path):
    url = f"local://{tmp_path}/there"
    for _ in range(2):
        assert run(*THREE, cwd=tmp_path, output=url).returncode == 0
    assert run(*THREE, cwd=tmp_path, output="out").returncode == 0
    assert files_under(tmp_path / "there") == files_under(tmp_path / "out")
    assert done_in(tmp_path / "there") == done_in(tmp_path / "out")


def whole_in(folder, reference):
    """The images that a record says are done, of which every output must be as it is elsewhere."""
    entries = {entry.number: entry for entry in read_entries(folder)}
    done = [entries[n] for n, r in read_records(folder, Shard()).of_image.items()]
    for entry in done:
        for format_ in image_formats(("png", "rle")):
            target = Path(format_.target(folder, entry.name))
            same = Path(format_.target(reference, entry.name))
            if same.is_dir():
                assert files_under(target) == files_under(same)
            else:
                assert target.read_bytes() == same.read_bytes()
    return {entry.file_name for entry in done}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs signals")
def test_a_run_that_is_killed_at_any_moment_loses_and_doubles_nothing(photos, tmp_path, bucket):
    for number in range(6, 24):
        save(photos / f"more/{number}.jpg", cv2.imread(str(photos / "abcd"[number % 4]) + ".jpg"))
    assert run(*THREE, cwd=tmp_path, output="whole").returncode == 0
    bucket.network.latency_s = 0.05
    moments = random.Random(7)
    seen = set()
    for kill in range(12):
        arguments = command(*THREE, "--workers", "2", "--quiet")
        process = subprocess.Popen([AMG, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL)
        time.sleep(moments.uniform(1, 9))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = whole_in(copied(bucket, tmp_path / f"copy{kill}"), tmp_path / "whole")
        assert seen <= done
        seen = done
    bucket.network.be_well()
    result = run(*THREE, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert objects(bucket) == files_under(tmp_path / "whole")
    copy = copied(bucket, tmp_path / "copy")
    join_parts(copy / FOLDER)
    assert done_in(copy) == done_in(tmp_path / "whole")
    numbers = [json.loads(line)["number"] for line in (copy / FOLDER / "images.ndjson").open()]
    assert numbers == sorted(set(numbers))
    assert not list((tmp_path / "cache/outputs").glob("*/"))
    assert run_formats(("coco",))
