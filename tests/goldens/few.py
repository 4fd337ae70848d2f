"""A recorder that keeps few values. Used by the scripts that make the goldens of SAM 2."""

import numpy as np
from torch import Tensor

from tests.goldens import prompted
from tests.goldens.recorder import Recorder


class Few(Recorder):
    """A `Recorder` of samples by `prompted.few`."""

    def add(self, name: str, values: Tensor | np.ndarray) -> None:
        """As there."""
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        self.arrays[name] = prompted.few(name, array).copy()
        self.arrays[f"{name}.shape"] = np.array(array.shape, dtype=np.int64)
