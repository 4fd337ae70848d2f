"""The predictors: the published answers to prompts of every kind, and what is held of an image."""

import dataclasses

import numpy as np
import pytest
import torch

import amg_cli
from amg_cli import Prompts, encode_image, load_model, predict
from amg_cli.models.configs import SamConfig, TwoWayConfig, VitConfig
from amg_cli.models.sam import Sam
from amg_cli.segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from amg_cli.weights.zoo import ZOO
from tests.conftest import GOLDENS, photo, shared, with_seeded_weights
from tests.goldens import prompted

HOWS = ("one", "batch")


@pytest.fixture(scope="module")
def odd_vit():
    size = dict(prompted.ODD_VIT)
    channels, grid = size.pop("out_channels"), size.pop("grid_size")
    global_blocks = (size.pop("global_block"),)
    encoder = VitConfig(**size, grid_hw=(grid, grid), global_blocks=global_blocks)
    side = encoder.patch_size * grid
    config = SamConfig(encoder, TwoWayConfig(), input_size=(side, side), embed_dim=channels)
    return with_seeded_weights(Sam(config))


@pytest.fixture(
    scope="module",
    params=[
        ("odd_vit", "wide"),
        ("odd_vit", "tall"),
        pytest.param(("vit_t", "wide"), marks=pytest.mark.weights),
        pytest.param(("vit_t", "tall"), marks=[pytest.mark.weights, pytest.mark.slow]),
    ],
    ids="-".join,
)
def asked(request):
    """A predictor that has an image, the first answers' logits, and the published answers."""
    name, shape = request.param
    if name == "odd_vit":
        model, image = request.getfixturevalue("odd_vit"), prompted.small_image()
    else:
        model = request.getfixturevalue("real_model")
        image = photo(shared("data/samples/dog.jpg"))
    predictor = SamPredictor(model)
    predictor.set_image(prompted.turned(image, shape))
    given = prompted.prompts("point", predictor.original_size)
    first = ask(predictor, given, "batch", multimask_output=False)[2]
    return predictor, first, np.load(GOLDENS / f"predictor/{name}.npz"), shape


def ask(predictor, given, how, **options):
    size_hw = predictor.original_size
    if how == "one":
        names = {"points": "point_coords", "labels": "point_labels", "boxes": "box"}
        names["masks"] = "mask_input"
        answers = predictor.predict(**{names[k]: v[0] for k, v in given.items()}, **options)
        return tuple(map(torch.from_numpy, answers))
    tensors = {part: torch.from_numpy(values) for part, values in given.items()}
    transform = predictor.transform
    points = boxes = None
    if "points" in given:
        points = transform.apply_coords_torch(tensors["points"], size_hw)
    if "boxes" in given:
        boxes = transform.apply_boxes_torch(tensors["boxes"], size_hw)
    answers = (points, tensors.get("labels"), boxes, tensors.get("masks"))
    return predictor.predict_torch(*answers, **options)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("out", ["multi", "single"])
@pytest.mark.parametrize("kind", prompted.KINDS)
def test_it_answers_as_the_published_predictor(asked, kind, out, how):
    predictor, first, golden, shape = asked
    given = prompted.prompts(kind, predictor.original_size)
    if "masks" in prompted.KINDS[kind]:
        given["masks"] = first.numpy()
    if not given and how == "batch":
        pytest.skip("there is nothing to batch")
    name = f"{kind}.{out}.{how}"
    options = {"multimask_output": out == "multi"}
    masks, scores, low_res = (x.numpy() for x in ask(predictor, given, how, **options))
    logits = ask(predictor, given, how, return_logits=True, **options)[0].numpy()

    def published(part):
        return golden[f"{shape}.{name}.{part}"]

    np.testing.assert_allclose(scores, published("scores"), rtol=0, atol=1e-5)
    wanted = np.unpackbits(published("masks"), count=masks.size).reshape(masks.shape).astype(bool)
    assert (np.abs(logits[masks != wanted]) < 2e-4).all()
    for part, values in (("low_res", low_res), ("logits", logits)):
        found = prompted.few(name, values)
        np.testing.assert_allclose(found, published(part), rtol=1e-5, atol=5e-4)


# What holding an image means


