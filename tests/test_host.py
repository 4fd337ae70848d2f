"""What a host program has set of torch changes nothing here, and nothing here changes it."""

import ast
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import cv2
import numpy as np
import pytest
import torch

from amg_cli import GenerationConfig, generate, load_model
from amg_cli.core.host import in_own_precision
from amg_cli.generation.predict import encode_image, predict
from amg_cli.generation.prompts import Prompts as PromptsByHand
from amg_cli.models.modes import Modes
from amg_cli.models.prompt_encoder import Prompts
from amg_cli.models.sam import Sam
from tests.conftest import REPOSITORY, TINY, with_seeded_weights

KEEP_MANY = GenerationConfig(
    points_per_side=5,
    pred_iou_thresh=0,
    stability_score_thresh=0,
    box_nms_thresh=1,
    crop_nms_thresh=1,
    min_mask_region_area=20,
)
FEW_POINTS = GenerationConfig(points_per_side=5)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def everything():
    with ExitStack() as host:
        host.enter_context(default_dtype(torch.float64))
        host.enter_context(torch.device("meta"))
        host.enter_context(torch.autocast("cpu", torch.bfloat16))
        yield


HOSTS = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "float16 by default": lambda: default_dtype(torch.float16),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "meta by default": lambda: default_device("meta"),
    "in a meta context": lambda: torch.device("meta"),
    "in autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "all at once": everything,
}
in_every_host = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nano():
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def coffee():
    image = cv2.imread(str(REPOSITORY / "examples/images/coffee.jpg"))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def masks_of_coffee(nano, coffee):
    masks = generate(coffee, nano, FEW_POINTS)
    assert len(masks) >= 3
    return masks


def assert_equal(found, wanted):
    """Every bit of two tensors, of one type and place."""
    assert (found.dtype, found.device) == (wanted.dtype, wanted.device)
    assert torch.equal(found, wanted)


def by_hand(model, image):
    """Everything that prompts by hand give: scores and masks of points, boxes and all parts."""
    encoded = encode_image(model, image)
    points, boxes = np.array([[30.0, 20.0], [50.0, 40.0]]), np.array([[10.0, 5.0, 60.0, 50.0]])
    for prompts in (PromptsByHand(points[:, None]), PromptsByHand(boxes_xyxy=boxes)):
        for return_logits in (False, True):
            prediction = predict(model, encoded, prompts, return_logits=return_logits)
            yield from map(torch.from_numpy, vars(prediction).values())


def by_parts(model):
    """What the model's own functions give, with a mask as prompt too; made outside of any host."""
    embedding = model.encode(IMAGE)
    yield from (embedding.features, embedding.positions)
    for readied in (embedding, model.prepare(embedding)):
        for prompts in (POINT, MASK):
            decoded = model.decode(readied, prompts)
            yield from (decoded.scores, decoded.logits(), decoded.logits(decoded.scores > 0))


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


IMAGE = drawn(1, 3, 96, 96)
POINT = Prompts(torch.tensor([[[30.0, 20.0]]]), torch.tensor([[1]]))
MASK = Prompts(masks=drawn(1, 1, 24, 24))


@in_every_host
@pytest.mark.parametrize("crop_n_layers", [0, 1])
def test_masks_are_the_same_to_the_bit(tiny_model, noise, host, crop_n_layers, threads):
    config = GenerationConfig(**{**vars(KEEP_MANY), "crop_n_layers": crop_n_layers})
    wanted = generate(noise, tiny_model, config)
    with host():
        found = generate(noise, tiny_model, config)
    assert found == wanted
    assert len(wanted) > 3


@in_every_host
def test_masks_of_the_way_for_gpus_are_the_same_to_the_bit(tiny_model, noise, host, monkeypatch):
    monkeypatch.setattr("amg_cli.models.devices.CPUS", ())
    wanted = generate(noise, tiny_model, KEEP_MANY)
    with host():
        assert generate(noise, tiny_model, KEEP_MANY) == wanted


@in_every_host
def test_prompts_by_hand_and_the_models_parts_are_the_same_to_the_bit(tiny_model, noise, host):
    wanted = *by_hand(tiny_model, noise), *by_parts(tiny_model)
    with host():
        found = *by_hand(tiny_model, noise), *by_parts(tiny_model)
    for ours, theirs in zip(found, wanted, strict=True):
        assert_equal(ours, theirs)


