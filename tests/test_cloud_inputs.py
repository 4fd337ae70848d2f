"""Images in a bucket, on the web, in tars and zips, over a network that fails."""

import hashlib
import io
import os
import signal
import subprocess
import tarfile
import threading
import time
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from amg_cli.batch.engines.choice import run_on
from amg_cli.batch.engines.local import Work
from amg_cli.batch.engines.workers import Engine
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.reading import Reading, read_picture
from amg_cli.batch.run import Plan, Run
from amg_cli.batch.sources import copies, fetching
from amg_cli.batch.sources.address import located
from amg_cli.batch.sources.images import discover
from amg_cli.batch.sources.inputs import arriving_sources, far_shards, find_sources
from amg_cli.batch.sources.shards import expanded, images_in, images_in_all
from amg_cli.core.errors import InputError
from tests.command import AMG, FEW_POINTS, SMALL_MODEL, files_under, save
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures
from tests.test_run import ALL_MASKS, SETTINGS

NAMES = ("a.png", "b.png", "c.png", "sub/d.png")


@pytest.fixture
def photos(tmp_path, noise):
    """A local folder, and its files' bytes by name."""
    for number, name in enumerate(NAMES):
        save(tmp_path / "photos" / name, noise[2 * number :])
    return {name: (tmp_path / "photos" / name).read_bytes() for name in NAMES}


@pytest.fixture
def bucket(store, photos):  # noqa: F811
    """A bucket with the same below a prefix, and what is no image."""
    store.bucket("bucket")
    for name, data in photos.items():
        store.put("bucket", f"photos/{name}", data)
    store.put("bucket", "photos/notes.txt", b"none")
    store.put("bucket", "photos/.hidden.png", photos["a.png"])
    store.network.requests.clear()
    return store


@pytest.fixture
def go(tmp_path, tiny_model):
    """Do a run over sources. -> its outcomes, those that there was work for"""

    def go(batches, workers=1, output="out", reading=None, stop_after=None):
        plan = Plan(tmp_path / output, ("rle",), SETTINGS)
        work = Work(
            tiny_model,
            Everything(ALL_MASKS),
            tuple(plan.image_formats),
            reading=reading or Reading(),
        )
        found = []
        with Run.opened(plan) as run:
            jobs = (
                run.job(*pair)
                for sources in batches
                for pair in run.listed(sources)
                if run.status(*pair) == "to do"
            )
            outcomes = run_on(Engine(workers, 1), jobs, work)
            for outcome in outcomes:
                run.record(outcome)
                found.append(outcome)
                if len(found) == stop_after:
                    break
            outcomes.close()
        return found

    return go


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def said(outcomes):
    return [str(outcome.error) for outcome in outcomes if outcome.error]


def names(outcomes):
    return [outcome.job.name for outcome in outcomes if outcome.result]


def test_a_bucket_is_listed_as_a_folder_is(bucket, tmp_path):
    for recursive in (False, True):
        found = find_sources(["s3://bucket/photos/"], None, recursive)
        local = discover([tmp_path / "photos"], recursive)
        assert [s.relative for s in found] == [s.relative for s in local]
        assert all(s.identity == f"s3://bucket/photos/{s.relative}" for s in found)
    without_slash = find_sources(["s3://bucket/photos"], None, recursive=True)
    assert without_slash == found
    (alone,) = find_sources(["s3://bucket/photos/sub/d.png"], None, recursive=False)
    assert (alone.relative, alone.facts.size) == ("d.png", found[-1].facts.size)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bucket_gives_what_the_folder_gives_in_one_request_an_image(
    bucket, tmp_path, go, workers
):
    there = find_sources(["s3://bucket/photos/"], None, recursive=True)
    bucket.network.requests.clear()
    assert names(go([there], workers)) == ["a", "b", "c", "sub/d"]
    assert sorted(bucket.network.requests) == [f"GET /bucket/photos/{name}" for name in NAMES]
    go([discover([tmp_path / "photos"], recursive=True)], output="here")
    assert files_under(tmp_path / "out") == files_under(tmp_path / "here")
    assert go([find_sources(["s3://bucket/photos/"], None, recursive=True)]) == []
    assert copies._Folder.path is None  # with every copy


