"""Images of Parquet and CSV files and of saved data sets, and the ids that results keep."""

import csv
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amg_cli.batch.sources.address import located
from amg_cli.batch.sources.data_sets import Columns
from amg_cli.batch.sources.fetch_one import fetch
from amg_cli.batch.sources.inputs import find_sources
from amg_cli.core.errors import ImageError, InputError
from tests.command import save
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures

NB = 7


@pytest.fixture
def photos(tmp_path, noise):
    """Files in a folder, by name."""
    for number in range(NB):
        save(tmp_path / "photos" / f"{number}.png", noise[number:])
    return {f"{n}.png": (tmp_path / "photos" / f"{n}.png").read_bytes() for n in range(NB)}


@pytest.fixture
def table(photos):
    image = [{"bytes": data, "path": name} for name, data in photos.items()]
    keys = [f"key/{n}" for n in range(NB)]
    return pa.table({"label": range(NB), "image": image, "key": keys})


def test_bytes_of_parquet_are_those_of_their_rows(table, photos, tmp_path):
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)
    found = find_sources([tmp_path / "train.parquet"], None, recursive=False)
    assert [s.relative for s in found] == [f"train/{n}.png" for n in range(NB)]
    assert [s.id for s in found] == list(range(NB))
    assert [fetch(s.where) for s in found] == list(photos.values())
    assert [fetch(s.where) for s in reversed(found)] == list(photos.values())[::-1]
    named = find_sources([tmp_path / "train.parquet"], None, False, Columns("image", "key"))
    assert [s.id for s in named] == [f"key/{n}" for n in range(NB)]
    assert named[1].relative == "train/key_1.png"
    assert len({s.identity for s in found}) == NB
    assert [fetch(located(s.identity)) for s in found] == list(photos.values())


def test_parquet_of_plain_bytes_at_an_address_and_in_a_folder(store, photos, tmp_path):  # noqa: F811
    plain = pa.table({"content": list(photos.values()), "n": range(NB)})
    store.bucket("sets")
    for part in range(2):
        rows = plain.slice(4 * part, 4)
        pq.write_table(rows, tmp_path / f"part-{part}.parquet", row_group_size=2)
        store.put("sets", f"birds/part-{part}.parquet", tmp_path / f"part-{part}.parquet")
    folder = find_sources([tmp_path], None, recursive=False)
    assert [s.id for s in folder] == list(range(NB))
    there = find_sources(["s3://sets/birds/"], None, recursive=False)
    assert [s.relative for s in there] == [f"birds/{n}" for n in range(NB)]
    for found in (folder, there):
        assert [fetch(s.where) for s in found] == list(photos.values())


def test_rows_come_through_a_bad_network(store, table, photos, tmp_path):  # noqa: F811
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    store.bucket("sets")
    store.put("sets", "a.parquet", tmp_path / "a.parquet")
    for url in ("s3://sets/a.parquet", f"{store.endpoint}/sets/a.parquet"):
        found = find_sources([url], None, recursive=False)
        store.network.share_503, store.network.share_cut = 0.2, 0.4
        assert [fetch(s.where) for s in found] == list(photos.values())
        store.network.be_well()


def test_columns_of_paths_are_seen_from_their_file(photos, store, tmp_path):  # noqa: F811
    with (tmp_path / "photos" / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "file_name", "text"])
        rows.writerows([f"b{n}", f"{n}.png", "a, b"] for n in range(NB))
    found = find_sources([tmp_path / "photos" / "metadata.csv"], None, False, Columns(id="id"))
    assert [s.relative for s in found] == list(photos)
    assert [s.id for s in found] == [f"b{n}" for n in range(NB)]
    assert [s.path.read_bytes() for s in found] == list(photos.values())
    store.bucket("bkt")
    store.put("bkt", "x/1.png", photos["1.png"])
    table = pa.table({"url": ["s3://bkt/x/1.png", f"{store.endpoint}/bkt/x/1.png", None]})
    pq.write_table(table, tmp_path / "urls.parquet")
    *good, bad = find_sources([tmp_path / "urls.parquet"], None, False)
    assert [fetch(s.where) for s in good] == [photos["1.png"]] * 2
    assert bad.fault == ("no image in this row", "the other rows are done")
    (tmp_path / "there.csv").write_text("path\nx/1.png\n")
    store.put("bkt", "there.csv", tmp_path / "there.csv")
    (there,) = find_sources(["s3://bkt/there.csv"], None, False)
    assert (there.identity, there.id) == ("s3://bkt/x/1.png", 0)


