"""Every format opened by a reader that is not ours, its masks compared with those of `ndjson`.

    amg --input PHOTOS --output OUT --format ndjson --format sa1b …   # all of them
    python tests/readers/check.py OUT PHOTOS

In the environment of `tests/readers/requirements.txt`; a reader that is not installed is said to be
missing. Ends with 1 if a format has other masks than it should.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path, PurePath

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

# Of each mask, where an outline stands for it; all but YOLO's have no holes.
MIN_IOU_OF_OUTLINES = 0.7


def main(out: Path, photos: Path) -> int:
    """Check all formats that are there. -> the exit code"""
    truth = [json.loads(line) for line in (out / "masks.ndjson").open()]
    print(f"{len(truth)} images, {sum(len(image['masks']) for image in truth)} masks")
    failed = 0
    for check in CHECKS:
        name = check.__name__
        try:
            print(f"{name:<14} {check(out, truth, photos)}")
        except ModuleNotFoundError as error:
            print(f"{name:<14} not tried: {error.name} is not installed")
        except FileNotFoundError as error:
            print(f"{name:<14} not there: {error.filename}")
        except AssertionError as error:
            print(f"{name:<14} DIFFERS: {error}")
            failed += 1
    return int(failed > 0)


def decoded(record):
    return coco_mask.decode(record["segmentation"]).astype(bool)


def picture(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def iou(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


def same(found, wanted, what):
    """Lists of masks, equal to the pixel and in order."""
    assert len(found) == len(wanted), f"{what}: {len(found)} masks, not {len(wanted)}"
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert np.array_equal(a, b), f"{what}: mask {i} has an IoU of {iou(a, b):.4f}"


def alike(found, wanted, what):
    """Lists of masks, in order and alike. -> the IoU of each"""
    assert len(found) == len(wanted), f"{what}: {len(found)} masks, not {len(wanted)}"
    ious = [iou(a, b) for a, b in zip(found, wanted, strict=True)]
    assert min(ious, default=1) >= MIN_IOU_OF_OUTLINES, f"{what}: an IoU of {min(ious):.3f}"
    return ious


def said_of(ious):
    low = min(ious, default=1)
    return f"IoU {np.mean(ious):.4f} in the mean, {low:.4f} at least" if low < 1 else "equal"


# One check a reader


def coco(out, truth, _photos):
    """pycocotools"""
    dataset = COCO(str(out / "annotations.json"))
    ious = []
    for image in truth:
        annotations = dataset.loadAnns(dataset.getAnnIds(image["image_id"]))
        masks = [dataset.annToMask(each).astype(bool) for each in annotations]
        ious += alike(masks, [decoded(record) for record in image["masks"]], image["name"])
        for annotation, record in zip(annotations, image["masks"], strict=True):
            rle = dataset.annToRLE(annotation)
            assert annotation["bbox"] == record["bbox"]
            if isinstance(annotation["segmentation"], dict):
                assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
                assert annotation["area"] == coco_mask.area(rle)
    return f"pycocotools: {said_of(ious)}, boxes and areas too"


def sa1b(out, truth, _photos):
    """The published keys, and pycocotools"""
    for image in truth:
        values = json.loads((out / "sa1b" / f"{image['name']}.json").read_text())
        assert values["image"].keys() >= {"image_id", "width", "height", "file_name"}
        assert (values["image"]["height"], values["image"]["width"]) == size_of(image)
        keys = {"id", "segmentation", "bbox", "area", "predicted_iou", "stability_score"}
        keys |= {"crop_box", "point_coords"}
        masks = []
        for annotation in values["annotations"]:
            assert annotation.keys() >= keys
            assert annotation["area"] == coco_mask.area(annotation["segmentation"])
            masks.append(decoded(annotation))
        same(masks, [decoded(record) for record in image["masks"]], image["name"])
    return "pycocotools: equal, with the published keys"


def size_of(image):
    return image["height"], image["width"]


def yolo(out, truth, _photos):
    """Ultralytics' loader"""
    importlib.import_module("ultralytics")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(out / "yolo/data.yaml"))
    ious, nb_objects, nb_images = [], 0, 0
    by_name = {image["name"]: image for image in truth}
    for part in dict.fromkeys((data["train"], data["val"])):
        dataset = YOLODataset(img_path=part, data=data, task="segment", imgsz=640, augment=False)
        for label in dataset.labels:
            relative = PurePath(os.path.relpath(label["im_file"], part))
            image = by_name[relative.with_suffix("").as_posix()]
            height, width = size_of(image)
            assert label["shape"] == (height, width), "another size"
            outlines = [np.round(each * (width, height)) for each in label["segments"]]
            masks = [filled(each, (height, width)) for each in outlines]
            ious += alike(masks, [decoded(record) for record in image["masks"]], image["name"])
            nb_objects += len(label["cls"])
            nb_images += 1
    assert nb_images == len(truth), f"{nb_images} images"
    return f"Ultralytics: {nb_images} images, {nb_objects} objects; {said_of(ious)}"


