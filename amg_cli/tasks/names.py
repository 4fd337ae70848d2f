"""Names of masks by a text-image encoder: categories of a list, or what matches a description.

Shapes: K masks, T texts, D the length of a vector; h w a crop.
Sources: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision"; of descriptions, Kerr et al. 2023, "LERF: Language Embedded Radiance Fields", who
compare a text with phrases that anything is like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from amg_cli.core.errors import ConfigError, briefly
from amg_cli.core.image import ImageLike, as_rgb
from amg_cli.core.mask import Mask, check_masks
from amg_cli.core.masks import Masks
from amg_cli.core.naming import UNKNOWN, Background, NamingConfig
from amg_cli.models.text_image import TextImageEncoder

PHRASES = ("object", "things", "stuff", "texture")  # that anything is like; Kerr et al.'s
COLOURS: dict[Background, int] = {"grey": 128, "white": 255, "black": 0}
BLURRED_PX = 8  # what the longest side of a crop is shrunk to, and enlarged from, to blur it
LENGTH_TOLERANCE = 1e-2  # of what should be unit vectors


def name_masks(
    image_rgb: ImageLike, masks: Sequence[Mask], encoder: TextImageEncoder, naming: NamingConfig
) -> Masks:
    """The masks of an image with names: `category`, and in `category_score` how sure that is.

    With `naming.classes` all masks, in their order, each with its likeliest class; the probability
    is a softmax over the classes. With `naming.texts` those that match one, best first; the
    probability is that of the text against each of `PHRASES`, the least of them. Of masks that are
    kept, parents are the nearest that are kept too.

    image_rgb: (H, W, 3) uint8, as for `generate`
    encoder: `load_text_image_encoder` gives one; or one of your own, as `TextImageEncoder` says
    Raises TypeError or ValueError for an image of another kind, or masks of another image's size;
    ConfigError for an encoder whose vectors are none.
    """
    return Masks(Namer(encoder, naming).named(as_rgb(image_rgb), masks))


class Namer:
    """An encoder with the vectors of its texts, for many images."""

    def __init__(self, encoder: TextImageEncoder, naming: NamingConfig) -> None:
        self.encoder = encoder
        self.naming = naming
        read = [naming.template.replace("{}", name) for name in naming.classes]
        read = read or [*naming.texts, *PHRASES]
        self._texts = _unit_vectors("texts", encoder.texts(read), len(read))
        self._numbers = {name: number for number, name in enumerate(naming.categories, 1)}

    def named(self, pixels: NDArray[np.uint8], masks: Sequence[Mask]) -> list[Mask]:
        """As `name_masks`, of an image (H, W, 3)."""
        if not masks:
            return []
        crops = Crops(pixels, masks, self.naming)
        vectors = _unit_vectors("crops", self.encoder.crops(crops), len(crops))
        if vectors.shape[1] != self._texts.shape[1]:
            found = f"{vectors.shape[1]} numbers a crop, and {self._texts.shape[1]} a text"
            raise ConfigError("text-image encoder", f"has {found}")
        logits = float(self.encoder.scale) * (vectors @ self._texts.T)
        if self.naming.classes:
            return [self._with_class(*each) for each in zip(masks, logits, strict=True)]
        return self._matching(masks, logits)

    def _with_class(self, mask: Mask, logits: NDArray[np.float64]) -> Mask:
        """With the likeliest class by its logits, (T,)."""
        odds = np.exp(logits - logits.max())
        best = int(odds.argmax())
        probability = float(odds[best] / odds.sum())
        category = self.naming.classes[best]
        if probability < self.naming.unknown_thresh:
            category = UNKNOWN
        return self._called(mask, category, probability)

    def _matching(self, masks: Sequence[Mask], logits: NDArray[np.float64]) -> list[Mask]:
        """Those that match a text, by logits (K, T + phrases), best first."""
        count = len(self.naming.texts)
        # The least of a text's probabilities against a phrase is that against the likest phrase.
        leads = logits[:, :count] - logits[:, count:].max(axis=1, keepdims=True)
        best = leads.argmax(axis=1)
        lead = leads.max(axis=1)
        probabilities = 0.5 + 0.5 * np.tanh(lead / 2)  # of large numbers too
        order = [
            i
            for i in np.argsort(-lead, kind="stable").tolist()
            if probabilities[i] >= self.naming.text_thresh
        ]
        found = [
            self._called(masks[i], self.naming.texts[best[i]], float(probabilities[i]))
            for i in order
        ]
        return with_kept_parents(masks, order, found)

    def _called(self, mask: Mask, category: str, probability: float) -> Mask:
        number = self._numbers[category]
        return replace(mask, category=category, category_score=probability, category_id=number)


class Crops(Sequence[NDArray[np.uint8]]):
    """The crop of each mask of an image, (h, w, 3), made when it is asked for."""

    def __init__(
        self, pixels: NDArray[np.uint8], masks: Sequence[Mask], naming: NamingConfig
    ) -> None:
        """pixels: (H, W, 3). Errors as of `check_masks`."""
        check_masks(masks, (pixels.shape[0], pixels.shape[1]))
        self._pixels, self._masks, self._naming = pixels, masks, naming

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, place: int) -> NDArray[np.uint8]: ...

    @overload
    def __getitem__(self, place: slice) -> Crops: ...

    def __getitem__(self, place: int | slice) -> NDArray[np.uint8] | Crops:
        """The crop of a place; of several places, those."""
        if isinstance(place, slice):
            return Crops(self._pixels, self._masks[place], self._naming)
        return crop_of(self._pixels, self._masks[place], self._naming)


def crop_of(pixels: NDArray[np.uint8], mask: Mask, naming: NamingConfig) -> NDArray[np.uint8]:
    """A mask's box with its margin, as far as the image has it, and its background as asked for.

    pixels: (H, W, 3) -> (h, w, 3), a copy
    """
    x0, y0, x1, y1 = mask.box_xyxy
    wider, higher = (round(naming.margin * (n + 1)) for n in (x1 - x0, y1 - y0))
    left, top = max(0, x0 - wider), max(0, y0 - higher)
    crop = pixels[top : y1 + 1 + higher, left : x1 + 1 + wider]
    if naming.background == "keep":
        return np.ascontiguousarray(crop)
    inside = np.zeros((*crop.shape[:2], 1), np.bool_)
    inside[y0 - top : y1 + 1 - top, x0 - left : x1 + 1 - left, 0] = mask.window()
    if naming.background == "blur":
        return np.where(inside, crop, _blurred(crop))
    return np.where(inside, crop, np.uint8(COLOURS[naming.background]))


def _blurred(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop that tells its colours and no more; by its size, so that it is as vague in each."""
    height, width = crop.shape[:2]
    share = min(1.0, BLURRED_PX / max(height, width))
    few = max(1, round(share * width)), max(1, round(share * height))
    small = cv2.resize(np.ascontiguousarray(crop), few, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def with_kept_parents(
    masks: Sequence[Mask], kept: Sequence[int], found: Sequence[Mask]
) -> list[Mask]:
    """Some of an image's masks in an order of their own, each leading to its nearest kept parent.

    kept: the place of each among all masks. Those with an id keep it; else it is their new place.
    """
    numbers = [i if mask.id is None else mask.id for i, mask in enumerate(masks)]
    place_of = {number: i for i, number in enumerate(numbers)}
    new = {
        numbers[old]: numbers[old] if masks[old].id is not None else i for i, old in enumerate(kept)
    }

    def ancestors(mask: Mask) -> Iterator[int]:
        """Numbers of what contains it, from the nearest on; none twice."""
        seen: set[int] = set()
        while mask.parent in place_of and mask.parent not in seen:
            seen.add(mask.parent)
            yield mask.parent
            mask = masks[place_of[mask.parent]]

    return [
        replace(mask, parent=next((new[n] for n in ancestors(mask) if n in new), None))
        for mask in found
    ]


def _unit_vectors(kind: str, vectors: Any, count: int) -> NDArray[np.float64]:
    """What an encoder has made of `count` texts or crops: (count, D). Raises ConfigError."""
    where = f"text-image encoder's {kind}"
    array = np.asarray(vectors)
    if array.ndim != 2 or len(array) != count or array.dtype.kind != "f":
        cause = f"({count}, D) float32 is wanted, not {briefly(array)}"
        raise ConfigError(where, cause)
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    if not (np.abs(lengths - 1) < LENGTH_TOLERANCE).all():
        raise ConfigError(where, "unit vectors are wanted; divide each by its length")
    return array.astype(np.float64) / lengths[:, None]