def test_an_object_that_was_changed_is_done_again_and_nothing_else(bucket, go, photos):
    def listed():
        return [find_sources(["s3://bucket/photos/"], None, recursive=False)]

    assert len(go(listed(), stop_after=2)) == 2
    bucket.put("bucket", "photos/a.png", photos["sub/d.png"])
    assert names(go(listed())) == ["a", "c"]
    urls = b"s3://bucket/photos/a.png\n" + f"{bucket.endpoint}/bucket/photos/b.png".encode()
    lists = lambda: [list(arriving_sources(io.BytesIO(urls), null=False))]  # noqa: E731
    assert len(names(go(lists(), output="by_list"))) == 2
    assert go(lists(), output="by_list") == []
    bucket.put("bucket", "photos/a.png", photos["b.png"])
    assert names(go(lists(), output="by_list")) == ["bucket/photos/a"]


def test_an_object_of_another_prefix_is_another_image(bucket, go, photos):
    def listed(prefix):
        return [find_sources([f"s3://bucket/{prefix}/"], None, recursive=False)]

    assert names(go(listed("photos"))) == ["a", "b", "c"]
    bucket.put("bucket", "others/a.png", photos["a.png"])
    assert names(go(listed("others"))) == ["a.png"]


def test_odd_keys_are_names_that_lead_out_of_no_folder(bucket, tmp_path, go, photos):
    bucket.put("bucket", "odd/sp ace+%41#?é.png", photos["a.png"])
    outcomes = go([find_sources(["s3://bucket/odd/"], None, recursive=True)])
    assert said(outcomes) == []
    assert list(files_under(tmp_path / "out")) == ["sp ace+%41#?é.json"]
    urls = b"s3://bucket/odd/../../up.png\ns3://bucket//two/./a.png\nhttps://h/%2e%2e/a%2Fb.png"
    listed = arriving_sources(io.BytesIO(urls), null=False)
    assert [s.relative for s in listed] == [
        "bucket/odd/~~/~~/up.png",
        "bucket/two/a.png",
        "h/~~/a/b.png",
    ]


def test_a_network_that_refuses_and_cuts_costs_time_alone(bucket, go):
    there = find_sources(["s3://bucket/photos/"], None, recursive=True)
    urls = "\n".join(f"{bucket.endpoint}/bucket/photos/{name}" for name in NAMES).encode()
    web = list(arriving_sources(io.BytesIO(urls), null=False))
    bucket.network.share_503 = bucket.network.share_cut = 0.2
    outcomes = go([there, web])
    assert said(outcomes) == []
    assert len(outcomes) == 8
    assert len(bucket.network.requests) > 12


def test_what_fails_is_one_line_and_the_rest_is_done(bucket, go, photos):
    bucket.put("bucket", "photos/half.png", photos["a.png"][:400])
    bucket.put("bucket", "photos/empty.png", b"")
    header = cv2.imencode(".bmp", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    large = header[:18] + (9000).to_bytes(4, "little") * 2 + header[26:]
    bucket.put("bucket", "photos/large.bmp", large)
    there = find_sources(["s3://bucket/photos/"], None, recursive=True)
    bucket.client.delete_object(Bucket="bucket", Key="photos/b.png")
    outcomes = go([there], workers=2, reading=Reading(max_pixels=10**6))
    at = "s3://bucket/photos"
    assert said(outcomes) == [
        f"{at}/b.png: no such object; it may have been moved since",
        f"{at}/empty.png: empty file; re-export or download it again",
        f"{at}/half.png: truncated PNG; re-export or download it again",
        f"{at}/large.bmp: 9000 x 9000 pixels are more than the limit of 1 million; "
        "raise `max_megapixels` if you trust it",
    ]
    assert names(outcomes) == ["a", "c", "sub/d"]


def test_an_object_that_is_too_large_is_not_even_asked_for(bucket, go):
    there = find_sources(["s3://bucket/photos/"], None, recursive=False)
    bucket.network.requests.clear()
    huge = replace(there[0], facts=there[0].facts._replace(size=10**12))
    (error,) = said(go([[huge]]))
    assert "1000.0 GB are more than an image" in error
    assert bucket.network.requests == []


def test_a_server_that_only_refuses_fails_each_image(bucket, go, monkeypatch):
    monkeypatch.setattr("amg_cli.batch.cloud.remote.FIRST_WAIT_S", 0.01)
    urls = f"{bucket.endpoint}/bucket/photos/a.png\n{bucket.endpoint}/bucket/photos/b.png"
    web = list(arriving_sources(io.BytesIO(urls.encode()), null=False))
    bucket.network.share_503, bucket.network.only = 1, "GET a.png"
    outcomes = go([web])
    assert said(outcomes) == [
        f"{bucket.endpoint}/bucket/photos/a.png: the server answers 503; try again later"
    ]
    assert len(names(outcomes)) == 1


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ("s3://nowhere/photos/", "no such bucket, container or repository; check the address"),
        ("s3://bucket/none/a.png", "no such object; it may have been moved since"),
        ("s3://bucket/empty/", "no image in it (looked for .bmp"),
        ("xyz://a/b.png", "xyz:// is no kind of address that is known; check the address"),
    ],
)
def test_an_input_that_is_not_there_is_said(bucket, given, cause):
    bucket.put("bucket", "empty/a.txt", b"no")
    with pytest.raises(InputError) as raised:
        find_sources([given], None, recursive=False)
    assert str(raised.value).startswith(f"{given}: {cause}")