@in_every_host
def test_what_is_loaded_is_the_same_to_the_bit(nano, coffee, masks_of_coffee, host):
    with host():
        model = load_model(device="cpu")
        found = generate(coffee, model, FEW_POINTS)
    assert found == masks_of_coffee
    wanted = nano.state_dict()
    assert model.state_dict().keys() == wanted.keys()
    for name, tensor in model.state_dict().items():
        assert_equal(tensor, wanted[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_model_that_is_made_is_in_single_precision(dtype, noise):
    with default_dtype(dtype):
        model = with_seeded_weights(Sam(TINY))
    tensors = [*model.parameters(), *model.buffers()]
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float32}


def test_a_16_bit_encoder_is_so_inside_autocast_too(tiny_model, monkeypatch):
    monkeypatch.setattr(tiny_model, "modes", Modes(precision=torch.bfloat16))
    monkeypatch.setattr(type(tiny_model.image_encoder), "in_16_bits", True)
    coarse = tiny_model.encode(IMAGE).features
    with torch.autocast("cpu", torch.float16):
        assert_equal(tiny_model.encode(IMAGE).features, coarse)
    monkeypatch.setattr(tiny_model, "modes", Modes())
    assert not torch.equal(tiny_model.encode(IMAGE).features, coarse)


def test_autocast_is_the_callers_again_afterwards_and_after_an_error():
    @in_own_precision
    def fails():
        assert not torch.is_autocast_enabled("cpu")
        raise ValueError("of the function")

    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ValueError, match="of the function"):
            fails()
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")


def test_gradients_pass_through_what_switches_autocast_off(tiny_model):
    image = IMAGE.clone().requires_grad_()
    decoded = tiny_model.decode(tiny_model.encode(image), POINT)
    decoded.logits().sum().backward()
    assert image.grad.abs().sum() > 0


def test_nothing_of_the_hosts_torch_is_moved(noise):
    def seen():
        return torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state().tolist()

    torch.manual_seed(3)
    before = seen()
    generate(noise, load_model(device="cpu"), GenerationConfig(points_per_side=4))
    assert seen() == before


# Every tensor names its type and place


FACTORIES = """
    arange as_tensor asarray empty empty_strided eye full linspace logspace normal ones rand randint
    randn randperm range scalar_tensor tensor tril_indices triu_indices zeros
"""
OF_THE_PROCESS = """
    manual_seed set_default_device set_default_dtype set_default_tensor_type set_flush_denormal
    set_float32_matmul_precision set_num_interop_threads set_num_threads
    use_deterministic_algorithms
"""


def calls_of_torch(tree) -> Iterator[tuple[ast.Call, str, set[str]]]:
    """Calls of `torch.<name>`: the call, the name, and the keywords it has to give.

    What becomes a parameter or buffer is made where its module is: loading builds models on meta.
    """
    owned = {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("nn.Parameter", "self.register_buffer")
        for argument in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch."):
            yield node, node.func.attr, {"dtype"} if node in owned else {"dtype", "device"}


def unnamed(source):
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node, name, wanted in calls_of_torch(ast.parse(source))
        if name in FACTORIES.split() and not wanted <= {keyword.arg for keyword in node.keywords}
    ]


def test_every_tensor_is_made_with_its_own_type_and_on_its_own_device():
    for module in (REPOSITORY / "amg_cli").rglob("*.py"):
        assert not unnamed(module.read_text()), module


def test_the_test_of_types_and_devices_sees_what_names_neither():
    assert unnamed("torch.zeros(3, dtype=torch.bool)")
    assert unnamed("nn.Parameter(torch.ones(3))")
    assert unnamed("nn.Linear(torch.arange(3, device=device) + 0.5, torch.ones_like(x))")
    assert not unnamed("nn.Parameter(torch.ones(3, dtype=torch.float32))")
    assert not unnamed("torch.eye(3, dtype=torch.float64, device='cpu')")


def test_what_is_the_whole_processs_is_set_by_commands_and_in_forks_or_set_back():
    found = {
        (str(module.relative_to(REPOSITORY / "amg_cli")), ast.unparse(node))
        for module in (REPOSITORY / "amg_cli").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in OF_THE_PROCESS.split()
    }
    assert found == {
        ("core/host.py", "torch.set_float32_matmul_precision"),  # as the next tests see
        ("models/devices.py", "torch.set_num_threads"),  # of `set_threads`, which `--threads` calls
        ("models/threads.py", "torch.set_num_threads"),  # of a child by fork
    }


