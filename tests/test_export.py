"""ONNX graphs: what they compute is what the model computes, and other programs can run them."""

import csv
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, encode_image, generate
from amg_cli.core import rle as rle_codec
from amg_cli.core.boxes import mask_boxes
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from amg_cli.weights.loading import load_model
from tests.command import amg
from tests.conftest import REPOSITORY, TINY, photo, shared, with_seeded_weights
from tests.stand_ins import settings

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZES = [(96, 96), (60, 90), (150, 40), (33, 200)]
# Logits of seeded weights are around 1; the exporter's order of sums is another.
CLOSE = {"atol": 2e-4, "rtol": 2e-4}


class Graphs:
    """A model, and the sessions of its exported graphs."""

    def __init__(self, model, folder, **how):
        from amg_cli.export.exporting import export

        self.model, self.paths = model, list(export(model, folder, **how))
        self.sessions = {path.stem: onnxruntime.InferenceSession(path) for path in self.paths}

    def run(self, name, **inputs):
        """The outputs of one, by name."""
        session = self.sessions[name]
        given = {name: np.asarray(value) for name, value in inputs.items()}
        outputs = [each.name for each in session.get_outputs()]
        return dict(zip(outputs, session.run(None, given), strict=True))


def picture(size_hw):
    """Smooth noise, (H, W, 3) uint8."""
    coarse = np.random.default_rng(sum(size_hw)).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def on(image):
    return np.float32(image.shape[:2])


def tiny(**changes):
    model = with_seeded_weights(Sam(replace(TINY, **changes)))
    model.image_encoder.fold()
    return model


