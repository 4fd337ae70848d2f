"""A run's record in the cloud: its parts, and who writes to it. In processes of the tests' own."""

import json
import random
import threading
from contextlib import closing, suppress

import pytest

from amg_cli.batch.cloud import holder as remote_holder
from amg_cli.batch.cloud import tail
from amg_cli.batch.cloud.holder import RemoteHolder
from amg_cli.batch.cloud.mirror import Mirror
from amg_cli.batch.cloud.place import Place, UploadError
from amg_cli.batch.cloud.record_store import RecordStore
from amg_cli.batch.cloud.tail import Tail
from amg_cli.batch.holding import this_process
from amg_cli.core.errors import OutputError
from amg_cli.formats.manifest import FOLDER, IMAGES, Entry, Shard, read_entries, values_of
from amg_cli.formats.parts import JoinedFile, join_parts, lines_of, part_name, parts_of
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures

HOLDER = "run.ndjson.holder"


@pytest.fixture
def there(tmp_path):
    """A folder as an object store has one."""
    place = Place(f"local://{tmp_path}/there", tmp_path / "here")
    (tmp_path / "here").mkdir()
    return RecordStore(place)


def lines(number, start=0):
    """Of sixteen bytes each."""
    return [b'{"number": %03d}\n' % each for each in range(start, start + number)]


def test_a_file_in_parts_is_one_file(tmp_path):
    whole = b"".join(lines(20))
    path = tmp_path / "run.ndjson"
    for start, end in [(0, 48), (32, 48), (48, 128), (128, len(whole))]:  # the second in the first
        path.with_name(part_name(path.name, start)).write_bytes(whole[start:end])
    (tmp_path / "run.ndjson.lock").touch()
    (tmp_path / "run.ndjson.holder").touch()
    assert list(lines_of(path)) == lines(20)
    with closing(JoinedFile(path)) as joined:
        for at in (0, 32, 48, 160, 16):
            assert joined.read(at, 16) == whole[at : at + 16]
    join_parts(tmp_path)
    assert path.read_bytes() == whole
    assert [part for _, part in parts_of(path)] == [path]


def test_a_missing_part_is_said(tmp_path):
    path = tmp_path / "run.ndjson"
    path.write_bytes(b"".join(lines(3)))
    path.with_name(part_name(path.name, 64)).write_bytes(b"".join(lines(3)))
    with pytest.raises(ValueError, match="from byte 48 on is missing"):
        list(lines_of(path))


def test_a_tail_is_whole_at_every_moment_and_in_few_parts(tmp_path, there, monkeypatch):
    monkeypatch.setattr(tail, "FOLD_AT", 4)
    folder = tmp_path / "there" / FOLDER
    path = tmp_path / "run.ndjson"
    sent = Tail(there, path, path.name)
    chance = random.Random(1)
    number = 0
    for _ in range(60):
        more = chance.randint(0, 3)
        with path.open("ab") as file:
            file.writelines(lines(more, number))
            file.write(b'{"cut')  # as by a process that is about to write the rest
        number += more
        sent.send(sent.end())
        sent.fold_some()
        assert list(lines_of(folder / path.name)) == lines(number)
        path.write_bytes(path.read_bytes().removesuffix(b'{"cut'))
    assert len(parts_of(folder / path.name)) <= 60 // 5 + 5
    sent.fold()
    assert [part.name for part in folder.iterdir()] == ["run.ndjson"]
    path.write_bytes(b"anew\n")
    sent.begin_anew()
    assert list(lines_of(folder / path.name)) == [b"anew\n"]


def list_image(mirror, name, existed=False):
    """As `Manifest` does."""
    path = mirror.place.folder / FOLDER / IMAGES
    with path.open("a") as file:
        file.write(json.dumps(values_of(Entry(1, name, f"{name}.jpg", f"/{name}.jpg", existed))))
        file.write("\n")


def test_shards_that_list_other_images_at_one_time_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    url = f"local://{tmp_path}/there"
    with Mirror.held(url, Shard(1, 2)) as one, Mirror.held(url, Shard(2, 2)) as other:
        list_image(one, "a")
        one.listed()
        list_image(other, "b")
        with pytest.raises(OutputError, match="have listed different images; run the same again"):
            other.listed()
    assert [entry.name for entry in read_entries(tmp_path / "there")] == ["a"]
    with Mirror.held(url, Shard(2, 2)) as other:
        assert [entry.name for entry in read_entries(other.place.folder)] == ["a"]


