"""`amg view`, in a real browser: what the page shows, and that it is what the commands give."""

import json
import shlex
import shutil

import cv2
import numpy as np
import pytest

from amg_cli.core import rle as rle_codec
from tests.command import amg
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples/images"
RUN = ["--points-per-side", "8", "--pred-iou-thresh", "0.7", "--stability-score-thresh", "0.8"]
RUN += ["--max-area", "90%"]  # so that noise, which is one mask, has none
NASTY = 'it\'s "quoted" & <script>alert(1)<\\script> <img src=x onerror=alert(2)>\n.jpg'
MAX_PAGE_BYTES = 300_000


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Two photographs, of which one has a name that HTML would read; noise; what is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for name, to in (("chelsea.jpg", "chelsea.jpg"), ("coffee.jpg", NASTY)):
        pixels = cv2.resize(cv2.imread(str(EXAMPLES / name)), (256, 192))
        (folder / to).write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    noise = np.random.default_rng(1).integers(256, size=(200, 200, 3), dtype=np.uint8)
    noise = cv2.imencode(".png", noise)[1]
    (folder / "noise.png").write_bytes(noise.tobytes())
    (folder / "torn.jpg").write_bytes((folder / "chelsea.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="session")
def run(photos, tmp_path_factory):
    """A run on them that has kept its candidates, and its view."""
    output = tmp_path_factory.mktemp("run") / "out"
    done = amg("--input", photos, "--output", output, *RUN, "--save-candidates", "--format", "coco",
               cwd=photos)  # fmt: skip
    assert done.returncode == 3, done.stderr  # the torn one
    view_of(output)
    return output


def view_of(source, *options):
    done = amg("view", source, *options, cwd=source.parent)
    assert done.returncode == 0, done.stderr
    page = done.stdout.strip()
    assert page.endswith("index.html")
    return page


class Opened:
    """A page of the browser, and what it complained of."""

    def __init__(self, browser, path, width=1200, height=800):
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.path = path
        self.page.goto(f"file://{path}")

    def image(self, key):
        self.page.goto(f"file://{self.path}#{key}")
        self.page.wait_for_function(f"amg.page()?.key === {key} && amg.page().kept")

    def kept(self):
        """The counts of the masks that are shown, in their order."""
        return self.page.evaluate("amg.page().kept.map((i) => amg.page().masks.columns.rle[i])")

    def set(self, name, value):
        box = self.page.locator(f"#setting-{name}")
        if name == "nms":
            box.select_option(value)
        else:
            box.fill(str(value))
            box.press("Enter")

    def command(self):
        return shlex.split(self.page.locator(".command").inner_text())


@pytest.fixture
def opened(browser, run):
    found = Opened(browser, run / "view/index.html")
    yield found
    assert found.complaints == []
    found.context.close()


def keys_of(opened):
    images = opened.page.evaluate("amg.index.images")
    return {image["file_name"]: image["key"] for image in images}


def coco_counts(folder):
    """The counts of each image's masks in a run's COCO file, in order."""
    values = json.loads((folder / "annotations.json").read_text())
    names = {image["id"]: image["file_name"] for image in values["images"]}
    found = {name: [] for name in names.values()}
    for annotation in values["annotations"]:
        found[names[annotation["image_id"]]].append(annotation["segmentation"]["counts"])
    return found


# All images


def test_all_images_are_there_with_their_names_as_text(opened, photos):
    cards = opened.page.locator(".cards li")
    assert cards.count() == 4
    names = opened.page.locator(".cards .name").evaluate_all(
        "(all) => all.map((each) => each.textContent)"
    )
    assert sorted(names) == sorted(path.name for path in photos.iterdir())
    assert opened.page.locator(".cards b, .cards script").count() == 0
    assert opened.page.locator("h1").inner_text() == "out"


def test_images_are_found_by_name_and_by_what_became_of_them(opened):
    page = opened.page
    page.get_by_label("Search by name").fill("CHEL")
    assert page.locator(".cards li").count() == 1
    page.get_by_label("Search by name").fill("")
    for shown, count in (("failed", 1), ("none", 1), ("many", 1), ("wrong", 0), ("all", 4)):
        page.get_by_label("Show").select_option(shown)
        assert page.locator(".cards li").count() == count, shown
    page.get_by_label("Show").select_option("failed")
    assert "torn.jpg" in page.locator(".cards li .name").inner_text()
    assert page.locator(".cards a").count() == 0  # nothing to open


def test_the_page_weighs_little(run):
    files = [*(run / "view/page").iterdir(), run / "view/index.html", run / "view/data/index.js"]
    assert sum(file.stat().st_size for file in files) < MAX_PAGE_BYTES


def test_a_thousand_images_come_by_pages(browser, run, tmp_path):
    shutil.copytree(run / "view", tmp_path / "view")
    index = tmp_path / "view/data/index.js"
    values = json.loads(index.read_text().removeprefix("amg.index=").rstrip(";\n"))
    image = next(each for each in values["images"] if each["masks"])
    values["images"] = [image | {"key": key, "file_name": f"{key}.jpg"} for key in range(1, 1001)]
    index.write_text(f"amg.index={json.dumps(values)};\n")
    opened = Opened(browser, tmp_path / "view/index.html")
    assert opened.page.locator(".cards li").count() == 60
    opened.page.get_by_role("button", name="Next").click()
    assert opened.page.locator(".cards .name").first.inner_text() == "61.jpg"
    assert opened.page.locator(".pages span").inner_text() == "Page 2 of 17"
    opened.context.close()


# One image


def test_the_page_begins_with_the_masks_of_the_run(opened, run):
    expected = coco_counts(run)
    for name, key in keys_of(opened).items():
        if name in expected:
            opened.image(key)
            assert opened.kept() == expected[name], name
    assert sum(map(len, expected.values())) > 20


@pytest.mark.parametrize(
    "settings",
    [
        {"pred_iou_thresh": 0.9, "stability_score_thresh": 0.93},
        {"nms": "box", "box_nms_thresh": 0.35},
        {"nms": "mask", "box_nms_thresh": 0.5, "min_area": "0.2%", "max_area": "12%"},
        {"nms": "off", "containment_thresh": 0.6, "min_area": 40},
    ],
    ids=str,
)
def test_the_masks_shown_are_those_of_the_command_shown(opened, run, tmp_path, settings):
    keys = keys_of(opened)
    opened.image(keys["chelsea.jpg"])
    before = opened.kept()
    for name, value in settings.items():
        opened.set(name, value)
    command = opened.command()
    assert command[:3] == ["amg", "select", str(run)]
    command[4] = str(tmp_path / "selected")
    done = amg(*command[1:], "--format", "coco", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = coco_counts(tmp_path / "selected")
    for name in expected:
        opened.image(keys[name])
        assert opened.kept() == expected[name]
    opened.image(keys["chelsea.jpg"])
    assert opened.kept() != before


def test_a_slider_moves_its_number_and_the_masks(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    before = opened.kept()
    slider = opened.page.locator("#setting-pred_iou_thresh-slider")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    assert float(opened.page.locator("#setting-pred_iou_thresh").input_value()) > 0.7
    assert 0 < len(opened.kept()) < len(before)
    opened.page.get_by_role("button", name="As the run had them").click()
    assert opened.kept() == before


def test_a_threshold_is_not_set_under_what_the_candidates_were_kept_over(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    opened.set("pred_iou_thresh", 0.1)
    assert opened.page.locator("#setting-pred_iou_thresh").input_value() == "0.7"


def test_what_is_no_number_is_marked_and_changes_nothing(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    before = opened.kept()
    opened.set("min_area", "many")
    assert opened.page.locator("#setting-min_area").get_attribute("aria-invalid") == "true"
    assert opened.kept() == before


def test_each_pixel_is_of_the_smallest_mask_over_it(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    masks = [{"size": [192, 256], "counts": counts} for counts in opened.kept()]
    expected = rle_codec.smallest_over(masks, (192, 256))
    script = """([every, times, width, height]) => {
      const { view, kept } = amg.page();
      const part = { x0: 0, y0: 0, x1: width, y1: height, every, times,
                     width: (width / every) * times, height: (height / every) * times };
      const places = new Map(kept.map((index, place) => [index, place]));
      return [...view.owners(part)].map((owner) => owner ? places.get(view.shown[owner - 1]) : -1);
    }"""
    for every, times, width, height in ((1, 1, 256, 192), (4, 1, 256, 192), (1, 3, 64, 96)):
        owners = np.array(opened.page.evaluate(script, [every, times, width, height]))
        owners = owners.reshape(width // every * times, -1).T
        wanted = expected[:height:every, :width:every]
        wanted = wanted.repeat(times, axis=0).repeat(times, axis=1)
        # Of equal masks either may be on top.
        differ = owners != wanted
        assert all(
            rle_codec.area(masks[a]) == rle_codec.area(masks[b])
            for a, b in zip(owners[differ], wanted[differ], strict=True)
        )
        assert differ.mean() < 0.01


def test_a_click_selects_the_smallest_mask_and_again_the_next(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    page = opened.page
    place = page.evaluate(
        """() => {
          const { view } = amg.page();
          for (let y = 0; y < 192; y += 3) for (let x = 0; x < 256; x += 3) {
            const found = view.masks.at(x, y, view.shown);
            if (found.length > 1) {
              const [left, top] = [x, y].map((value) => (value + 0.5) * view.scale);
              return { found, x: view.left + left, y: view.top + top };
            }
          }
        }"""
    )
    selected = "[...amg.page().view.selected]"
    for index in (*place["found"], place["found"][0]):
        page.locator("canvas.photo").click(position={"x": place["x"], "y": place["y"]})
        assert page.evaluate(selected) == [index]
        assert page.locator('.masks tr[aria-selected="true"]').count() == 1
    page.mouse.move(0, 0)
    page.locator("canvas.photo").hover(position={"x": place["x"], "y": place["y"]})
    assert "predicted IoU" in page.locator(".tip").inner_text()


def test_the_keyboard_does_what_the_pointer_does(opened):
    keys = keys_of(opened)
    opened.image(keys["chelsea.jpg"])
    page = opened.page
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("[...amg.page().view.selected]") == page.evaluate("[amg.page().kept[1]]")
    assert page.locator("#status").inner_text().startswith("Mask 1, ")
    page.keyboard.press("x")
    assert page.locator(".masks tr.wrong").count() == 1
    scale = page.evaluate("amg.page().view.scale")
    page.keyboard.press("+")
    assert page.evaluate("amg.page().view.scale") > scale
    page.keyboard.press("0")
    assert page.evaluate("amg.page().view.scale") == scale
    page.keyboard.press("Escape")
    assert page.evaluate("amg.page().view.selected.size") == 0
    done = page.evaluate(
        "amg.index.images.filter((image) => image.error === null).map((image) => image.key)"
    )
    here = done.index(keys["chelsea.jpg"])
    page.keyboard.press("ArrowRight" if here + 1 < len(done) else "ArrowLeft")
    other = done[here + 1] if here + 1 < len(done) else done[here - 1]
    page.wait_for_function(f"amg.page().key === {other}")
    page.keyboard.press("Escape")
    page.wait_for_selector(".cards")


def test_the_table_sorts(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    page = opened.page
    page.get_by_role("button", name="Area").click()
    assert page.locator(".masks th").nth(1).get_attribute("aria-sort") == "descending"
    script = "(all) => all.map((row) => Number(row.cells[1].textContent.replaceAll(',', '')))"
    areas = page.locator(".masks tbody tr").evaluate_all(script)
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) > 1


# A review


def saved(opened, path):
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="Save decisions").click()
    download.value.save_as(path)
    return json.loads(path.read_text())


def reviewed(source, folder):
    """The counts of each image's masks after the decisions in a folder."""
    command = ["select", source, "--output", "clean", "--decisions", "decisions.json"]
    done = amg(*command, "--format", "coco", cwd=folder)
    assert done.returncode == 0, done.stderr
    return coco_counts(folder / "clean")


def mark_some(opened, name):
    """Mark two masks of an image as wrong. -> the counts of the others that are shown"""
    opened.image(keys_of(opened)[name])
    page = opened.page
    rows = page.locator(".masks tbody tr")
    page.wait_for_function(
        "document.querySelectorAll('.masks tbody tr').length === amg.page().kept.length"
    )
    rows.nth(1).click()
    rows.nth(3).click(modifiers=["Shift"])
    page.get_by_role("button", name="Wrong").click()
    kept = opened.kept()
    return [counts for place, counts in enumerate(kept) if place not in (1, 3)]


@pytest.mark.parametrize("settings", [{}, {"stability_score_thresh": 0.9, "nms": "box"}], ids=str)
def test_saved_decisions_leave_exactly_the_masks_kept(opened, run, tmp_path, settings):
    opened.image(keys_of(opened)["chelsea.jpg"])
    for name, value in settings.items():
        opened.set(name, value)
    kept = mark_some(opened, "chelsea.jpg")
    values = saved(opened, tmp_path / "decisions.json")
    assert [image["file_name"] for image in values["images"]] == ["chelsea.jpg"]
    found = reviewed(run, tmp_path)
    assert found["chelsea.jpg"] == kept
    for name, key in keys_of(opened).items():
        if name in found and name != "chelsea.jpg":
            opened.image(key)
            assert found[name] == opened.kept()


def test_masks_without_candidates_are_reviewed_too(browser, run, tmp_path):
    shutil.copy(run / "annotations.json", tmp_path / "masks.json")
    page = view_of(tmp_path / "masks.json", "--images", run)  # where no photograph is
    opened = Opened(browser, page)
    expected = coco_counts(run)
    opened.image(keys_of(opened)["chelsea.jpg"])
    assert sorted(opened.kept()) == sorted(expected["chelsea.jpg"])
    opened.set("min_area", 1500)
    kept = mark_some(opened, "chelsea.jpg")
    assert len(kept) < len(expected["chelsea.jpg"]) - 2
    values = saved(opened, tmp_path / "decisions.json")
    assert values["settings"] is None
    found = reviewed("masks.json", tmp_path)
    assert found["chelsea.jpg"] == [counts for counts in expected["chelsea.jpg"] if counts in kept]
    for name, counts in expected.items():
        large = [
            each for each in counts if rle_codec.area({"size": [192, 256], "counts": each}) >= 1500
        ]
        assert name == "chelsea.jpg" or found.get(name, []) == large
    opened.context.close()


def test_marks_outlive_the_window_and_go_with_the_file(browser, run, tmp_path):
    opened = Opened(browser, run / "view/index.html")
    mark_some(opened, "chelsea.jpg")
    saved(opened, tmp_path / "decisions.json")
    again = opened.context.new_page()
    again.goto(f"file://{opened.path}#{keys_of(opened)['chelsea.jpg']}")
    again.wait_for_selector(".masks tr.wrong")
    assert again.locator(".masks tr.wrong").count() == 2
    opened.context.close()

    elsewhere = Opened(browser, run / "view/index.html")
    elsewhere.image(keys_of(elsewhere)["chelsea.jpg"])
    assert elsewhere.page.locator(".masks tr.wrong").count() == 0
    elsewhere.page.locator('input[type="file"]').set_input_files(tmp_path / "decisions.json")
    elsewhere.page.wait_for_selector(".masks tr.wrong")
    assert elsewhere.page.locator(".masks tr.wrong").count() == 2
    (tmp_path / "other.json").write_text("{}")
    elsewhere.page.locator('input[type="file"]').set_input_files(tmp_path / "other.json")
    elsewhere.page.wait_for_function(
        "document.querySelector('#status').textContent.startsWith('Nothing')"
    )
    assert elsewhere.page.locator(".masks tr.wrong").count() == 2
    elsewhere.context.close()


def test_only_some_masks_are_kept(opened, run, tmp_path):
    opened.image(keys_of(opened)["chelsea.jpg"])
    opened.page.locator(".masks tbody tr").nth(2).click()
    opened.page.keyboard.press("k")
    saved(opened, tmp_path / "d.json")
    done = amg(
        "select", run, "--output", "one", "--decisions", "d.json", "--format", "coco", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert coco_counts(tmp_path / "one")["chelsea.jpg"] == [opened.kept()[2]]


def test_marks_are_of_the_masks_they_were_made_on(browser, run, tmp_path):
    """A view that is made again of other masks has none of their marks; of the same ones, all."""
    shutil.copy(run / "annotations.json", tmp_path / "masks.json")
    page = view_of(tmp_path / "masks.json")
    opened = Opened(browser, page)
    key = keys_of(opened)["chelsea.jpg"]
    mark_some(opened, "chelsea.jpg")
    view_of(tmp_path / "masks.json", "--images", tmp_path)  # another command, the same masks
    wrong = opened.page.locator(".masks tr.wrong")
    opened.page.reload()
    opened.image(key)
    assert wrong.count() == 2
    values = json.loads((tmp_path / "masks.json").read_text())
    of_chelsea = next(each["id"] for each in values["images"] if each["file_name"] == "chelsea.jpg")
    gone = next(each for each in values["annotations"] if each["image_id"] == of_chelsea)
    values["annotations"].remove(gone)
    (tmp_path / "masks.json").write_text(json.dumps(values))
    view_of(tmp_path / "masks.json")
    opened.page.reload()
    opened.image(key)
    assert wrong.count() == 0
    opened.context.close()


def test_two_windows_keep_each_others_marks(browser, run):
    opened = Opened(browser, run / "view/index.html")
    names = [name for name, key in keys_of(opened).items() if name in ("chelsea.jpg", NASTY)]
    other = opened.context.new_page()
    for page, name in zip((opened.page, other), names, strict=True):
        page.goto(f"file://{opened.path}#{keys_of(opened)[name]}")
        page.wait_for_selector(".masks tbody tr")
    for page in (opened.page, other):
        page.locator(".masks tbody tr").first.click()
        page.keyboard.press("x")
        page.wait_for_selector(".masks tr.wrong")
    opened.page.goto(f"file://{opened.path}#")
    opened.page.reload()
    opened.page.get_by_label("Show").select_option("wrong")
    assert opened.page.locator(".cards li").count() == 2
    opened.context.close()


def test_decisions_of_other_masks_change_nothing(opened, tmp_path):
    mark_some(opened, "chelsea.jpg")
    values = saved(opened, tmp_path / "d.json")
    values["images"][0]["masks"] += 1
    (tmp_path / "d.json").write_text(json.dumps(values))
    opened.page.locator('input[type="file"]').set_input_files(tmp_path / "d.json")
    said = "Nothing is changed: chelsea.jpg has other masks here."
    opened.page.wait_for_function(f"document.querySelector('#status').textContent === '{said}'")
    assert opened.page.locator(".masks tr.wrong").count() == 2


# Runs of other kinds


def test_every_image_of_a_run_without_candidates_opens(browser, run, photos, tmp_path):
    """Also one without masks, where others have scores."""
    page = view_of(run, "--against", run, "--output", tmp_path / "both")
    for path in (page, view_of_masks(run, tmp_path)):
        opened = Opened(browser, path)
        for image in opened.page.evaluate("amg.index.images"):
            if image["error"] is None:
                opened.page.goto(f"file://{path}#{image['key']}")
                opened.page.wait_for_function(
                    f"amg.page()?.wanted === {image['key']} && amg.page().masks"
                )
        assert opened.complaints == []
        opened.context.close()


def view_of_masks(run, folder):
    """A view of a run's masks as they are, without their candidates."""
    shutil.copy(run / "annotations.json", folder / "alone.json")
    return view_of(folder / "alone.json", "--output", folder / "alone")


def test_an_image_whose_data_is_missing_leaves_nothing_to_mark(browser, run, tmp_path):
    shutil.copytree(run / "view", tmp_path / "view")
    opened = Opened(browser, tmp_path / "view/index.html")
    keys = keys_of(opened)
    (tmp_path / f"view/data/{keys[NASTY]}.js").unlink()
    opened.image(keys["chelsea.jpg"])
    opened.page.goto(f"file://{opened.path}#{keys[NASTY]}")
    opened.page.wait_for_function(
        "document.querySelector('#status').textContent.includes('missing')"
    )
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("x")
    assert (
        opened.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('wrong'))")
        == []
    )
    assert opened.page.locator(".masks tbody tr").count() == 0
    opened.context.close()


def test_photographs_that_are_gone_are_said_once(browser, run, tmp_path):
    shutil.copy(run / "annotations.json", tmp_path / "masks.json")
    done = amg("view", "masks.json", "--output", "v", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "(and 2 more); give the folder of the --images" in done.stderr
    opened = Opened(browser, tmp_path / "v/index.html")
    assert opened.page.locator(".cards img").count() == 0
    opened.context.close()


@pytest.mark.parametrize(
    ("name", "typed"),
    [("stability_score_thresh", "1.5"), ("box_nms_thresh", "2"), ("max_area", "150%"),
     ("containment_thresh", "5%"), ("min_area", "-1"), ("pred_iou_thresh", "1e999")],
)  # fmt: skip
def test_the_page_takes_no_value_that_the_command_refuses(opened, name, typed):
    opened.image(keys_of(opened)["chelsea.jpg"])
    before = opened.command()
    opened.set(name, typed)
    assert opened.page.locator(f"#setting-{name}").get_attribute("aria-invalid") == "true"
    assert opened.command() == before
    opened.page.get_by_role("button", name="As the run had them").click()
    assert opened.page.locator(f"#setting-{name}").get_attribute("aria-invalid") == "false"


def test_an_area_is_one_word_of_the_command(opened):
    opened.image(keys_of(opened)["chelsea.jpg"])
    opened.set("min_area", "5 %")
    command = opened.command()
    assert command[command.index("--min-area") + 1] == "5%"


# Two runs


def test_two_runs_are_compared(browser, run, tmp_path):
    options = ["--pred-iou-thresh", "0.9", "--format", "coco"]
    other = amg("select", run, "--output", tmp_path / "other", *options, cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    page = view_of(run, "--against", tmp_path / "other", "--output", tmp_path / "both")
    opened = Opened(browser, page)
    left, right = coco_counts(run), coco_counts(tmp_path / "other")
    key = keys_of(opened)["chelsea.jpg"]
    facts = opened.page.locator(f'.cards a[href="#{key}"] .facts').inner_text()
    nb_left, nb_right = len(left["chelsea.jpg"]), len(right["chelsea.jpg"])
    assert f"{nb_left - nb_right} only left, 0 only right" in facts
    opened.page.goto(f"file://{page}#{key}")
    opened.page.wait_for_function("amg.page()?.masks")
    shown = "amg.page().views.map((view) => view.shown.length)"
    for kind, counts in (
        ("all", [nb_left, nb_right]),
        ("both", [nb_right, nb_right]),
        ("one", [nb_left - nb_right, 0]),
    ):
        opened.page.locator(f'input[value="{kind}"]').check()
        assert opened.page.evaluate(shown) == counts
    opened.page.keyboard.press("+")
    scales = opened.page.evaluate("amg.page().views.map((view) => view.scale)")
    assert scales[0] == scales[1]
    assert opened.complaints == []
    opened.context.close()


# The command


def test_a_view_takes_the_place_of_a_view_and_of_nothing_else(run, tmp_path):
    assert amg("view", run, "--output", tmp_path / "v", cwd=tmp_path).returncode == 0
    assert amg("view", run, "--output", tmp_path / "v", cwd=tmp_path).returncode == 0
    (tmp_path / "mine").mkdir()
    done = amg("view", run, "--output", tmp_path / "mine", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"amg: {tmp_path / 'mine'}: is there, and is no view of amg; give another --output\n"
    )


def test_what_is_no_run_has_no_view(tmp_path):
    done = amg("view", tmp_path / "none", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    done = amg("view", tmp_path / "empty", cwd=tmp_path)
    assert done.returncode == 1
    assert not (tmp_path / "empty/view").exists()


def test_settings_that_a_page_cannot_repeat_show_masks(run, photos, tmp_path):
    options = [*RUN, "--save-candidates", "--smooth", "2"]
    done = amg("--input", photos / "chelsea.jpg", "--output", "out", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    view_of(tmp_path / "out")
    index = (tmp_path / "out/view/data/index.js").read_text()
    values = json.loads(index.removeprefix("amg.index=").rstrip(";\n"))
    assert values["kind"] == "masks"
    assert values["note"].startswith("The run has --smooth, which a page cannot repeat.")


def test_a_sheet_is_a_picture(run, tmp_path):
    done = amg("view", run, "--sheet", "sheet.png", "--sheet-images", "2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "sheet.png\n")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 1600


def test_a_sheet_takes_the_place_of_no_folder_and_no_photograph(run, photos, tmp_path):
    (tmp_path / "d.png").mkdir()
    (tmp_path / "d.png/mine").write_text("mine")
    done = amg("view", run, "--sheet", "d.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "amg: d.png: is a folder; give --sheet a file\n")
    assert (tmp_path / "d.png/mine").exists()
    before = (photos / "chelsea.jpg").read_bytes()
    done = amg("view", run, "--sheet", photos / "chelsea.jpg", cwd=tmp_path)
    said = f"amg: {photos / 'chelsea.jpg'}: is one of the images; give another --sheet\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert (photos / "chelsea.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sheet", "s.png", "--output", "v"], "--output does not go with --sheet"),
        (["--sheet", "s.png", "--photo-size", "99"], "--photo-size does not go with --sheet"),
        (["--sheet-images", "3"], "--sheet-images goes with --sheet"),
        (["--sheet", "s.gif"], "'s.gif' is no .jpg and no .png"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, tmp_path, options, said):
    done = amg("view", run, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_run_ends_with_its_page(photos, tmp_path):
    command = ["--input", photos / "chelsea.jpg", "--output", "out", "--points-per-side", "4"]
    command += ["--view", "--quiet"]
    done = amg(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["out/chelsea", "out/view/index.html"]
    assert (tmp_path / "out/view/thumbnails/1.jpg").exists()
    again = amg(*command, cwd=tmp_path)
    assert again.stdout.splitlines() == ["out/view/index.html"]


def test_a_run_of_which_all_fail_ends_with_its_page_too(photos, tmp_path):
    command = ["--input", photos / "torn.jpg", "--output", "out", "--view", "--quiet"]
    done = amg(*command, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == "out/view/index.html\n"


def test_a_photograph_may_be_called_as_the_view_is(photos, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(photos / "chelsea.jpg", tmp_path / "in/view.jpg")
    command = ["--input", "in", "--output", "out", "--points-per-side", "4", "--quiet"]
    done = amg(*command, "--view", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out/view/index.html" in done.stdout.splitlines()
    again = amg(*command[:3], "plain", *command[4:], cwd=tmp_path)
    assert again.stdout == "plain/view\n"  # no other name than ever
    done = amg("view", "plain", cwd=tmp_path)
    said = "amg: plain/view: is there, and is no view of amg; give another --output\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "-"], "--view needs a folder to write to"),
        (["--output", "out", "--format", "yolo"], "--view reads masks: give --format"),
    ],
)
def test_a_page_of_a_run_needs_masks_in_a_folder(options, said, photos, tmp_path):
    done = amg("--input", photos / "chelsea.jpg", "--view", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_boxes_have_a_page_too(photos, tmp_path):
    (tmp_path / "boxes.ndjson").write_text(
        json.dumps({"image": "chelsea.jpg", "box": [60, 20, 150, 130], "category": "cat"}) + "\n"
    )
    command = ["--input", photos / "chelsea.jpg", "--output", "out", "--view", "--quiet"]
    done = amg("boxes", "--detections", "boxes.ndjson", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "out/view/index.html"
    index = (tmp_path / "out/view/data/index.js").read_text()
    assert json.loads(index.removeprefix("amg.index=").rstrip(";\n"))["images"][0]["masks"] == 1
