"""`SegmentAnythingModel`: the seed's config, end to end, in training, at odd sizes and channels."""

import dataclasses

import numpy as np
import pytest
import torch

from amg_cli import Prompts, encode_image, load_model, predict
from amg_cli.core.errors import ConfigError
from amg_cli.models.configs import VitConfig
from amg_cli.tfimm import (
    SAMPredictor,
    SegmentAnythingModel,
    SegmentAnythingModelConfig,
    create_model,
)
from amg_cli.weights.channels import with_channels
from amg_cli.weights.zoo import ZOO
from tests.conftest import with_seeded_weights

SMALL = SegmentAnythingModelConfig(
    name="small",
    input_size=(64, 96),
    embed_dim=32,
    encoder_patch_size=8,
    encoder_embed_dim=24,
    encoder_nb_blocks=3,
    encoder_nb_heads=3,
    encoder_global_attn_indices=(1,),
    encoder_window_size=5,
    prompt_mask_hidden_dim=8,
    decoder_nb_blocks=3,
    decoder_nb_heads=4,
    decoder_mlp_channels=48,
    decoder_iou_head_depth=2,
    decoder_iou_hidden_dim=24,
)
# The document's list of fields and defaults, as text.
SEED = """name='', url='', in_channels=3, input_size=(1024, 1024), fixed_input_size=True,
embed_dim=256, nb_multimask_outputs=3, mask_threshold=0.0, encoder_patch_size=16,
encoder_embed_dim=768, encoder_nb_blocks=12, encoder_nb_heads=12, encoder_mlp_ratio=4.0,
encoder_drop_rate=0.0, encoder_attn_drop_rate=0.0, encoder_drop_path_rate=0.0,
encoder_norm_layer='layer_norm_eps_1e-6', encoder_act_layer='gelu', encoder_qkv_bias=True,
encoder_global_attn_indices=(2, 5, 8, 11), encoder_window_size=14, prompt_mask_hidden_dim=16,
decoder_nb_blocks=2, decoder_nb_heads=8, decoder_mlp_channels=2048, decoder_iou_head_depth=3,
decoder_iou_hidden_dim=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
first_conv='image_encoder/patch_embed/proj'"""


def made(**changes):
    model = SegmentAnythingModel(dataclasses.replace(SMALL, **changes))
    with_seeded_weights(model.sam)
    return model


def inputs_of(model, count=2, seed=0, **sizes):
    config = model.sam.config
    height, width = config.input_size
    rng = np.random.default_rng(seed)
    m1, m2, m3 = (sizes.get(name, 1) for name in ("m1", "m2", "m3"))
    corners = np.sort(rng.uniform(0, height, (count, m2, 2, 2)), axis=2)
    arrays = {
        "images": rng.normal(0, 1, (count, height, width, len(config.mean))),
        "points": rng.uniform(0, height, (count, m1, 2)),
        "labels": rng.integers(0, 2, (count, m1)),
        "boxes": corners.reshape(count, m2, 4),
        "masks": rng.normal(0, 3, (count, m3, *model.mask_size())),
    }
    return {k: torch.from_numpy(v).float() for k, v in arrays.items()}


# The config


def test_every_field_of_the_document_is_there_with_its_default():
    import ast

    call = ast.parse(f"f({SEED})", mode="eval").body
    wanted = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert dataclasses.asdict(SegmentAnythingModelConfig()) == wanted


def test_the_defaults_are_vit_bs():
    found, wanted = SegmentAnythingModelConfig().to_sam_config(), ZOO["vit_b"].config
    for name in ("mean", "std"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name))
    assert dataclasses.replace(found, mean=wanted.mean, std=wanted.std) == wanted