def test_two_predictors_on_one_model_never_mix(odd_vit):
    wide, tall = SamPredictor(odd_vit), SamPredictor(odd_vit)
    image = prompted.small_image()
    wide.set_image(image)
    box = np.array([10, 10, 30, 40])
    before = wide.predict(box=box)
    tall.set_image(prompted.turned(image, "tall"))
    for found, wanted in zip(wide.predict(box=box), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (wide.original_size, tall.original_size) == ((50, 83), (83, 50))
    assert (wide.input_size, tall.input_size) == ((43, 72), (72, 43))


def test_an_image_is_set_in_any_form_and_forgotten(odd_vit):
    image = prompted.small_image()
    predictor = SamPredictor(odd_vit)
    assert (predictor.is_image_set, predictor.features, predictor.input_size) == (False, None, None)
    for use in (
        lambda: predictor.predict(box=np.array([1, 2, 3, 4])),
        lambda: predictor.predict_torch(None, None),
        predictor.get_image_embedding,
    ):
        with pytest.raises(RuntimeError, match=r"^no image is set; call set_image\(image\) first$"):
            use()
    predictor.set_image(image)
    features = predictor.get_image_embedding()
    assert features.shape == (1, 32, 9, 9)
    predictor.set_image(image[..., ::-1], image_format="BGR")
    assert torch.equal(predictor.get_image_embedding(), features)
    scaled = torch.from_numpy(predictor.transform.apply_image(image)).permute(2, 0, 1)[None]
    predictor.set_torch_image(scaled, image.shape[:2])
    assert torch.equal(predictor.get_image_embedding(), features)
    assert predictor.is_image_set
    assert predictor.device == torch.device("cpu")
    predictor.reset_image()
    assert not predictor.is_image_set


def test_what_an_image_cannot_be_is_said(odd_vit):
    predictor = SamPredictor(odd_vit)
    with pytest.raises(ValueError, match=r"^image_format: RGB or BGR is wanted, not HSV$"):
        predictor.set_image(prompted.small_image(), "HSV")
    with pytest.raises(
        ValueError, match=r"^transformed_image: \(1, 3, h, w\) with a longest .* 72"
    ):
        predictor.set_torch_image(torch.zeros(1, 3, 40, 50), (40, 50))
    predictor.set_image(prompted.small_image())
    with pytest.raises(ValueError, match=r"^point_coords and point_labels: one is given without"):
        predictor.predict(point_coords=np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"^box: \(4,\) is wanted, not \(2, 4\)"):
        predictor.predict(box=np.zeros((2, 4)))
    tensor = torch.zeros
    for given, words in (
        ((tensor(2, 2), tensor(2)), r"points_xy: \(N, M1, 2\) is wanted, not \(2, 2\)"),
        ((tensor(2, 1, 2), tensor(2, 2)), r"labels: \(2, 1\) is wanted, not \(2, 2\)"),
        ((None, None, tensor(2, 5)), r"boxes_xyxy: \(N, 4\) or \(N, M2, 4\) is wanted, not \(2, 5"),
        (
            (tensor(2, 1, 2), tensor(2, 1), tensor(3, 4)),
            "points, boxes, masks and tokens: give the same nu",
        ),
        ((None, None, None, tensor(1, 36, 36)), r"masks: \(N, M3, H', W'\) is wanted"),
    ):
        with pytest.raises(ValueError, match=f"^{words}"):
            predictor.predict_torch(*given)
    with pytest.raises(TypeError, match=r"^masks: float logits are wanted, not torch\.bool"):
        predictor.predict_torch(None, None, mask_input=tensor(1, 1, 36, 36) > 0)


def test_the_generator_gives_the_references_dicts():
    model = sam_model_registry["nano"]()
    image = prompted.small_image()
    generator = SamAutomaticMaskGenerator(model, points_per_side=4, pred_iou_thresh=0.5)
    found = generator.generate(image)
    config = amg_cli.GenerationConfig(points_per_side=4, pred_iou_thresh=0.5)
    masks = amg_cli.generate(image, model, config)
    assert [record["predicted_iou"] for record in found] == [mask.pred_iou for mask in masks] != []
    assert found[0]["segmentation"].shape == (50, 83)
    rles = SamAutomaticMaskGenerator(
        model, points_per_side=None, point_grids=[np.array([[0.5, 0.5]])], output_mode="coco_rle",
        pred_iou_thresh=0, stability_score_thresh=0,
    ).generate(image)  # fmt: skip
    assert all(set(record["segmentation"]) == {"size", "counts"} for record in rles)
    assert len(rles) == 3
    with pytest.raises(TypeError, match="points_per_sidee"):
        SamAutomaticMaskGenerator(model, points_per_sidee=4)
    assert set(sam_model_registry) >= {"default", "vit_h", "vit_l", "vit_b", "vit_t", *ZOO}


@pytest.mark.parametrize(
    "name", ["nano", pytest.param("vit_t", marks=[pytest.mark.weights, pytest.mark.slow])]
)
def test_the_prepared_path_equals_the_plain_one(name, request):
    model = load_model() if name == "nano" else request.getfixturevalue("real_model")
    image = prompted.small_image()
    encoded = encode_image(model, image)
    embedding = dataclasses.replace(encoded.embedding, shared=None)
    plain = dataclasses.replace(encoded, embedding=embedding)
    first = predict(model, encoded, Prompts([[[20, 20]]] * 3), multimask=False).low_res
    for kind, parts in prompted.KINDS.items():
        given = prompted.prompts(kind, (50, 83))
        masks = first if "masks" in parts else None
        prompts = Prompts(given.get("points"), given.get("labels"), given.get("boxes"), masks)
        for multimask in (True, False):
            found = predict(model, encoded, prompts, multimask=multimask, return_logits=True)
            wanted = predict(model, plain, prompts, multimask=multimask, return_logits=True)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
            np.testing.assert_allclose(found.low_res, wanted.low_res, atol=5e-4)
            np.testing.assert_allclose(found.masks, wanted.masks, atol=5e-4)
