"""What the predictors of other libraries' API have in common: they hold one encoded image."""

from __future__ import annotations

from amg_cli.generation.predict import Encoded, Prediction, predict
from amg_cli.generation.prompts import Prompts
from amg_cli.models.sam import Sam


class OneImage:
    """A model, and one image that it has encoded, or none."""

    def __init__(self, model: Sam) -> None:
        self.model = model
        self._encoded: Encoded | None = None

    def _image(self) -> Encoded:
        """The image. Raises RuntimeError where none is set."""
        if self._encoded is None:
            raise RuntimeError("no image is set; call set_image(image) first")
        return self._encoded

    def _predict(
        self, prompts: Prompts, multimask: bool, return_logits: bool, model: Sam | None = None
    ) -> Prediction:
        """As `predict`, on the image. model: one that draws otherwise what this one has encoded."""
        return predict(
            model or self.model,
            self._image(),
            prompts,
            multimask=multimask,
            return_logits=return_logits,
        )