def filled(corners, size_hw):
    """By the even-odd rule, at the middle of each pixel."""
    twice = np.zeros((2 * size_hw[0] + 1, 2 * size_hw[1] + 1), np.uint8)
    cv2.fillPoly(twice, [2 * corners.astype(np.int32)], 1)
    return twice[1::2, 1::2].astype(bool)


def labelme(out, truth, photos):
    """LabelMe's own"""
    from labelme._label_file import LabelFile

    ious = []
    for image in truth:
        path = out / "labelme" / f"{image['name']}.json"
        file = LabelFile(str(path))
        there = (path.parent / json.loads(path.read_text())["imagePath"]).resolve()
        assert there == (photos / image["file_name"]).resolve(), f"imagePath leads to {there}"
        masks = {}
        for shape in file.shapes:
            whole = masks.setdefault(shape["group_id"], np.zeros(size_of(image), bool))
            if shape["mask"] is not None:
                (x0, y0), (x1, y1) = np.array(shape["points"]).astype(int)
                whole[y0 : y1 + 1, x0 : x1 + 1] |= shape["mask"]
            else:
                rles = coco_mask.frPyObjects([np.ravel(shape["points"]).tolist()], *size_of(image))
                whole |= coco_mask.decode(coco_mask.merge(rles)).astype(bool)
        wanted = [decoded(record) for record in image["masks"]]
        ious += alike(list(masks.values()), wanted, image["name"])
    return f"LabelMe: {said_of(ious)}, each leads to its photograph"


def labelmap(out, truth, _photos):
    """OpenCV and scikit-image"""
    from skimage import io

    for image in truth:
        folder = out / "labelmap" / image["name"]
        labels = picture(folder / "labels.png")
        assert labels.dtype == np.uint16
        assert np.array_equal(labels, io.imread(folder / "labels.png"))
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["id"]) for row in rows] == [record["id"] for record in image["masks"]]
        wanted = np.zeros(size_of(image), int)
        records = sorted(image["masks"], key=lambda each: (-each["area"], -each["id"]))
        for record in records:
            wanted[decoded(record)] = record["id"] + 1
        assert np.array_equal(labels, wanted), image["name"]
        for row in rows:
            assert int(row["visible_area"]) == (labels == int(row["label"])).sum()
    return "OpenCV, scikit-image: equal, the smallest mask on top"


def cvat(out, truth, photos):
    """datumaro"""
    import datumaro

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "annotations.xml").symlink_to((out / "cvat.xml").resolve())
        (Path(folder) / "images").symlink_to(photos.resolve())
        dataset = datumaro.Dataset.import_from(folder, "cvat")
        items = {item.attributes["frame"]: item for item in dataset}
        assert len(items) == len(truth), f"{len(items)} images"
        ious = []
        for image in truth:
            annotations = items[image["image_id"] - 1].annotations
            masks = {}
            for i, annotation in enumerate(annotations):
                if hasattr(annotation, "points"):
                    points = [np.ravel(annotation.points).tolist()]
                    rle = coco_mask.merge(coco_mask.frPyObjects(points, *size_of(image)))
                    pixels = coco_mask.decode(rle).astype(bool)
                else:
                    pixels = np.asarray(annotation.image).astype(bool)
                key = annotation.group or -i
                masks[key] = masks.get(key, np.zeros(size_of(image), bool)) | pixels
            wanted = [decoded(record) for record in image["masks"]]
            ious += alike(list(masks.values()), wanted, image["name"])
    return f"datumaro: {said_of(ious)}"


def labelstudio(out, truth, _photos):
    """label-studio-sdk's decoder"""
    from label_studio_sdk.converter import brush

    tasks = json.loads((out / "labelstudio.json").read_text())
    assert len(tasks) == len(truth), f"{len(tasks)} tasks"
    ious = []
    for task, image in zip(tasks, truth, strict=True):
        masks = {}
        for region in task["predictions"][0]["result"]:
            size_hw = region["original_height"], region["original_width"]
            if region["type"] == "brushlabels":
                flat = brush.decode_rle(region["value"]["rle"])
                pixels = flat.reshape(*size_hw, 4)[..., 3] > 0
            else:
                points = np.array(region["value"]["points"]) * size_hw[::-1] / 100
                points = [np.round(points, 1).ravel().tolist()]
                rle = coco_mask.merge(coco_mask.frPyObjects(points, *size_hw))
                pixels = coco_mask.decode(rle).astype(bool)
            number = region["meta"]["id"]
            masks[number] = masks.get(number, np.zeros(size_hw, bool)) | pixels
        wanted = [decoded(record) for record in image["masks"]]
        ious += alike(list(masks.values()), wanted, image["name"])
    return f"label-studio-sdk: {said_of(ious)}"


