"""Names of masks by a text-image encoder: classes, descriptions, backgrounds, what is refused."""

import dataclasses
import itertools
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from amg_cli import NamingConfig, generate, load_model, name_masks
from amg_cli.batch.image_tasks import Everything
from amg_cli.batch.named import Named
from amg_cli.core import rle
from amg_cli.core.config import GenerationConfig
from amg_cli.core.errors import ConfigError
from amg_cli.core.mask import Mask
from amg_cli.core.naming import BACKGROUNDS
from amg_cli.tasks import names
from amg_cli.tasks.names import PHRASES, Crops, crop_of
from amg_cli.weights.text_image import EncoderSource
from tests.colour_encoder import COLOURS, ColourHistogram
from tests.conftest import REPOSITORY, shared

ENCODER = ColourHistogram()
CLASSES = ("green", "red", "blue")


def mask_of(array, **more):
    encoded = rle.encode(array)
    return Mask(encoded, rle.box(encoded), pred_iou=0.9, stability_score=0.95, **more)


def drawing():
    """Shapes of one colour each on white, and their masks: red, blue, green."""
    image = np.full((120, 160, 3), 255, np.uint8)
    masks = []
    for draw, colour in (
        (lambda canvas, ink: cv2.circle(canvas, (30, 40), 20, ink, -1), "red"),
        (lambda canvas, ink: cv2.rectangle(canvas, (70, 10), (120, 50), ink, -1), "blue"),
        (lambda canvas, ink: cv2.ellipse(canvas, (80, 90), (50, 14), 0, 0, 360, ink, -1), "green"),
    ):
        draw(image, COLOURS[colour])
        canvas = np.zeros(image.shape[:2], np.uint8)
        draw(canvas, 1)
        masks.append(mask_of(canvas.astype(bool)))
    return image, masks


def categories(masks):
    return [mask.category for mask in masks]


def named(image, masks, encoder=ENCODER, **naming):
    return name_masks(image, masks, encoder, NamingConfig(**naming))


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_shapes_are_named_by_their_colours_in_their_order(background):
    image, masks = drawing()
    found = named(image, masks, classes=CLASSES, background=background)
    assert categories(found) == ["red", "blue", "green"]
    assert [mask.category_id for mask in found] == [2, 3, 1]  # in the order of the classes
    assert all(1 / 3 < mask.category_score <= 1 for mask in found)
    for mask, before in zip(found, masks, strict=True):
        assert replace(mask, category=None, category_id=None, category_score=None) == before


def test_a_probability_is_the_softmax_over_the_classes():
    image, masks = drawing()
    naming = NamingConfig(classes=CLASSES)
    found = name_masks(image, masks, ENCODER, naming)
    crops = ENCODER.crops([crop_of(image, mask, naming) for mask in masks]).astype(float)
    odds = np.exp(ENCODER.scale * crops @ ENCODER.texts(CLASSES).T.astype(float))
    wanted = odds.max(axis=1) / odds.sum(axis=1)
    np.testing.assert_allclose([mask.category_score for mask in found], wanted, rtol=1e-5)
    assert wanted.max() < 1 - 1e-6  # so that there is something to get wrong


def test_a_mask_that_no_class_is_sure_enough_for_is_unknown():
    image, masks = drawing()
    image[masks[1].array()] = COLOURS["yellow"]
    sure = named(image, masks, classes=CLASSES)
    found = named(image, masks, classes=CLASSES, unknown_thresh=0.5)
    assert categories(found) == ["red", "unknown", "green"]
    assert found[1].category_score == sure[1].category_score == pytest.approx(1 / 3, abs=0.01)
    assert found[1].category_id == 4
    on_the_edge = named(image, masks, classes=CLASSES, unknown_thresh=sure[0].category_score)
    assert on_the_edge[0].category == "red"  # under, not at


def test_what_may_be_unknown_is_the_last_category_if_it_can_occur():
    assert NamingConfig(classes=CLASSES).categories == CLASSES
    assert NamingConfig(classes=CLASSES, unknown_thresh=0.1).categories == (*CLASSES, "unknown")
    own = NamingConfig(classes=("unknown", "red"), unknown_thresh=0.1)
    assert own.categories == ("unknown", "red")
    assert NamingConfig(texts=["red", "blue"]).categories == ("red", "blue")


