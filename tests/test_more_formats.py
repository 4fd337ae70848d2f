"""Formats for annotators: what they hold, and that it is the masks. Their readers: `readers/`."""

import base64
import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from amg_cli.core import rle
from amg_cli.core.colours import colour_of
from amg_cli.core.drawing import draw
from amg_cli.core.mask import Mask
from amg_cli.formats import (
    coco,
    cutout,
    cvat,
    labelmap,
    labelme,
    labelstudio,
    parquet,
    sa1b,
    yolo,
)
from amg_cli.formats.format import FormatOptions, ImageFormat, Output
from amg_cli.formats.outlines import joined, parts_of, polygons_of
from amg_cli.formats.table import FORMATS, format_of
from tests.writing import result_of, write, write_run

SIZE_HW = (40, 60)
# What file systems allow in a name, and formats may trip over.
ODD_NAMES = ["a'b", 'quo"te', "com,ma", "new\nline", "ünï 圖", "<&>", "semi;colon", "50%#?", "\x01"]


def mask_of(pixels, **more):
    ys, xs = np.nonzero(pixels)
    box = (xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else (0, 0, 0, 0)
    values = {"pred_iou": 0.9, "stability_score": 0.95}
    return Mask(rle.encode(pixels), tuple(map(int, box)), **(values | more))


@pytest.fixture
def ring():
    """A ring, whose hole has an island; and a part of its own."""
    pixels = np.zeros(SIZE_HW, bool)
    pixels[5:30, 5:30] = True
    pixels[10:25, 10:25] = False
    pixels[15:20, 15:20] = True
    pixels[35:39, 50:60] = True
    return pixels


@pytest.fixture
def masks(ring):
    part = np.zeros(SIZE_HW, bool)
    part[6:9, 6:20] = True
    dot = np.zeros(SIZE_HW, bool)
    dot[39, 59] = True
    known = {"category": 'cat "x"', "category_score": 0.5, "parent": 0, "id": 7}
    return [
        mask_of(ring, id=0, point_xy=(6.5, 6.5), crop_box_xyxy=(0, 0, 60, 40)),
        mask_of(part, **known),
        mask_of(dot, id=8),
    ]


def noise_masks(count, seed=0):
    """Masks as odd as there can be."""
    random = np.random.default_rng(seed)
    shapes = [random.random(SIZE_HW) < part for part in random.random(count) ** 2]
    return [mask_of(pixels) for pixels in shapes if pixels.any()]


def result(masks, image_rgb=None, **more):
    return result_of(masks, image_hw=SIZE_HW, image_rgb=image_rgb, **more)


# Outlines


def test_parts_have_their_own_holes(masks):
    parts = parts_of(masks[0])
    by_corner = {tuple(part.outer.min(axis=0)): len(part.holes) for part in parts}
    assert by_corner == {(5, 5): 1, (15, 15): 0, (50, 35): 0}


def filled(ring, size_hw=SIZE_HW):
    """By the even-odd rule, at the pixels' middles."""
    twice = np.zeros((2 * size_hw[0] + 1, 2 * size_hw[1] + 1), np.uint8)
    cv2.fillPoly(twice, [2 * ring.astype(np.int32)], 1)
    inside = np.zeros_like(twice)
    cv2.polylines(inside, [2 * ring.astype(np.int32)], True, 1)
    return twice[1::2, 1::2].astype(bool), inside[1::2, 1::2].astype(bool)


@pytest.mark.parametrize("seed", range(5))
def test_a_joined_outline_is_the_mask_with_its_holes(seed, masks):
    for mask in [*masks, *noise_masks(6, seed)]:
        found, on_the_way = filled(joined(parts_of(mask)))
        wanted = mask.array()
        # A way between two outlines may touch a pixel's middle, which then counts as inside.
        assert ((found == wanted) | on_the_way).all()


def test_a_joined_outline_has_every_corner_once_and_its_ways_twice(masks):
    parts = parts_of(masks[0])
    rings = [ring for part in parts for ring in (part.outer, *part.holes)]
    assert len(joined(parts)) == sum(map(len, rings)) + 2 * (len(rings) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_polygons_are_the_masks_but_for_holes(seed):
    for mask in noise_masks(8, seed):
        pixels = mask.array()
        found = rle.decode(rle.from_coco(polygons_of(mask), SIZE_HW))
        assert (found >= pixels).all()
        flood = np.pad(pixels, 1).astype(np.uint8)
        cv2.floodFill(flood, None, (0, 0), 2, flags=4)
        assert np.array_equal(found, flood[1:-1, 1:-1] != 2)


def test_a_tolerance_has_fewer_corners_and_keeps_every_part():
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    disc = (y - 18) ** 2 + (x - 25) ** 2 < 150
    disc[39, 59] = True
    exact, coarse = (parts_of(mask_of(disc), tolerance) for tolerance in (0, 1.5))
    assert [len(part.outer) for part in exact] == [len(exact[0].outer), len(exact[1].outer)]
    assert len(coarse) == len(exact) == 2
    assert sum(len(p.outer) for p in coarse) < sum(len(p.outer) for p in exact) / 2
    polygons = [part.outer.ravel().tolist() for part in coarse]
    found = rle.decode(rle.from_coco(polygons, SIZE_HW))
    assert (found & disc).sum() / (found | disc).sum() > 0.9


# Formats of an image


def test_sa1b_is_read_back_unchanged_with_all_that_is_known(masks, tmp_path):
    write(sa1b.FORMAT, masks, tmp_path / "a.json")
    assert sa1b.FORMAT.is_own(tmp_path / "a.json")
    assert sa1b.read(tmp_path / "a.json") == masks
    values = json.loads((tmp_path / "a.json").read_text())
    assert values["image"] == {
        "image_id": 1, "width": 60, "height": 40, "file_name": "image.jpg"
    }  # fmt: skip
    first, second, _ = values["annotations"]
    assert (first["id"], second["id"], second["parent_id"]) == (100_000, 100_007, 100_000)
    assert first["bbox"] == coco_mask.toBbox(first["segmentation"]).tolist()
    assert first["point_coords"] == [[6.5, 6.5]]


def test_labelme_has_a_mask_shape_an_object_and_leads_to_the_photograph(masks, tmp_path):
    target = tmp_path / "out/labelme/sub/a.json"
    target.parent.mkdir(parents=True)
    shown = result(masks, source=str(tmp_path / "photos/sub/a.jpg"))
    labelme.write(shown, Output(tmp_path / "elsewhere.json", target))
    values = json.loads((tmp_path / "elsewhere.json").read_text())
    assert (target.parent / values["imagePath"]).resolve() == tmp_path / "photos/sub/a.jpg"
    assert [shape["label"] for shape in values["shapes"]] == ["object", 'cat "x"', "object"]
    assert [shape["group_id"] for shape in values["shapes"]] == [0, 7, 8]
    for shape, mask in zip(values["shapes"], masks, strict=True):
        png = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
        window = cv2.imdecode(png, cv2.IMREAD_UNCHANGED) > 0
        (x0, y0), (x1, y1) = np.array(shape["points"]).astype(int)
        found = np.zeros(SIZE_HW, bool)
        found[y0 : y1 + 1, x0 : x1 + 1] = window
        assert np.array_equal(found, mask.array())


def test_labelme_polygons_are_a_shape_a_part_in_one_group(masks, tmp_path):
    write(labelme.FORMAT, masks, tmp_path / "a.json", polygons=True)
    shapes = json.loads((tmp_path / "a.json").read_text())["shapes"]
    assert [shape["group_id"] for shape in shapes].count(0) == 3
    assert {shape["shape_type"] for shape in shapes} == {"polygon"}


def test_a_label_map_has_the_smallest_mask_on_top_and_a_line_a_mask(masks, tmp_path):
    write(labelmap.FORMAT, masks, tmp_path / "a")
    labels = cv2.imread(str(tmp_path / "a/labels.png"), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16
    wanted = np.zeros(SIZE_HW, int)
    for mask in masks:  # as it happens, each smaller than the one before
        wanted[mask.array()] = mask.id + 1
    assert np.array_equal(labels, wanted)
    colours = cv2.imread(str(tmp_path / "a/colours.png"))
    assert tuple(colours[39, 59][::-1]) == colour_of(8)
    assert not colours[labels == 0].any()
    with (tmp_path / "a/labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["0", "7", "8"]
    assert rows[1]["category"] == 'cat "x"'
    for row in rows:
        assert int(row["visible_area"]) == (labels == int(row["label"])).sum()


def test_of_equal_masks_the_lower_number_is_on_top(masks, tmp_path):
    twins = [replace(masks[1], id=number) for number in (3, 1, 2)]
    assert set(np.unique(labelmap.flattened(result(twins)))) == {0, 2}


def test_a_label_map_past_16_bits_is_a_tiff_of_32(masks, tmp_path):
    write(labelmap.FORMAT, [replace(masks[1], id=70_000)], tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "colours.png", "labels.csv", "labels.tiff"
    ]  # fmt: skip
    labels = cv2.imread(str(tmp_path / "a/labels.tiff"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(labels)) == {0, 70_001}


@pytest.mark.parametrize("margin", [0, 3, 100])
def test_a_cutout_is_the_photograph_opaque_where_the_mask_is(masks, margin, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    options = FormatOptions(cutout_margin=margin)
    cutout.write(result(masks, image), Output(tmp_path / "a", tmp_path / "a", options))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["0.png", "7.png", "8.png"]
    for mask in masks:
        x0, y0, x1, y1 = mask.box_xyxy
        top, left = max(0, y0 - margin), max(0, x0 - margin)
        place = np.s_[top : y1 + margin + 1, left : x1 + margin + 1]
        cut = cv2.imread(str(tmp_path / f"a/{mask.id}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(cut[..., :3][..., ::-1], image[place])
        assert np.array_equal(cut[..., 3] > 0, mask.array()[place])


def test_an_overlay_colours_the_masks_and_leaves_the_rest(masks, tmp_path):
    image = np.full((*SIZE_HW, 3), 128, np.uint8)
    drawn = draw(image, masks[:1])
    inside = masks[0].array()
    assert (drawn[~inside] == 128).all()
    assert (drawn[inside] != 128).any(axis=1).all()
    assert tuple(drawn[5, 5]) == colour_of(0)
    assert (image == 128).all()


@pytest.mark.parametrize("name", [n for n in FORMATS if getattr(format_of(n), "needs_image", 0)])
def test_what_shows_the_photograph_says_that_it_needs_it(name, masks, tmp_path):
    with pytest.raises(ValueError, match="the photograph is needed"):
        write(format_of(name), masks, tmp_path / "a")


# Formats of a run


def test_cvat_has_runs_of_the_box_row_by_row(masks, tmp_path):
    root = ET.parse(write_run(cvat.FORMAT, [result(masks)], tmp_path / "cvat.xml")).getroot()
    assert root.findtext("version") == "1.1"
    labels = [label.findtext("name") for label in root.iter("label")]
    assert labels == ["object", 'cat "x"']
    (image,) = root.iter("image")
    assert (image.get("id"), image.get("width"), image.get("height")) == ("0", "60", "40")
    for element, mask in zip(image.iter("mask"), masks, strict=True):
        runs = [int(run) for run in element.get("rle").split(",")]
        left, top, width, height = (int(element.get(k)) for k in ("left", "top", "width", "height"))
        window = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        found = np.zeros(SIZE_HW, bool)
        found[top : top + height, left : left + width] = window
        assert np.array_equal(found, mask.array())
        names = {attribute.get("name") for attribute in element.iter("attribute")}
        assert {"predicted_iou", "stability_score"} <= names


def decoded_brush(values):
    """Label Studio's RLE, as its format is described."""
    bits = np.unpackbits(np.array(values, np.uint8)).tolist()

    def take(width):
        taken = bits[:width]
        del bits[:width]
        return int("".join(map(str, taken)), 2)

    count, word, sizes, out = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)], []
    while len(out) < count:
        is_run, length = take(1), take(sizes[take(2)]) + 1
        out += [take(word)] * length if is_run else [take(word) for _ in range(length)]
    assert len(out) == count
    assert not any(bits)
    return np.array(out, np.uint8)


@pytest.mark.parametrize("shape", [SIZE_HW, (1, 1), (130, 140)])
def test_label_studio_brushes_are_the_masks(shape):
    random = np.random.default_rng(1)
    for part in (0.02, 0.5, 1.0):
        pixels = random.random(shape) < part
        pixels[0, 0] = True
        flat = decoded_brush(labelstudio.brush_rle(mask_of(pixels))).reshape(*shape, 4)
        assert np.array_equal(flat[..., 3] > 0, pixels)
        assert (flat == flat[..., :1]).all()


def test_yolo_is_a_data_set_with_links_to_the_photographs(masks, tmp_path):
    (tmp_path / "photos/sub").mkdir(parents=True)
    names = [f"sub/{i}" for i in range(20)]
    results = []
    for number, name in enumerate(names, 1):
        source = tmp_path / f"photos/{name}.jpg"
        source.write_bytes(b"jpeg")
        more = {"name": name, "number": number, "source": str(source)}
        results.append(result(masks if number > 1 else [], **more))
    folder = write_run(yolo.FORMAT, results, tmp_path / "yolo", val_share=0.3)
    labels = {
        path.relative_to(folder / "labels").as_posix(): path.read_text()
        for path in (folder / "labels").rglob("*.txt")
    }
    parts = {name.partition("/")[2][:-4]: name.partition("/")[0] for name in labels}
    assert parts.keys() == set(names)
    assert 1 <= list(parts.values()).count("val") <= 12
    assert labels[f"{parts['sub/0']}/sub/0.txt"] == ""
    for name, part in parts.items():
        assert (folder / "images" / part / f"{name}.jpg").read_bytes() == b"jpeg"
    lines = labels[f"{parts['sub/1']}/sub/1.txt"].splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "0"]
    numbers = list(map(float, lines[2].split()[1:]))
    corners = set(zip(numbers[::2], numbers[1::2], strict=True))
    assert corners == {(0.983333, 0.975), (0.983333, 1), (1, 1), (1, 0.975)}
    text = (folder / "data.yaml").read_text(encoding="utf-8")
    assert 'names:\n  0: "object"\n  1: "cat \\"x\\""\n' in text
    assert "val: images/val\n" in text


def test_parquet_is_read_back_unchanged_and_has_images_without_masks(masks, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 2)
    monkeypatch.setattr(parquet, "ROWS_A_PART", 4)
    named = [replace(mask, category="x") for mask in masks]
    results = [result([], name="none"), *(result(named, name=f"{i}", number=i) for i in (2, 3, 4))]
    folder = write_run(parquet.FORMAT, results, tmp_path / "parquet")
    assert parquet.FORMAT.is_own(folder)
    assert len(list((folder / "masks").iterdir())) == 3
    found = list(parquet.read(folder))
    assert [(r.name, r.number, r.image_hw) for r in found] == [
        (r.name, r.number, r.image_hw) for r in results
    ]
    assert [list(r.masks) for r in found] == [list(r.masks) for r in results]


def test_coco_of_other_programs_is_read_polygons_and_plain_runs_too(ring, tmp_path):
    runs = {"size": list(SIZE_HW), "counts": rle.counts(rle.encode(ring))}
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 9, "segmentation": runs, "bbox": [0, 0, 1, 1]},
        {"id": 2, "image_id": 5, "category_id": 9, "segmentation": [[1, 1, 1, 4, 5, 4, 5, 1]]},
    ]
    image = {"id": 5, "file_name": "x/a.jpg", "width": 60, "height": 40}
    categories = [{"id": 9, "name": "dog"}]
    values = {"images": [image], "annotations": annotations, "categories": categories}
    (tmp_path / "theirs.json").write_text(json.dumps(values))
    (found,) = coco.read(tmp_path / "theirs.json")
    first, second = found.masks
    assert np.array_equal(first.array(), ring)
    assert second.box_xyxy == (1, 1, 4, 3)
    assert {mask.category for mask in found.masks} == {"dog"}
    assert first.box_xyxy == (5, 5, 59, 38)


@pytest.mark.parametrize(
    "segmentation",
    [5, "x", [["a"]], {"size": [1, 1]}, {"size": [40, 60], "counts": "zzzz"},
     {"size": [40, 60], "counts": [5, 5]}, {"size": [40, 60], "counts": "00000"}],
)  # fmt: skip
def test_coco_with_something_else_is_a_value_error(segmentation, tmp_path):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    image = {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}
    values = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": ""}]}
    (tmp_path / "theirs.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="image 1: not COCO's masks"):
        list(coco.read(tmp_path / "theirs.json"))


# All formats


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("polygons", [False, True])
def test_no_masks_and_masks_of_a_pixel_are_written(name, polygons, tmp_path):
    format_ = format_of(name)
    dot = np.zeros(SIZE_HW, bool)
    dot[0, 0] = True
    one = mask_of(dot, point_xy=(0.5, 0.5), crop_box_xyxy=(0, 0, 60, 40))
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    options = FormatOptions(polygons=polygons, polygon_tolerance=5.0)
    for i, masks in enumerate(([], [one])):
        path = tmp_path / f"{i}{getattr(format_, 'suffix', '')}"
        if isinstance(format_, ImageFormat):
            format_.write(result(masks, image), Output(path, path, options))
        else:
            write_run(format_, [result(masks)], path, **vars(options))
        assert path.exists()


@pytest.mark.parametrize("name", [n for n in FORMATS if not isinstance(format_of(n), ImageFormat)])
def test_odd_names_and_categories_survive_or_are_replaced_in_one_place(name, masks, tmp_path):
    format_ = format_of(name)
    odd = [*ODD_NAMES, "half \udcff"]
    results = [
        result([replace(masks[1], category=text)], name=f"{i}", file_name=f"{text}.jpg", number=i)
        for i, text in enumerate(odd, 1)
    ]
    path = write_run(format_, results, tmp_path / "out", category="ünï")
    if name in ("coco", "ndjson"):
        assert [found.file_name for found in format_.read(path)] == [f"{t}.jpg" for t in odd]
        assert [found.masks[0].category for found in format_.read(path)] == odd
    elif name == "cvat":
        root = ET.parse(path).getroot()
        names = [image.get("name") for image in root.iter("image")]
        assert names[:8] == [f"{text}.jpg" for text in ODD_NAMES[:8]]
        assert names[8:] == ["\ufffd.jpg", "half \ufffd.jpg"]
        assert [label.findtext("name") for label in root.iter("label")][:8] == ODD_NAMES[:8]
    elif name == "parquet":
        assert [f.file_name for f in format_.read(path)][:9] == [f"{t}.jpg" for t in ODD_NAMES]
    elif name == "labelstudio":
        assert len(json.loads(path.read_text())) == len(odd)


def test_colours_of_neighbours_differ_and_stay():
    colours = [colour_of(number) for number in range(200)]
    assert len(set(colours)) == 200
    apart = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colours)]
    assert min(apart) > 60
    assert colour_of(0) == (255, 38, 38)


@pytest.mark.parametrize("name", FORMATS)
def test_the_readme_has_a_line_for_each_format(name):
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert f"\n| `{name}`" in readme