def parquet(out, truth, _photos):
    """pyarrow and DuckDB"""
    import duckdb
    from pyarrow import dataset

    records = [record for image in truth for record in image["masks"]]
    rows = dataset.dataset(out / "parquet/masks").to_table().to_pylist()
    same(list(map(decoded, rows)), list(map(decoded, records)), "masks")
    assert [row["bbox"] for row in rows] == [record["bbox"] for record in records]
    ((count, area),) = duckdb.sql(
        f"select count(*), sum(area) from '{out}/parquet/masks/*.parquet'"
    ).fetchall()
    assert (count, area) == (len(records), sum(record["area"] for record in records))
    ((images,),) = duckdb.sql(f"select count(*) from '{out}/parquet/images/*.parquet'").fetchall()
    assert images == len(truth), f"{images} images"
    return "pyarrow, DuckDB: equal"


def cutout(out, truth, photos):
    """OpenCV"""
    for image in truth:
        photo = cv2.imread(str(photos / image["file_name"]))
        names = sorted(path.name for path in (out / "cutout" / image["name"]).iterdir())
        assert names == sorted(f"{record['id']}.png" for record in image["masks"])
        for record in image["masks"]:
            path = out / "cutout" / image["name"] / f"{record['id']}.png"
            cut = picture(path)
            x, y, width, height = record["bbox"]
            top = (cut.shape[0] - height) if y else 0
            assert cut.shape[2] == 4
            assert top >= 0
            assert (cut[..., 3] > 0).sum() == record["area"], path
            if cut.shape[:2] == (height, width):
                assert np.array_equal(cut[..., :3], photo[y : y + height, x : x + width]), path
    return "OpenCV: the photograph in the box, opaque where the mask is"


def overlay(out, truth, _photos):
    """OpenCV"""
    for image in truth:
        drawn = picture(out / "overlay" / f"{image['name']}.jpg")
        assert drawn.shape[:2] == size_of(image)
    return "OpenCV: of the photographs' sizes; for the rest, look at them"


def fiftyone(out, truth, photos):
    """FiftyOne, by the README's lines"""
    import fiftyone as fo

    try:
        dataset = fo.Dataset.from_dir(
            dataset_type=fo.types.COCODetectionDataset,
            data_path=str(photos),
            labels_path=str(out / "annotations.json"),
            label_types="segmentations",
        )
    except fo.core.config.FiftyOneConfigError as error:
        return (
            f"not tried: {error}"  # without MongoDB; FIFTYONE_DATABASE_URI says where there is one
        )
    found = {Path(sample.filepath).name: sample.ground_truth for sample in dataset}
    for image in truth:
        detections = found[image["file_name"]]
        masks = [] if detections is None else [each.mask for each in detections.detections]
        wanted = []
        for record in image["masks"]:
            x, y, w, h = record["bbox"]
            wanted.append(decoded(record)[y : y + h, x : x + w])
        same([np.asarray(mask).astype(bool) for mask in masks], wanted, image["name"])
    return f"FiftyOne: {len(dataset)} samples: equal"


def supervision(out, truth, photos):
    """supervision, by the README's lines"""
    import supervision as sv

    dataset = sv.DetectionDataset.from_coco(
        str(photos), str(out / "annotations.json"), force_masks=True
    )
    by_name = {Path(path).name: detections for path, _, detections in dataset}
    for image in truth:
        masks = by_name[image["file_name"]].mask
        masks = [] if masks is None else [np.asarray(mask).astype(bool) for mask in masks]
        same(masks, [decoded(record) for record in image["masks"]], image["name"])
    return f"{len(by_name)} images: equal"


def hf_datasets(out, truth, _photos):
    """Hugging Face datasets, by the README's lines"""
    from datasets import load_dataset

    with tempfile.TemporaryDirectory() as cache:
        masks = load_dataset(
            "parquet", data_files=str(out / "parquet/masks/*.parquet"), cache_dir=cache
        )["train"]
        wanted = [record for image in truth for record in image["masks"]]
        same(list(map(decoded, masks)), list(map(decoded, wanted)), "masks")
    return f"{len(masks)} rows: equal"


CHECKS = (
    coco, sa1b, yolo, labelme, labelmap, cvat, labelstudio, parquet, cutout, overlay,
    fiftyone, supervision, hf_datasets,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