TF32 = """
import sys, threading
import torch
from torch import backends
from amg_cli.core.host import without_tf32

def settings():
    found = []
    for read in (torch.get_float32_matmul_precision, lambda: backends.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:  # torch's, of one way to set it mixed with the other
            found.append("mixed")
    for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        found.append(getattr(part, "fp32_precision", None))
    return found

exec(sys.argv[1])
before = settings()
with without_tf32():
    first = settings()
    entered, over = threading.Event(), threading.Event()

    def other():
        with without_tf32():
            entered.set()
            over.wait(60)
            assert settings() == first
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(60)
    assert (torch.get_float32_matmul_precision(), backends.cuda.matmul.allow_tf32) == ("highest", 0)
assert settings() == first  # the other is inside
over.set()
thread.join()
assert settings() == before, (settings(), before)
print(first)
"""


@pytest.mark.parametrize(
    "as_set",
    [
        "pass",
        "torch.set_float32_matmul_precision('medium')",
        "backends.cudnn.allow_tf32 = False",
        "backends.cuda.matmul.allow_tf32 = True",
        "backends.cudnn.conv.fp32_precision = 'ieee'",
        "backends.cudnn.rnn.fp32_precision = 'tf32'; backends.cudnn.conv.fp32_precision = 'ieee'",
        "backends.cuda.matmul.fp32_precision = 'tf32'",
    ],
)
def test_tf32_is_off_until_the_last_thread_is_out_and_then_as_it_was(as_set):
    """However the caller has set it. These settings can be read where no GPU is."""
    if "fp32_precision" in as_set and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has only the older way to set it")
    command = [sys.executable, "-c", TF32, as_set]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "tf32" not in ended.stdout.replace("None", "")
    assert ended.stdout.startswith("['highest', ")


# Threads of the host's own


@pytest.mark.slow
def test_generating_in_two_threads_changes_no_threads_number_and_no_mask(coffee, nano):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    config, few = GenerationConfig(points_per_side=12), GenerationConfig(points_per_side=8)
    alone = [generate(coffee, nano, each) for each in (config, few)]
    begun, seen, found = threading.Event(), [], {}

    def first():
        begun.set()
        found[0] = generate(coffee, nano, config)
        seen.append(torch.get_num_threads())

    def second():
        begun.wait()
        for _ in range(3):  # some of which end while the first is under way, or the other way round
            found[1] = generate(coffee, nano, few)
            seen.append(torch.get_num_threads())

    def new():
        while any(thread.is_alive() for thread in hosts):
            fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
            fresh.start()
            fresh.join()
            begun.wait(0.01)

    hosts = [threading.Thread(target=work) for work in (first, second)]
    watcher = threading.Thread(target=new)
    try:
        for thread in (*hosts, watcher):
            thread.start()
        for thread in (*hosts, watcher):
            thread.join()
        new()
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {4}
    assert [found[0], found[1]] == alone


# Forks of the host


FORKS = """
import multiprocessing, sys
import cv2, numpy, torch
import amg_cli

def masks(_):
    return [mask.rle for mask in amg_cli.generate(image, model, config)], torch.get_num_threads()

{before}
config = amg_cli.GenerationConfig(points_per_side=4, min_mask_region_area=20)
image = cv2.resize(numpy.random.default_rng(0).integers(0, 256, (6, 9, 3), numpy.uint8), (900, 600))
model = amg_cli.load_model(device="cpu", image_size=256)
{after}
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map(masks, range(2))
torch.set_num_threads(1)
assert found == [masks(0)] * 2, found
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
@pytest.mark.usefixtures("all_cores")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("torch.set_num_threads(4)", "masks(0)"),
        ("cv2.setNumThreads(4)", "cv2.GaussianBlur(image, (15, 15), 3); masks(0)"),
    ],
)
def test_a_pool_by_fork_generates_after_loading(before, after):
    code = FORKS.format(before=before, after=after)
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=300)


@pytest.mark.usefixtures("all_cores")
def test_nothing_is_done_in_forks_before_a_model_is_loaded():
    code = (
        "import os, amg_cli.generation, amg_cli.weights.loading as w, torch\n"
        "assert w.survive_forks.cache_info().currsize == 0\n"
        "threads = torch.get_num_threads()\n"
        "child = os.fork()\n"
        "if not child: os._exit(torch.get_num_threads() != threads)\n"
        "assert os.waitpid(child, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=120)