def test_the_template_is_what_is_read_for_a_class():
    class Reader(ColourHistogram):
        def texts(self, names):
            self.read = list(names)
            return super().texts(names)

    reader, (image, masks) = Reader(), drawing()
    named(image, masks, reader, classes=("red", "blue"))
    assert reader.read == ["a photo of a red", "a photo of a blue"]
    named(image, masks, reader, classes=("red", "{}"), template="{}, from above: {}")
    assert reader.read == ["red, from above: red", "{}, from above: {}"]
    named(image, masks, reader, texts=("a red disc",))
    assert reader.read == ["a red disc", *PHRASES]


def test_a_description_keeps_what_matches_best_first():
    image, masks = drawing()
    image[masks[0].array()] = COLOURS[
        "green"
    ]  # two are green, of which the disc fills its box less
    found = named(image, masks, texts=["a green thing"], background="keep")
    crops = ENCODER.crops(Crops(image, masks, NamingConfig(texts=["x"], background="keep")))
    like = crops @ ENCODER.texts(["green"])[0]
    like_anything = crops @ ENCODER.texts(["things"])[0]
    wanted = 1 / (1 + np.exp(-ENCODER.scale * (like - like_anything)))
    order = [i for i in np.argsort(-wanted) if wanted[i] >= 0.5]
    assert len(order) == 2
    assert [mask.rle for mask in found] == [masks[i].rle for i in order]
    np.testing.assert_allclose([m.category_score for m in found], wanted[order], rtol=1e-4)
    assert {mask.category for mask in found} == {"a green thing"}
    assert len(named(image, masks, texts=["a green thing"], text_thresh=0, background="keep")) == 3
    first = found[0].category_score
    assert len(named(image, masks, texts=["green"], text_thresh=first, background="keep")) == 1


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_description_is_held_against_the_phrase_that_is_likest(phrase):
    class Reader(ColourHistogram):
        def texts(self, names):
            return super().texts([name.replace(phrase, "red") for name in names])

    image, masks = drawing()
    found = named(image, masks, Reader(), texts=["red"], text_thresh=0)
    assert max(mask.category_score for mask in found) == 0.5  # that of two that are alike
    without = named(image, masks, texts=["red"], text_thresh=0)
    assert max(mask.category_score for mask in without) > 0.7


def test_a_mask_that_matches_several_descriptions_has_the_better():
    image, masks = drawing()
    found = named(image, masks, texts=["blue", "red or blue", "red"], background="black")
    by_rle = {mask.rle["counts"]: mask.category for mask in found}
    assert by_rle == {masks[0].rle["counts"]: "red", masks[1].rle["counts"]: "blue"}


def test_scores_that_are_all_but_one_still_have_an_order():
    """A sigmoid of large numbers is 1, whichever is larger."""

    class Sharp(ColourHistogram):
        scale = 1e4

    image, masks = drawing()
    image[masks[0].array()] = COLOURS["green"]
    wanted = named(image, masks, texts=["green"], background="black")
    found = named(image, masks, Sharp(), texts=["green"], background="black")
    assert [mask.category_score for mask in found] == [1, 1]
    assert [mask.rle for mask in found] == [mask.rle for mask in wanted]


@pytest.mark.parametrize("have_ids", [False, True])
def test_what_is_kept_leads_to_the_nearest_parent_that_is_kept_too(have_ids):
    """A row of masks, each in the next; every second one is red."""
    image = np.full((40, 40, 3), COLOURS["white"], np.uint8)
    masks = []
    for place, size in enumerate((36, 26, 16, 6)):
        inside = np.zeros((40, 40), bool)
        inside[2 : 2 + size, 2 : 2 + size] = True
        image[inside] = COLOURS["blue" if place % 2 else "red"]
        number = 10 * place if have_ids else place
        parent = (None, 0, 10 if have_ids else 1, 20 if have_ids else 2)[place]
        masks.append(mask_of(inside, parent=parent, id=number if have_ids else None))
    rings = [mask_of(m.array() & ~n.array(), parent=m.parent, id=m.id)
             for m, n in itertools.pairwise(masks)]  # fmt: skip
    masks = [*rings, masks[-1]]
    found = named(image, masks, texts=["blue"], background="black", margin=0)
    numbers = {mask.area_px: (mask.id, mask.parent) for mask in found}
    outer, inner = masks[1].area_px, masks[3].area_px
    if have_ids:
        assert numbers == {outer: (10, None), inner: (30, 10)}
    else:
        places = {mask.area_px: i for i, mask in enumerate(found)}
        assert numbers == {outer: (None, None), inner: (None, places[outer])}


def test_masks_that_are_each_others_parents_end():
    masks = [mask_of(np.ones((4, 4), bool), parent=1), mask_of(np.ones((4, 4), bool), parent=0)]
    (kept,) = names.with_kept_parents(masks, [1], masks[1:])
    assert kept.parent == 0  # itself, by way of the other, which is not kept


