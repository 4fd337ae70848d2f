"""A recorder that keeps few values, for the scripts that make the goldens of SAM 2 and SAM-HQ."""

from typing import Any

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

    def by_hand(self, predictor: Any, photo: np.ndarray) -> None:
        """Every kind of prompt to a published predictor, on a photograph (H, W, 3)."""
        predictor.set_image(photo)
        size_hw = photo.shape[:2]
        first = prompted.prompts("point", size_hw)
        low_res = []
        for i in range(prompted.PROMPTS):
            answer = predictor.predict(
                first["points"][i], first["labels"][i], multimask_output=False
            )
            low_res.append(answer[2])
        for kind, wanted in prompted.KINDS.items():
            if not wanted:
                continue
            parts = prompted.prompts(kind, size_hw)
            for out, multimask in (("multi", True), ("single", False)):
                answers = [
                    predictor.predict(
                        parts["points"][i] if "points" in wanted else None,
                        parts["labels"][i] if "points" in wanted else None,
                        parts["boxes"][i] if "boxes" in wanted else None,
                        low_res[i] if "masks" in wanted else None,
                        multimask_output=multimask,
                        return_logits=True,
                    )
                    for i in range(prompted.PROMPTS)
                ]
                for place, name in enumerate(("masks", "scores", "low_res")):
                    values = np.stack([answer[place] for answer in answers])
                    self.add(f"predictor.{kind}.{out}.{name}", values)