def test_every_field_reaches_the_architecture():
    config = dataclasses.replace(
        SMALL, encoder_norm_layer="layer_norm", encoder_drop_rate=0.1, encoder_attn_drop_rate=0.2,
        encoder_drop_path_rate=0.3, mask_threshold=0.5, fixed_input_size=False,
    ).to_sam_config()  # fmt: skip
    assert config.encoder == VitConfig(
        patch_size=8, grid_hw=(8, 12), embed_dim=24, nb_blocks=3, nb_heads=3, window_size=5,
        global_blocks=(1,), layer_norm_eps=1e-5, drop_rate=0.1, attn_drop_rate=0.2,
        drop_path_rate=0.3,
    )  # fmt: skip
    assert (config.mask_threshold, config.fixed_input_size, config.input_size) == (
        0.5,
        False,
        (64, 96),
    )
    assert (config.decoder.nb_blocks, config.decoder.iou_head_depth) == (3, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder_norm_layer": "batch_norm"}, "encoder_norm_layer: batch_norm is not known"),
        ({"encoder_norm_layer": "layer_norm_eps_e-"}, "encoder_norm_layer: "),
        ({"encoder_act_layer": "relu"}, "encoder_act_layer: relu is not known; gelu"),
        ({"input_size": (60, 96)}, r"input_size: \(60, 96\) are no multiples of 8 pixels"),
        ({"in_channels": 4}, "mean: one number for each of 4 channels"),
    ],
)
def test_what_there_is_none_of_is_refused(changes, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        dataclasses.replace(SMALL, **changes).to_sam_config()


# End to end


@pytest.mark.parametrize("multimask", [True, False])
def test_forward_answers_as_the_predictor(multimask):
    model = made()
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)  # of the input's size: not scaled
    config = model.sam.config
    given = inputs_of(model, 1, m1=2, m2=2, m3=2)
    given["images"] = torch.from_numpy((image - np.array(config.mean)) / config.std).float()[None]
    masks, scores, low_res = model(given, multimask_output=multimask, return_logits=True)
    predictor = SAMPredictor(model)
    predictor.set_image(image)
    parts = [given[name].numpy() for name in ("points", "labels", "boxes", "masks")]
    wanted = predictor(*parts, multimask_output=multimask, return_logits=True)
    for a, b in zip((masks, scores, low_res), wanted, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, atol=2e-4)
    decided, _, _ = model(given, multimask_output=multimask)
    assert torch.equal(decided, masks > 0)
    assert decided.dtype == torch.bool


@pytest.mark.parametrize("missing", [("points", "labels"), ("boxes",), ("masks",)])
def test_none_of_a_kind_may_be_an_empty_tensor_or_missing(missing):
    model = made()
    empty = {"points": "m1", "boxes": "m2", "masks": "m3"}[missing[0]]
    given = inputs_of(model, **{empty: 0})
    with torch.no_grad():
        found = model(given, multimask_output=True)
        wanted = model({k: v for k, v in given.items() if k not in missing}, multimask_output=True)
        assert [x.shape for x in found] == [(2, 3, 64, 96), (2, 3), (2, 3, 32, 48)]
        for a, b in zip(found, wanted, strict=True):
            assert torch.equal(a, b)


