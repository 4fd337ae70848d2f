"""Collects what the goldens keep of a network's tensors. Used by the scripts that make them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from tests.goldens import seeded


class Recorder:
    """Collects samples of arrays and tensors by name, for one file."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, name: str, values: Tensor | np.ndarray) -> None:
        """Keep a sample of the values and their shape, under a name not yet taken."""
        if name in self.arrays:
            raise ValueError(f"{name} is recorded already")
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        self.arrays[name] = seeded.sample(name, array).copy()
        self.arrays[f"{name}.shape"] = np.array(array.shape, dtype=np.int64)

    @contextmanager
    def watching(self, modules: dict[str, nn.Module]) -> Iterator[None]:
        """Record the outputs of modules, each at the moment it answers, in this block."""
        handles = [
            module.register_forward_hook(lambda _m, _args, out, name=name: self.add(name, out))
            for name, module in modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
