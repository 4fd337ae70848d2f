"""A Ray cluster whose images and outputs are in the cloud: no node has to see another's disk."""

import cv2
import pytest

from tests.command import SMALL_MODEL, amg, files_under, save
from tests.conftest import REPOSITORY
from tests.object_store import one_object_store, store  # noqa: F401 - fixtures

pytest.importorskip("ray", reason="needs amg-cli[ray]")
FEW = [*SMALL_MODEL, "--points-per-side", "4", "--pred-iou-thresh", "0.5", "--threads", "1"]


@pytest.mark.slow
def test_actors_read_and_write_at_addresses(tmp_path, store, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    for number, path in enumerate(sorted((REPOSITORY / "examples/images").glob("*.jpg"))):
        image = cv2.resize(cv2.imread(str(path)), (150 + 10 * number, 120))
        save(tmp_path / f"photos/{number}.jpg", image)
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    for bucket in ("photos", "masks"):
        store.bucket(bucket)
    for path in (tmp_path / "photos").iterdir():
        store.put("photos", f"in/{path.name}", path)

    here = amg(*FEW, "--input", "photos", "--output", "out", "--format", "rle", cwd=tmp_path)
    far = ("--input", "s3://photos/in/", "--output", "s3://masks/run", "--format", "rle")
    on_ray = (*FEW, *far, "--engine", "ray", "--actors", "1")
    there = amg(*on_ray, cwd=tmp_path)
    assert (here.returncode, there.returncode) == (3, 3), there.stderr
    keys = [key for key in store.keys("masks", "run/") if "/.amg/" not in key]
    made = {key.removeprefix("run/"): store.get("masks", key) for key in keys}
    assert made == files_under(tmp_path / "out")
    again = amg(*on_ray, cwd=tmp_path)
    assert "2 done before" in again.stderr
