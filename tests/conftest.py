"""What the tests share: where the shared material lies, and models to try things on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import tests
from amg_cli.models.configs import SamConfig, TinyVitConfig, TwoWayConfig
from amg_cli.models.sam import Sam
from amg_cli.weights.loading import load_model
from amg_cli.weights.zoo import ZOO
from tests.browser import chromium
from tests.command import FEW_POINTS, SMALL_MODEL, amg
from tests.goldens import seeded

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"
GOLDENS = Path(__file__).parent / "goldens"

TINY = SamConfig(
    encoder=TinyVitConfig(
        embed_dims=(8, 16, 16, 24),
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 2, 3),
        window_sizes=(3, 3, 4, 3),
    ),
    decoder=TwoWayConfig(nb_blocks=2, nb_heads=4, mlp_channels=32, iou_head_hidden_dim=16),
    input_size=(96, 96),
    embed_dim=32,
    mask_hidden_dim=8,
)


@pytest.fixture(autouse=True, scope="session")
def signals_end_what_is_tested():
    """Also where the tests were started to ignore them, as in the background of a script."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def browser():
    """A real browser; without one, the test is skipped."""
    with chromium() as found:
        yield found


def larger(*sizes: str) -> list[object]:
    """Parameters of a test that are larger sizes of what it tests in a smaller one too."""
    return [pytest.param(size, marks=pytest.mark.larger) for size in sizes]


def shared(path: str) -> Path:
    """A file of the shared material; without it, the test is skipped."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs shared/{path}, which is not part of the project")
    return SHARED / path


def photo(path: Path) -> np.ndarray:
    """(H, W, 3) RGB, as the reference script reads it."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def with_seeded_weights(model: Sam) -> Sam:
    """The same model, every weight drawn from a generator seeded by its key."""
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    values = {key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()}
    model.load_state_dict(values, strict=False)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_model() -> Sam:
    """A model of the real architecture and hardly any size, with random weights."""
    return with_seeded_weights(Sam(TINY))


@pytest.fixture(scope="session")
def random_vit_t() -> Sam:
    """MobileSAM at full size, with random weights."""
    return with_seeded_weights(Sam(ZOO["vit_t"].config))


@pytest.fixture(scope="session")
def random_checkpoint(random_vit_t, tmp_path_factory) -> Path:
    """Those random weights in a file of the official layout."""
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save(random_vit_t.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def real_checkpoint() -> Path:
    return shared("weights/mobile_sam.pt")


@pytest.fixture(scope="session")
def real_model(real_checkpoint) -> Sam:
    return load_model(real_checkpoint, device="cpu")


@pytest.fixture
def noise() -> np.ndarray:
    """A picture of smooth noise, (60, 90, 3) uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (90, 60), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def write(tmp_path):
    """A function that writes bytes to a file and gives its path."""

    def _write(data):
        (tmp_path / "a").write_bytes(data)
        return tmp_path / "a"

    return _write


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Inside, torch has so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch has one thread here, as in a worker of many images."""
    with torch_threads(1):
        yield


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch has two threads here, however few a worker of the tests has."""
    with torch_threads(2):
        yield


@pytest.fixture
def all_cores(monkeypatch):
    """New processes have as many threads as the libraries choose, not a worker's share."""
    for name in tests.THREADS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path):
    """Run `amg` in `tmp_path` with the smallest model, on small inputs, and four points."""

    def run(*arguments, **options):
        options = {"cwd": tmp_path} | options
        return amg(*SMALL_MODEL, *FEW_POINTS, *arguments, **options)

    return run