@pytest.fixture(scope="module", params=["padded", "unpadded"])
def graphs(request, tmp_path_factory):
    """Of a model whose input is of one size, and of one that takes many."""
    model = tiny(fixed_input_size=request.param == "padded", mask_threshold=0.1)
    return Graphs(model, tmp_path_factory.mktemp(request.param))


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", SIZES)
def test_the_encoder_takes_images_of_any_size(graphs, size_hw):
    image = picture(size_hw)
    wanted = encode_image(graphs.model, image).embedding.features
    found = graphs.run("encoder", image=image)["image_embeddings"]
    assert found.shape == wanted.shape
    # Of a resized image a pixel in a thousand is one level off.
    far = np.abs(found - wanted.numpy()).max() / wanted.abs().max()
    assert far < (1e-4 if size_hw == (96, 96) else 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("has_mask", [0, 1])
@pytest.mark.parametrize("count", [1, 4])
def test_the_decoder_is_the_published_one(graphs, count, has_mask):
    image, random = picture((60, 90)), np.random.default_rng(count)
    encoded = encode_image(graphs.model, image)
    height, width = encoded.mask_hw
    points = random.uniform(0, 60, (count, 4, 2)).astype(np.float32)
    labels = np.tile(np.float32([1, 0, 2, 3]), (count, 1))
    labels[0, 1] = -1
    mask = random.normal(size=(1, 1, height, width)).astype(np.float32)
    found = graphs.run(
        "decoder",
        image_embeddings=encoded.embedding.features,
        point_coords=points,
        point_labels=labels,
        mask_input=mask,
        has_mask_input=np.float32([has_mask]),
        orig_im_size=on(image),
    )
    unpadded = with_seeded_weights(Sam(replace(graphs.model.config, pad_points=False)))
    masks = torch.from_numpy(mask).expand(count, -1, -1, -1) if has_mask else None
    prompts = Prompts(torch.from_numpy(points), torch.from_numpy(labels).long(), masks=masks)
    clear, ambiguous = (
        unpadded.decode(replace(encoded.embedding, shared=None), prompts, multimask)
        for multimask in (False, True)
    )
    scores = torch.cat([clear.scores, ambiguous.scores], dim=1).numpy()
    drawn = [each.logits().view(count, -1, height, width) for each in (clear, ambiguous)]
    low_res = torch.cat(drawn, dim=1)
    np.testing.assert_allclose(found["iou_predictions"], scores, **CLOSE)
    np.testing.assert_allclose(found["low_res_masks"], low_res.numpy(), **CLOSE)
    full = torch.stack([encoded.frame.to_image_logits(each) for each in low_res])
    np.testing.assert_allclose(found["masks"], full.numpy(), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", SIZES[:3])
@pytest.mark.parametrize("count", [1, 5])
def test_the_grid_measures_masks_at_the_images_size(graphs, count, size_hw):
    image = picture(size_hw)
    encoded = encode_image(graphs.model, image)
    points = np.random.default_rng(1).uniform(0, 40, (count, 2))
    given = {
        "image_embeddings": encoded.embedding.features,
        "points": points.astype(np.float32),
        "orig_im_size": on(image),
        "stability_offset": np.float32([0.2]),
    }
    found = graphs.run("grid", **given)
    xy = encoded.frame.to_input_xy(points)[:, None]
    labels = torch.ones(count, 1, dtype=torch.int64, device="cpu")
    decoded = graphs.model.decode(encoded.embedding, Prompts(xy, labels))
    low_res = decoded.logits().view(count, 3, *encoded.mask_hw)
    np.testing.assert_allclose(found["scores"], decoded.scores, **CLOSE)
    np.testing.assert_allclose(found["low_res_masks"], low_res, **CLOSE)
    # The measures, of the logits that it gave itself, so that no pixel is on another side.
    low_res = torch.from_numpy(found["low_res_masks"])
    full = torch.stack([encoded.frame.to_image_logits(each) for each in low_res]).numpy()
    areas = (full > 0.1).sum(axis=(2, 3))
    assert np.abs(found["areas"] - areas).max() <= 2
    stability = (full > 0.3).sum(axis=(2, 3)) / np.maximum(1, (full > -0.1).sum(axis=(2, 3)))
    np.testing.assert_allclose(found["stability_scores"], stability, atol=5e-3)
    boxes = np.stack([mask_boxes(torch.from_numpy(each > 0.1)) for each in full])
    some = areas > 0
    assert (found["boxes"] == boxes)[some].mean() > 0.98
    assert (found["boxes"][found["areas"] == 0] == -1).all()
    kept = found["low_res_masks"][some]
    masks = graphs.run("masks", low_res_masks_kept=kept, orig_im_size=on(image))["masks_kept"]
    assert masks.dtype == np.bool_
    assert (masks != (full > 0.1)[some]).mean() < 1e-4


@pytest.mark.slow
def test_an_empty_mask_has_no_box(graphs):
    embedding = encode_image(graphs.model, picture((96, 96))).embedding.features
    given = {"image_embeddings": embedding, "points": np.float32([[5, 5]])}
    # Of so wide an offset nothing is over the threshold and the offset, and all over it less that.
    found = graphs.run(
        "grid", **given, orig_im_size=np.float32([96, 96]), stability_offset=np.float32([1e6])
    )
    assert (found["stability_scores"] == 0).all()
    empty = np.full((1, *found["low_res_masks"].shape[2:]), -1, np.float32)
    masks = graphs.run("masks", low_res_masks_kept=empty, orig_im_size=np.float32([96, 96]))
    assert not masks["masks_kept"].any()


@pytest.mark.slow
def test_graphs_say_what_they_are_of(graphs):
    for path in graphs.paths:
        model = onnx.load(path)
        about = {each.key: each.value for each in model.metadata_props}
        assert about["dtype"] == "fp32"
        assert '"embed_dim": 32' in about["config"]
        assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    names = [each.name for each in graphs.sessions["decoder"].get_inputs()]
    assert sorted(names) == sorted(
        [
            "image_embeddings",
            "point_coords",
            "point_labels",
            "mask_input",
            "has_mask_input",
            "orig_im_size",
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "far"), [("fp16", 0.02), ("int8", 0.3)])
def test_fewer_bits_give_nearly_the_same(tmp_path, dtype, far):
    from amg_cli.export.exporting import export

    model, image = tiny(), picture((60, 90))
    paths = {path.stem: path for path in export(model, tmp_path, dtype=dtype, single_mask=True)}
    encoded = encode_image(model, image)
    session = onnxruntime.InferenceSession(paths["encoder"])
    (found,) = session.run(None, {"image": image})
    wanted = encoded.embedding.features.numpy()
    assert 0 < np.abs(found - wanted).max() < far * np.abs(wanted).max()
    kinds = {each.data_type for each in onnx.load(paths["encoder"]).graph.initializer}
    of_dtype = {onnx.TensorProto.FLOAT16} if dtype == "fp16" else {onnx.TensorProto.INT8}
    assert of_dtype <= kinds or (dtype == "int8" and onnx.TensorProto.UINT8 in kinds)


@pytest.mark.slow
def test_a_later_opset_weights_apart_and_the_single_best_mask(tmp_path, monkeypatch):
    from amg_cli.export import exporting

    monkeypatch.setattr(exporting, "LARGE_BYTES", 0)  # as for the encoders of ViT-L and ViT-H
    graphs = Graphs(tiny(), tmp_path, opset=20, single_mask=True)
    names = {path.name for path in tmp_path.iterdir()}
    apart = {f"{name}.onnx.data" for name in ("encoder", "decoder", "grid")}
    assert names == {path.name for path in graphs.paths} | apart
    assert onnx.load(graphs.paths[0]).opset_import[0].version == 20
    image = picture((60, 90))
    encoded = encode_image(graphs.model, image)
    height, width = encoded.mask_hw
    for nb_points, multimask in ((2, True), (3, False)):
        points = np.random.default_rng(0).uniform(0, 50, (2, nb_points, 2)).astype(np.float32)
        found = graphs.run(
            "decoder",
            image_embeddings=encoded.embedding.features,
            point_coords=points,
            point_labels=np.ones((2, nb_points), np.float32),
            mask_input=np.zeros((1, 1, height, width), np.float32),
            has_mask_input=np.float32([0]),
            orig_im_size=on(image),
        )
        unpadded = with_seeded_weights(Sam(replace(TINY, pad_points=False)))
        labels = torch.ones(2, nb_points, dtype=torch.int64, device="cpu")
        prompts = Prompts(torch.from_numpy(points), labels)
        decoded = unpadded.decode(replace(encoded.embedding, shared=None), prompts, multimask)
        best = decoded.scores.max(dim=1, keepdim=True).values
        np.testing.assert_allclose(found["iou_predictions"], best, **CLOSE)


@pytest.fixture(scope="module")
def nano_graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    done = amg("export", "--output", folder, "--quiet", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    names = ["encoder.onnx", "decoder.onnx", "grid.onnx", "masks.onnx"]
    assert done.stdout.splitlines() == [str(folder / name) for name in names]
    return folder


@pytest.mark.slow
def test_a_host_of_sixty_lines_gives_the_masks_of_amg(nano_graphs, tmp_path):
    image = photo(shared("data/samples/dog.jpg"))
    ppm = tmp_path / "dog.ppm"
    cv2.imwrite(str(ppm), image[..., ::-1])
    script = REPOSITORY / "examples/onnx_everything.py"
    code = script.read_text().split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 60
    subprocess.run([sys.executable, script, nano_graphs, ppm, tmp_path / "out"], check=True)
    rows = list(csv.DictReader((tmp_path / "out/metadata.csv").open()))
    found = [cv2.imread(str(tmp_path / f"out/{row['id']}.png"), -1) > 0 for row in rows]
    wanted = [mask.array() for mask in generate(image, load_model("nano"), GenerationConfig())]
    assert len(wanted) > 20
    best = np.array([max(_iou(a, b) for b in wanted) for a in found])
    again = np.array([max(_iou(a, b) for b in found) for a in wanted])
    assert (best >= 0.98).mean() >= 0.98
    assert (again >= 0.98).mean() >= 0.98
    assert [int(row["area"]) for row in rows] == [int(mask.sum()) for mask in found]


def _iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.slow
def test_a_run_on_onnx_runtime_gives_the_same_masks(tmp_path, monkeypatch):
    monkeypatch.setenv("AMG_CACHE", str(tmp_path / "cache"))
    image = shared("data/samples/dog.jpg")
    how = ("--input", image, "--points-per-side", "12", "--format", "rle", "--threads", "2")
    by_torch = amg(*how, "--output", tmp_path / "torch", cwd=tmp_path)
    by_onnx = amg(*how, "--output", tmp_path / "onnx", "--backend", "onnx:cpu", cwd=tmp_path)
    assert (by_torch.returncode, by_onnx.returncode) == (0, 0)
    assert "making encoder.onnx, once" in by_onnx.stderr
    again = amg(
        *how,
        "--output",
        tmp_path / "again",
        "--backend",
        "onnx:cpu",
        "--workers",
        "2",
        cwd=tmp_path,
    )
    assert "making" not in again.stderr
    files = [next((tmp_path / name).rglob("*.json")) for name in ("torch", "onnx", "again")]
    assert files[1].read_bytes() == files[2].read_bytes()
    one, other = (json.loads(file.read_text()) for file in files[:2])
    assert len(one) == len(other) > 5
    for a, b in zip(one, other, strict=True):
        assert _iou(*(rle_codec.decode(each["segmentation"]) for each in (a, b))) > 0.98
    changed = amg(*how, "--output", tmp_path / "torch", "--backend", "onnx:cpu", cwd=tmp_path)
    assert "`" not in changed.stderr
    assert "--backend" in changed.stderr


@pytest.mark.slow
def test_a_decoder_on_onnx_runtime_is_a_kind_like_any_other(tmp_path):
    from amg_cli.export.exporting import save
    from amg_cli.export.tracing import tokens_network, trace
    from amg_cli.models.onnx import OnnxDecoder, OnnxGraph

    model, image = tiny(), picture((60, 90))
    wanted = [generate(image, model, settings(pred_iou_thresh=-9, stability_score_thresh=0.1))]
    made = {}
    for multimask in (False, True):
        scratch, path = tmp_path / str(multimask), tmp_path / f"{multimask}.onnx"
        scratch.mkdir()
        save(trace(tokens_network(model, 2, multimask), 18, scratch), scratch, path)
        made[2, multimask] = OnnxGraph(path, ["CPUExecutionProvider"])
    encoded = encode_image(model, image)
    random = torch.Generator().manual_seed(0)
    plain = model.mask_decoder
    decoder = OnnxDecoder(plain, made)
    for nb_tokens, multimask in ((2, True), (2, False), (3, True)):
        tokens = torch.randn(3, nb_tokens, 32, generator=random, dtype=torch.float32, device="cpu")
        a, b = (each(encoded.embedding, tokens, None, multimask) for each in (plain, decoder))
        torch.testing.assert_close(a.scores, b.scores, atol=2e-4, rtol=2e-4)
        keep = a.scores > a.scores.median()
        torch.testing.assert_close(a.logits(keep), b.logits(keep), atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(a.logits(), b.logits(), atol=2e-4, rtol=2e-4)
    model.mask_decoder = pickle.loads(pickle.dumps(decoder))  # as another process gets it
    wanted.append(generate(image, model, settings(pred_iou_thresh=-9, stability_score_thresh=0.1)))
    ours, theirs = wanted
    assert abs(len(ours) - len(theirs)) <= 0.02 * len(ours)


def test_a_backend_that_is_none_is_a_usage_error(tmp_path):
    done = amg("--input", tmp_path, "--output", tmp_path / "out", "--backend", "jax", cwd=tmp_path)
    assert done.returncode == 2
    assert "'jax' is not torch, onnx or onnx:PROVIDER" in done.stderr


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["--compile"], "--compile is for --backend torch"),
        (["--precision", "bf16"], "--precision bf16 is for --backend torch"),
        (
            ["--device", "cuda"],
            "--device is for --backend torch; a GPU is a provider, as --backend",
        ),
    ],
)
@pytest.mark.parametrize("command", [[], ["edges"]])
def test_what_is_torchs_does_not_go_with_onnx(tmp_path, command, option, line):
    cv2.imwrite(str(tmp_path / "a.png"), picture((60, 90)))
    given = ["--input", "a.png", "--output", "out", "--backend", "onnx", *option]
    done = amg(*command, *given, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: {line}")
    assert not (tmp_path / "out").exists()


def test_a_provider_that_is_not_there_is_one_line(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), picture((60, 90)))
    out = tmp_path / "out"
    done = amg(
        "--input",
        tmp_path / "a.png",
        "--output",
        out,
        "--backend",
        "onnx:abacus",
        "--quiet",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    version = onnxruntime.__version__
    assert done.stderr.startswith(f"amg: provider abacus: not in this ONNX Runtime {version}; here")
    assert len(done.stderr.splitlines()) == 1


def test_an_opset_that_lacks_the_resize_is_refused(tmp_path):
    done = amg("export", "--output", tmp_path, "--opset", "12", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "amg: opset: 12 is not one of 18 to 21\n")


def test_graphs_that_are_there_are_not_written_over_unasked(tmp_path):
    (tmp_path / "grid.onnx").write_bytes(b"mine")
    done = amg("export", "--output", tmp_path, cwd=tmp_path)
    line = f"amg: {tmp_path / 'grid.onnx'}: is there already; give another --output, or --on-exists"
    assert (done.returncode, done.stderr) == (1, f"{line}\n")
    assert (tmp_path / "grid.onnx").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["export"], "amg export"), (["--input", "a.png", "--backend", "onnx"], "backend onnx")],
)
def test_without_the_extra_one_line_says_what_brings_it(tmp_path, arguments, what):
    cv2.imwrite(str(tmp_path / "a.png"), picture((60, 90)))
    missing = (
        "import sys; sys.modules['onnxscript'] = None; from amg_cli.cli.main import main; main()"
    )
    command = [sys.executable, "-c", missing, *arguments, "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    line = f"amg: {what}: needs onnxscript; pip install 'amg-cli[onnx]'\n"
    assert (done.returncode, done.stderr) == (1, line)