def test_the_folder_of_the_web_has_no_list(bucket):
    with pytest.raises(InputError, match="which the web cannot list; list its images by"):
        find_sources([f"{bucket.endpoint}/bucket/photos/"], None, recursive=False)


def test_what_is_fetched_ahead_is_bounded(bucket, go, photos, monkeypatch):
    for number in range(30):
        bucket.put("bucket", f"many/{number:02d}.png", photos["a.png"])
    size = len(photos["a.png"])
    monkeypatch.setattr(fetching, "MOST_BYTES", 3 * size)
    most = 0
    before, lock = fetching.fetch, threading.Lock()

    def fetch(address):
        nonlocal most
        with lock:
            there = copies._Folder.path.glob("[0-9]*")
            most = max(most, sum(path.stat().st_size for path in there if path.exists()))
        return before(address)

    monkeypatch.setattr(fetching, "fetch", fetch)
    outcomes = go([find_sources(["s3://bucket/many/"], None, recursive=False)])
    assert len(names(outcomes)) == 30
    assert size <= most <= 4 * size


def test_latency_is_hidden_by_asking_ahead(bucket, go, photos):
    for number in range(40):
        bucket.put("bucket", f"many/{number:02d}.png", photos["a.png"])
    there = find_sources(["s3://bucket/many/"], None, recursive=False)
    bucket.network.latency_s = 0.2
    assert len(names(go([there]))) == 40
    assert bucket.network.most_at_once >= 8


# Tars and zips


def tar_of(photos, extra=()):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in [*photos.items(), *extra]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def test_braces_are_as_in_a_shell():
    assert expanded("s3://b/{08..11}.tar") == [f"s3://b/{n}.tar" for n in ("08", "09", "10", "11")]
    assert expanded("{a,b}/{2..1}") == ["a/2", "a/1", "b/2", "b/1"]
    assert expanded("{a}.tar") == ["{a}.tar"]


def test_shards_here_and_there_give_what_the_folder_gives(bucket, tmp_path, go, photos):
    items = list(photos.items())
    for number in range(2):
        data = tar_of(dict(items[2 * number :][:2]), [("a.json", b"{}"), (".x.png", b"no")])
        (tmp_path / f"{number:03d}.tar").write_bytes(data)
        bucket.put("bucket", f"{number:03d}.tar", data)
    here = find_sources([tmp_path / "{000..001}.tar"], None, recursive=False)
    assert read_picture(located(here[0].identity), Reading()).sha256 == sha256(items[0][1])
    assert [s.relative for s in here] == ["000/a.png", "000/b.png", "001/c.png", "001/sub/d.png"]
    go([here], output="here")
    given = ["s3://bucket/{000..001}.tar"]
    assert find_sources(given, None, recursive=False) == []
    shards = far_shards(given)
    outcomes = go(images_in_all(shards), workers=2)
    assert names(outcomes) == ["000/a", "000/b", "001/c", "001/sub/d"]
    assert files_under(tmp_path / "out") == files_under(tmp_path / "here")
    assert go(images_in_all(shards)) == []
    assert sum("GET /bucket/000.tar" in each for each in bucket.network.requests) == 2


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_come_through_a_bad_network(bucket, tmp_path, go, photos, kind):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for name, data in photos.items():
            made.writestr(name, data)
    bucket.put("bucket", "x.zip", tmp_path / "x.zip")
    bucket.put("bucket", "x.tar", tar_of(photos))
    bucket.network.share_503, bucket.network.share_cut = 0.2, 0.5
    if kind == "tar":
        outcomes = go(images_in_all(["s3://bucket/x.tar"]))
    else:
        outcomes = go([find_sources(["zip://::s3://bucket/x.zip"], None, recursive=True)])
    assert said(outcomes) == []
    assert len(names(outcomes)) == 4