def test_each_image_has_its_own_prompt():
    model = made()
    given = inputs_of(model, 3)
    with torch.no_grad():
        _, scores, low_res = model(given)
        for i in range(3):
            alone = model({name: values[i : i + 1] for name, values in given.items()})
            torch.testing.assert_close(alone[1][0], scores[i], atol=1e-5, rtol=0)
            torch.testing.assert_close(alone[2][0], low_res[i], atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_other_numbers_of_channels(channels):
    mean = tuple(np.linspace(0.3, 0.5, channels))
    model = made(in_channels=channels, mean=mean, std=(0.2,) * channels)
    dummy = model.dummy_inputs
    assert dummy["images"].shape == (1, 64, 96, channels)
    with torch.no_grad():
        masks, scores, low_res = model(dummy, multimask_output=True)
    assert (masks.shape, scores.shape) == ((1, 3, 64, 96), (1, 3))
    assert low_res.shape == (1, 3, *model.mask_size())
    predictor = SAMPredictor(model)
    rng = np.random.default_rng(0)
    predictor.set_image(rng.integers(0, 256, (40, 50, channels), dtype=np.uint8))
    assert predictor(boxes=np.array([[5, 5, 30, 30]]))[0].shape == (3, 40, 50)


def test_sizes_are_told_and_others_refused():
    model = made()
    assert (model.grid_size(), model.mask_size()) == ((8, 12), (32, 48))
    assert (model.grid_size((16, 24)), model.mask_size((16, 24))) == ((2, 3), (8, 12))
    with pytest.raises(ValueError, match=r"^input_size: multiples of 8 are wanted, not \(12, 8\)"):
        model.grid_size((12, 8))
    small = torch.zeros(1, 64, 88, 3)
    with pytest.raises(ValueError, match=r"^images: \(N, 64, 96, 3\) is wanted, as the size is fi"):
        model({"images": small})
    with pytest.raises(ValueError, match=r"^images: \(N, H, W, 3\) is wanted, not \(1, 3"):
        model({"images": torch.zeros(1, 3, 64, 96)})
    with pytest.raises(ValueError, match=r"^points: N is 2, and that of images 1"):
        model({"images": torch.zeros(1, 64, 96, 3), "points": torch.zeros(2, 1, 2)})
    loose = made(fixed_input_size=False)
    with torch.no_grad():
        assert loose({"images": small})[0].shape == (1, 1, 64, 88)
    with pytest.raises(ValueError, match=r"^input_size: multiples of 8 are wanted"):
        loose({"images": torch.zeros(1, 64, 90, 3)})


# Training


def test_gradients_reach_all_three_parts_and_the_mode_comes_back():
    model = made(encoder_drop_rate=0.3, encoder_attn_drop_rate=0.3, encoder_drop_path_rate=0.3)
    model.requires_grad_(True)
    assert not model.training
    masks, scores, low_res = model(inputs_of(model), training=True, return_logits=True)
    assert not model.training
    assert not any(part.training for part in model.modules())
    (masks.mean() + scores.mean() + low_res.mean()).backward()
    for part in ("image_encoder", "prompt_encoder", "mask_decoder"):
        gradients = [p.grad for p in getattr(model.sam, part).parameters() if p.grad is not None]
        assert any(gradient.abs().max() > 0 for gradient in gradients), part


@pytest.mark.parametrize(
    "rate", ["encoder_drop_rate", "encoder_attn_drop_rate", "encoder_drop_path_rate"]
)
def test_dropout_and_drop_path_are_active_in_training_alone(rate):
    model, given = made(**{rate: 0.5}), None
    given = inputs_of(model)
    with torch.no_grad():
        torch.manual_seed(0)
        first, second = (model(given, training=True)[1] for _ in range(2))
        assert not torch.equal(first, second)
        still, again = (model(given)[1] for _ in range(2))
        assert torch.equal(still, again)


# By name


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_known_weights_are_adapted_to_the_channels(channels):
    plain = create_model("nano", pretrained=True).sam
    adapted = create_model("nano", pretrained=True, in_channels=channels).sam
    key = "image_encoder.patch_embed.seq.0.c.weight"
    wanted, found = plain.state_dict()[key], adapted.state_dict()[key]
    if channels == 1:
        assert torch.equal(found, wanted.sum(dim=1, keepdim=True))
        assert adapted.config.mean == (pytest.approx(sum(plain.config.mean) / 3),)
    else:
        order = [i % 3 for i in range(channels)]
        torch.testing.assert_close(found, wanted[:, order] * 3 / channels)
        assert adapted.config.mean == tuple(plain.config.mean[i] for i in order)
    assert adapted.config.encoder.in_channels == len(adapted.config.std) == channels
    others = {k: v for k, v in adapted.state_dict().items() if k != key}
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in others.items())


def test_grey_in_one_channel_is_about_grey_in_three(tiny_model):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 9), dtype=np.uint8)
    grey = coarse.repeat(20, axis=0).repeat(20, axis=1)
    prompts = Prompts(boxes_xyxy=[[20, 20, 100, 80]])
    three = load_model("nano", device="cpu", image_size=256)
    one = load_model("nano", device="cpu", image_size=256, in_channels=1)
    found = predict(one, encode_image(one, grey), prompts, multimask=False)
    wanted = predict(three, encode_image(three, grey), prompts, multimask=False)
    both = (found.masks & wanted.masks).sum() / (found.masks | wanted.masks).sum()
    assert both > 0.9


def test_a_model_is_loaded_at_any_size_and_one_of_no_channels_is_refused():
    model = load_model("nano", device="cpu", input_size=(256, 384))
    assert model.config.input_size == (256, 384)
    image = np.zeros((100, 300, 3), np.uint8)
    assert encode_image(model, image).frame.resized_hw == (128, 384)
    for size in ((250, 384), (0, 16), (16.5, 32)):
        with pytest.raises(ConfigError, match=r"^image size: "):
            load_model("nano", device="cpu", input_size=size)
    for channels in (0, -1, 1.5):
        with pytest.raises(ConfigError, match=r"^in_channels: .* is not a whole number from 1"):
            load_model("nano", device="cpu", in_channels=channels)
    config, state = ZOO["vit_b"].config, {"image_encoder.patch_embed.proj.weight": torch.ones(2, 3)}
    assert with_channels(config, state, 3) == (config, state)


def test_new_models_have_random_weights_and_files_theirs(tmp_path):
    new = create_model("nano", in_channels=2, input_size=(256, 256), fixed_input_size=True)
    assert new.sam.config.encoder.in_channels == 2
    assert new.sam.config.input_size == (256, 256)
    assert not new.training
    known = create_model("nano", pretrained=True)
    torch.save(known.sam.state_dict(), tmp_path / "mine.pt")
    mine = create_model("nano", model_path=tmp_path / "mine.pt")
    for a, b in zip(mine.sam.parameters(), known.sam.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(p.requires_grad for p in mine.sam.mask_decoder.parameters())