def test_no_masks_ask_nothing_of_the_encoder():
    class Blind(ColourHistogram):
        def crops(self, pixels):
            raise AssertionError

    image, _ = drawing()
    assert named(image, [], Blind(), classes=CLASSES) == []


def test_a_crop_is_the_box_with_its_margin_as_far_as_the_image_goes():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    inside = np.zeros((50, 60), bool)
    inside[10:30, 2:42] = rng.random((20, 40)) < 0.5
    inside[10:30, 2] = inside[10, 2:42] = inside[29, 2:42] = inside[10:30, 41] = True
    mask = mask_of(inside)
    for margin, rows, columns in ((0, (10, 30), (2, 42)), (0.1, (8, 32), (0, 46)),
                                  (1, (0, 50), (0, 60))):  # fmt: skip
        naming = NamingConfig(texts=["x"], margin=margin, background="keep")
        crop = crop_of(image, mask, naming)
        wanted = image[slice(*rows), slice(*columns)]
        np.testing.assert_array_equal(crop, wanted)
        beside = ~inside[slice(*rows), slice(*columns)]
        for background, value in (("black", 0), ("grey", 128), ("white", 255)):
            crop = crop_of(image, mask, replace(naming, background=background))
            np.testing.assert_array_equal(crop, np.where(beside[..., None], value, wanted))
            assert crop.dtype == np.uint8