def test_saved_data_sets(photos, tmp_path):
    features = datasets.Features({"image": datasets.Image(), "key": datasets.Value("string")})
    rows = {
        "image": [{"bytes": data, "path": name} for name, data in photos.items()],
        "key": [f"k{n}" for n in range(NB)],
    }
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.save_to_disk(tmp_path / "one", num_shards=2)
    parts = {"train": whole.select(range(4)), "test": whole.select(range(4, NB))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    one = find_sources([tmp_path / "one"], None, False, Columns(id="key"))
    assert [s.id for s in one] == [f"k{n}" for n in range(NB)]
    assert [fetch(s.where) for s in one] == list(photos.values())
    both = find_sources([tmp_path / "both"], None, False)
    assert [s.relative for s in both] == [
        *(f"both/test/{n}.png" for n in range(3)),
        *(f"both/train/{n}.png" for n in range(4)),
    ]
    assert fetch(both[0].where) == photos["4.png"]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (Columns("picture"), "has no column 'picture', but label, image, key; give one of these"),
        (Columns(id="ids"), "has no column 'ids', but label, image, key; give one of these"),
        (
            Columns("label"),
            "column 'label' is of int64, and neither paths nor bytes; give another `image_column`",
        ),
    ],
)
def test_a_column_that_is_none_is_said(table, tmp_path, columns, line):
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError) as raised:
        find_sources([tmp_path / "a.parquet"], None, False, columns)
    assert str(raised.value) == f"{tmp_path / 'a.parquet'}: {line}"


def test_files_that_are_no_tables_are_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="damaged, or no table"):
        find_sources([tmp_path / "a.parquet"], None, False)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="which column has the images\\? It has a, b"):
        find_sources([tmp_path / "a.csv"], None, False)
    (tmp_path / "b.csv").write_bytes(b"path\n\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8"):
        find_sources([tmp_path / "b.csv"], None, False)


def test_a_file_that_lost_rows_is_one_line(table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    found = find_sources([tmp_path / "a.parquet"], None, False)
    pq.write_table(table.slice(0, 3), tmp_path / "a.parquet")
    with pytest.raises(ImageError, match="has fewer rows than when it was listed"):
        fetch(found[-1].where)


def test_a_data_set_that_was_moved_is_the_same(table, tmp_path, run):
    pq.write_table(table.slice(0, 2), tmp_path / "train.parquet")
    given = ["--output", "out", "--format", "ndjson"]
    assert "2 done (" in run("--input", "train.parquet", *given).stderr
    (tmp_path / "new").mkdir()
    (tmp_path / "train.parquet").rename(tmp_path / "new" / "train.parquet")
    assert "2 done before" in run("--input", "new/train.parquet", *given).stderr


def test_results_keep_the_ids(table, tmp_path, run):
    pq.write_table(table.slice(0, 2), tmp_path / "train.parquet")
    given = ["--input", "train.parquet", "--id-column", "key"]
    lines = run(*given, "--output", "-").stdout.splitlines()
    assert [json.loads(line)["data_set_id"] for line in lines] == ["key/0", "key/1"]
    result = run(*given, "--output", "out", "--format", "ndjson", "--format", "coco", "--view")
    assert result.returncode == 0
    assert "none knows" not in result.stderr
    assert len(list((tmp_path / "out" / "view" / "photos").iterdir())) == 2
    kept = [json.loads(line) for line in (tmp_path / "out" / "masks.ndjson").open()]
    assert [(each["data_set_id"], each["file_name"]) for each in kept] == [
        ("key/0", "train/key_0.png"),
        ("key/1", "train/key_1.png"),
    ]