def test_a_tar_that_is_cut_is_one_line_and_what_is_before_is_done(bucket, go, photos, tmp_path):
    whole = tar_of(photos)
    for place, lines in ((0.55, 2), (0.85, 2)):
        bucket.put("bucket", "cut.tar", whole[: int(place * len(whole))])
        there = go(
            images_in_all(["s3://bucket/cut.tar", "s3://bucket/none.tar"]), output=str(place)
        )
        assert len(said(there)) == lines + 1
        assert names(there)[0] == "cut/a"
    assert said(there)[-2:] == [
        "s3://bucket/cut.tar: truncated tar: what comes after is not in it; "
        "make or download it again",
        "s3://bucket/none.tar: no such object; the other tars are done",
    ]
    (tmp_path / "no.tar").write_bytes(photos["a.png"])
    (source,) = images_in(str(tmp_path / "no.tar"))
    assert source.fault[0] == "damaged, empty, or compressed, and no plain tar"


def test_zips_here_and_there(bucket, tmp_path, go, photos):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for name, data in photos.items():
            made.writestr(f"in/{name}", data)
    bucket.put("bucket", "x.zip", tmp_path / "x.zip")
    for number, where in enumerate((tmp_path / "x.zip", "s3://bucket/x.zip")):
        found = find_sources([f"zip://in::{where}"], None, recursive=True)
        assert [s.relative for s in found] == list(NAMES)
        assert names(go([found], output=f"zip{number}")) == ["a", "b", "c", "sub/d"]
    (alone,) = find_sources([f"zip://in/a.png::{tmp_path / 'x.zip'}"], None, recursive=False)
    assert alone.relative == "a.png"
    everything = find_sources([f"zip://::{tmp_path / 'x.zip'}"], None, recursive=True)
    assert [s.relative for s in everything] == [f"in/{name}" for name in NAMES]


def test_a_damaged_zip_is_said(bucket, tmp_path, go, photos):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for name in ("a.png", "b.png"):
            made.writestr(name, photos[name])
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[200] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(data)
    outcomes = go([find_sources([f"zip://::{tmp_path / 'bad.zip'}"], None, recursive=False)])
    assert said(outcomes) == [
        f"zip://a.png::{tmp_path}/bad.zip: damaged or truncated zip; make or download it again"
    ]
    assert names(outcomes) == ["b"]
    (tmp_path / "cut.zip").write_bytes(data[:-30])
    with pytest.raises(InputError, match="damaged or truncated zip"):
        find_sources([f"zip://::{tmp_path / 'cut.zip'}"], None, recursive=False)


# The command


def test_the_command_over_a_bucket_and_the_web(bucket, run, tmp_path):
    url = f"{bucket.endpoint}/bucket/photos/c.png?X-Amz-Signature=hunter2&token=hunter2"
    bucket.put("bucket", "photos/bad.png", b"no image")
    given = ["--input", "s3://bucket/photos/", "--input", url, "--input", tmp_path / "photos/a.png"]
    arguments = [*given, "--output", "out", "--format", "rle", "--format", "coco"]
    result = run(*arguments)
    assert "amg: s3://bucket/photos/bad.png: not a JPEG, PNG, WebP" in result.stderr
    assert result.returncode == 3
    assert "5 done" in result.stderr
    shown = url.partition("?")[0]
    record = (tmp_path / "out" / ".amg" / "images.ndjson").read_text()
    assert f'"path":"{shown}"' in record
    again = run(*arguments)
    assert (again.returncode, again.stdout) == (3, "")
    assert "5 done before" in again.stderr
    every = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"hunter2" not in every
    assert "hunter2" not in result.stdout + result.stderr + again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_waits_for_no_network_and_leaves_no_copies(
    bucket, tmp_path, workers, number, monkeypatch
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    bucket.network.latency_s, bucket.network.only = 60, "GET b.png"
    arguments = ["--input", "s3://bucket/photos/", "--output", "out", "--workers", workers]
    command = [AMG, *SMALL_MODEL, *FEW_POINTS, *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "out/a\n"  # and b is waited for
    start = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - start < 12
    left = list((tmp_path / "temporary").glob("amg-copies-*"))
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; finished images are kept" in said
        assert left == []
    bucket.network.be_well()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, "2 done (" in again.stderr) == (0, True)
    assert list((tmp_path / "temporary").glob("amg-copies-*")) == []


def test_missing_credentials_and_rights_are_one_line(bucket, run, monkeypatch):
    bucket.refuse_strangers()
    result = run("--input", "s3://bucket/photos/", "--output", "out")
    assert (result.returncode, result.stderr) == (
        1,
        "amg: s3://bucket/photos/: access is denied; check the credentials and their rights\n",
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    result = run("--input", "s3://bucket/photos/", "--output", "out")
    assert (result.returncode, result.stderr) == (
        1,
        "amg: s3://bucket/photos/: no credentials for it are found; log in, or set the service's "
        "variables\n",
    )
    assert os.environ["AWS_ENDPOINT_URL"] == bucket.endpoint