@pytest.mark.parametrize("size_hw", [(90, 70), (4, 5), (1, 1), (1, 300)])
def test_a_blurred_background_tells_its_colours_and_no_more(size_hw):
    height, width = size_hw
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[..., 0] //= 4
    inside = np.zeros(size_hw, bool)
    inside[0, 0] = inside[-1, -1] = True
    inside[: height // 2] = True
    crop = crop_of(image, mask_of(inside), NamingConfig(texts=["x"], margin=0))
    np.testing.assert_array_equal(crop[inside], image[inside])
    if height == 90:
        assert crop[~inside].std(axis=0).max() < image[~inside].std(axis=0).min() / 1.5
        np.testing.assert_allclose(crop[~inside].mean(0), image[~inside].mean(0), atol=6)


def test_a_background_that_is_kept_counts():
    """A red cross on green: by its crop it is green, by its own pixels red."""
    image = np.full((60, 60, 3), COLOURS["green"], np.uint8)
    inside = np.zeros((60, 60), bool)
    inside[28:32, 10:50] = inside[10:50, 28:32] = True
    image[inside] = COLOURS["red"]
    found = {
        background: named(image, [mask_of(inside)], classes=CLASSES, background=background)[0]
        for background in BACKGROUNDS
    }
    assert found["keep"].category == "green"
    assert [found[each].category for each in ("grey", "white", "black")] == ["red"] * 3


def test_crops_are_made_when_they_are_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr(names, "crop_of", lambda image, mask, naming: made.append(mask) or image)
    image, masks = drawing()
    crops = Crops(image, masks, NamingConfig(texts=["x"]))
    assert (len(crops), made) == (3, [])
    assert len(list(crops)) == 3
    assert made == masks
    assert list(crops[1:]) == [image, image]
    assert made == [*masks, *masks[1:]]
    with pytest.raises(IndexError):
        crops[3]


def test_the_photographs_pixels_stay_as_they_are():
    image, masks = drawing()
    before = image.copy()
    image.flags.writeable = False
    for background in BACKGROUNDS:
        named(image, masks, classes=CLASSES, background=background)
    np.testing.assert_array_equal(image, before)


def photograph(path, **settings):
    """A photograph, and the masks of everything in it."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    masks = generate(image, load_model("nano", device="cpu"), GenerationConfig(**settings))
    return image, masks


@pytest.fixture(scope="module")
def coffee():
    return photograph(REPOSITORY / "examples/images/coffee.jpg", points_per_side=16)


def redness(image, mask):
    """From green to red, by the CIE's a*, of which the encoder knows nothing."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[mask.array()][:, 1].mean() - 128


def test_names_of_a_photographs_masks_agree_with_their_colours():
    """A truck's red parts, among grey ones."""
    image, masks = photograph(shared("data/samples/truck.jpg"), points_per_side=16)
    naming = {"classes": ("red", "green"), "background": "black", "unknown_thresh": 0.6}
    found = named(image, masks, **naming)
    red, others = (
        [redness(image, m) for m in found if (m.category == "red") is is_red]
        for is_red in (True, False)
    )
    assert len(masks) == len(found)
    assert 3 <= len(red) < len(others)
    assert min(red) > 12 > 6 > np.median(others)


def test_what_matches_red_in_a_photograph_is_redder_than_what_does_not(coffee):
    image, masks = coffee
    found = named(image, masks, texts=["something red"], background="keep", margin=0)
    scores = [mask.category_score for mask in found]
    assert 3 <= len(found) < len(masks)
    assert scores == sorted(scores, reverse=True)
    assert redness(image, found[0]) == max(redness(image, mask) for mask in masks)
    kept = {mask.rle["counts"] for mask in found}
    others = [redness(image, mask) for mask in masks if mask.rle["counts"] not in kept]
    assert np.median([redness(image, mask) for mask in found]) > np.median(others) + 10


def test_a_photograph_with_red_and_green_exchanged_has_the_other_names(coffee):
    image, masks = coffee
    exchanged = np.ascontiguousarray(image[..., [1, 0, 2]])
    for pixels, category in ((image, "red"), (exchanged, "green")):
        found = named(pixels, masks, classes=("green", "red", "blue"), unknown_thresh=0.4)
        assert categories(found).count(category) >= len(masks) - 1


class Wrong(ColourHistogram):
    """An encoder that gives what it should not."""

    def __init__(self, of_crops):
        self.of_crops = of_crops

    def crops(self, pixels):
        return self.of_crops(super().crops(pixels))


@pytest.mark.parametrize(
    ("of_crops", "words"),
    [
        (lambda v: v[:1], r"crops: \(3, D\) float32 is wanted, not ndarray \(1, 7\) float32"),
        (lambda v: v[0], r"crops: \(3, D\) float32 is wanted, not ndarray \(7,\) float32"),
        (lambda v: v.astype(int), r"crops: \(3, D\) float32 is wanted, not ndarray \(3, 7\) int64"),
        (lambda v: 2 * v, "crops: unit vectors are wanted; divide each by its length"),
        (lambda v: v * np.nan, "crops: unit vectors are wanted; divide each by its length"),
        (lambda v: np.eye(3, dtype=np.float32), "has 3 numbers a crop, and 7 a text"),
    ],
)
def test_what_is_no_vectors_is_refused(of_crops, words):
    image, masks = drawing()
    with pytest.raises(ConfigError, match=f"^text-image encoder.*{words}"):
        named(image, masks, Wrong(of_crops), classes=CLASSES)


def test_masks_of_another_image_are_refused():
    image, masks = drawing()
    words = r"^masks: of the image's 160 x 119 pixels are wanted; number 0 is of 160 x 120$"
    with pytest.raises(ValueError, match=words):
        named(image[:-1], masks, classes=CLASSES)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "classes: either these or `texts` are wanted, and not both"),
        ({"classes": ["a", "b"], "texts": ["c"]}, "classes: either these or `texts`"),
        ({"classes": ["cat"]}, "classes: 'cat' alone would be every mask's; give two names"),
        ({"classes": ["cat", "cat"]}, "classes: 'cat' alone would be every mask's; give two names"),
        ({"classes": "cat, dog"}, "classes: a list of names is wanted, not str 'cat, dog'"),
        ({"classes": ["cat", 3]}, "classes: int 3 is no name"),
        ({"texts": [" "]}, "texts: str ' ' is no name"),
        ({"texts": ["a"], "text_thresh": 1.5}, "text_thresh: 1.5 is not in the range 0 to 1"),
        ({"texts": ["a"], "margin": float("nan")}, "margin: nan is not in the range 0 to 1"),
        ({"classes": ["a", "b"], "unknown_thresh": "x"}, "unknown_thresh: 'x' is not in the range"),
        ({"texts": ["a"], "background": "pink"}, "background: 'pink' is none of blur, keep, grey"),
        ({"texts": ["a"], "template": "a photo"}, "template: text with {} for the class is wanted"),
    ],
)
def test_settings_that_have_no_meaning_are_refused_by_name(given, words):
    with pytest.raises(ConfigError) as caught:
        NamingConfig(**given)
    assert str(caught.value).startswith(words)


def test_a_run_that_names_is_a_plain_value_of_settings():
    naming = NamingConfig(classes=CLASSES)
    source = EncoderSource("tests.colour_encoder:encoder")
    task = Named(Everything(GenerationConfig()), naming, source)
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(naming) == hash(dataclasses.replace(naming))
    assert task.frugal.task.config.points_per_batch == 1
    assert task.frugal.frugal is None