def test_what_one_shard_sees_of_anothers_outputs_was_not_there_before(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    url = f"local://{tmp_path}/there"
    with Mirror.held(url, Shard(1, 2)) as one, Mirror.held(url, Shard(2, 2)) as other:
        list_image(one, "a")
        one.listed()
        list_image(other, "a", existed=True)
        other.listed()
    (entry,) = read_entries(tmp_path / "there")
    assert entry == Entry(1, "a", "a.jpg", "/a.jpg", False)


class KilledError(Exception):
    """A process that ends between two requests."""


def test_a_run_that_is_killed_between_any_two_requests_has_a_record(tmp_path, there, monkeypatch):
    path = tmp_path / "run.ndjson"
    names = ("write", "write_file", "_remove")
    calls = {name: getattr(RecordStore, name) for name in names}
    for last in range(1, 14):
        left = [last]

        def dying(call):
            def made(*given):
                if not left[0]:  # noqa: B023
                    raise KilledError
                left[0] -= 1  # noqa: B023
                return call(*given)

            return made

        for name in names:
            monkeypatch.setattr(RecordStore, name, dying(calls[name]))
        folder = tmp_path / "there" / FOLDER
        for part in folder.glob("*"):
            part.unlink()
        path.write_bytes(b"")
        sent, number = Tail(there, path, path.name), 0
        with suppress(KilledError):
            for _ in range(6):
                with path.open("ab") as file:
                    file.writelines(lines(2, number))
                sent.send(sent.end())
                number += 2
            sent.fold()
            number = -1
            path.write_bytes(b"anew\n")
            sent.begin_anew()
        found = list(lines_of(folder / path.name))
        assert found in ([b"anew\n"], lines(12)) if number < 0 else found == lines(number)


def holder_in(there):
    return RemoteHolder(there, HOLDER, "s3://shown")


def test_who_writes_is_named_and_its_end_lets_others(there, monkeypatch):
    monkeypatch.setattr(remote_holder, "BEAT_S", 0.05)
    monkeypatch.setattr(remote_holder, "DEAD_S", 2.0)
    monkeypatch.setattr(remote_holder, "LOOK_S", 0.2)
    monkeypatch.setattr(
        remote_holder, "this_process", lambda: {"pid": 7, "host": "another machine"}
    )
    with holder_in(there).held():
        with pytest.raises(OutputError) as refused, holder_in(there).held():
            pass
        assert str(refused.value) == (
            "s3://shown: another run is writing to it: process 7 on another machine; "
            "wait for its end, or give another `output`"
        )
    assert there.sizes() == {}
    with holder_in(there).held():
        assert there.sizes().keys() == {HOLDER}


def test_a_dead_holder_is_replaced_and_sees_that_if_it_was_not_dead(there, monkeypatch):
    monkeypatch.setattr(remote_holder, "BEAT_S", 0.3)
    monkeypatch.setattr(remote_holder, "DEAD_S", 0.6)
    monkeypatch.setattr(remote_holder, "LOOK_S", 0.1)
    there.write(HOLDER, json.dumps({"pid": 7, "host": "another machine", "run": "x"}).encode())
    with holder_in(there).held() as first:
        first.check()
        there.write(HOLDER, json.dumps({"pid": 8, "host": "a third", "run": "y"}).encode())
        threading.Event().wait(1.0)
        with pytest.raises(OutputError, match="process 8 on a third"):
            first.check()
    assert there.sizes().keys() == {HOLDER}  # the other's


def test_a_holder_on_this_machine_that_is_dead_is_known_at_once(there):
    gone = {**this_process(), "pid": 2**22 + 1, "run": "x"}  # more than there can be
    there.write(HOLDER, json.dumps(gone).encode())
    with holder_in(there).held():
        pass


def test_an_s3_server_makes_one_of_two_holders(store, tmp_path):  # noqa: F811
    there = RecordStore(Place(f"s3://{store.bucket('masks')}/x", tmp_path))
    there.create(HOLDER, b"one")
    there.create(HOLDER, b"two")
    assert there.read(HOLDER) == b"one"
    there.write(HOLDER, b"three")
    assert there.read(HOLDER) == b"three"
    there.remove([HOLDER])
    there.remove([HOLDER])
    assert there.read(HOLDER) is None
    assert there.sizes() == {}


@pytest.mark.slow
def test_what_cannot_be_sent_is_an_error_of_that_image(store, tmp_path):  # noqa: F811
    place = Place(f"s3://{store.bucket('masks')}/x", tmp_path)
    (tmp_path / "a.json").write_text("{}")
    store.network.share_503 = 1.0
    with pytest.raises(UploadError) as refused:
        place.put([tmp_path / "a.json"])
    assert str(refused.value) == (
        "s3://masks/x/a.json: the server answers 503; all else is done; run the same again"
    )
