"""What callers give as an image, made the one thing the rest works on: RGB of 8 bits."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from amg_cli.core.errors import briefly


class PillowImage(Protocol):
    """What is used of an image of Pillow, which need not be installed."""

    @property
    def mode(self) -> str:
        """Its kind of pixels, such as RGB, L for grey, I;16."""

    def convert(self, mode: str) -> Any:
        """The same image in another mode."""


ImageLike = NDArray[np.uint8] | PillowImage

WANTED = "image_rgb: (H, W, 3) uint8 is wanted"
# What makes 8 bits of an array, by its kind of number as numpy writes it.
_TO_8_BITS = {
    "b": "image.astype(numpy.uint8) * 255 makes it so",
    "u2": "(image / 257).round().astype(numpy.uint8) makes it so, if values go up to 65535",
    "f": "(image * 255).round().astype(numpy.uint8) makes it so, if values go from 0 to 1",
    "": "image.astype(numpy.uint8) makes it so, if values go from 0 to 255",
}


def as_rgb(image: ImageLike) -> NDArray[np.uint8]:
    """An image as (H, W, 3) uint8: red, green and blue. A view of the same pixels where it can be.

    image: (H, W, 3) uint8; or grey, (H, W) or (H, W, 1), which is repeated; or one of Pillow with 8
        bits a channel, by its `convert("RGB")`, which drops alpha
    Raises TypeError for what is no array, and ValueError for an array of another shape or type, or
    without pixels; both say what was given and what makes an image of it.
    """
    array = _as_array(image)
    remedies = [*_shape_remedies(array.shape), *_type_remedies(array.dtype)]
    if remedies:
        raise ValueError(f"{WANTED}, not {array.shape} {array.dtype}; {'; '.join(remedies)}")
    if array.size == 0:
        raise ValueError("image_rgb: the image has no pixels")
    height, width = array.shape[:2]
    return np.broadcast_to(array.reshape(height, width, -1), (height, width, 3))


def as_pixels(image: ImageLike, channels: int) -> NDArray[np.uint8]:
    """As `as_rgb` for a model of three channels; of another number, (H, W, C) uint8 as it is."""
    if channels == 3:
        return as_rgb(image)
    array = np.asarray(image)
    if array.ndim == 2 and channels == 1:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] != channels or array.dtype != np.uint8 or not array.size:
        wanted = f"image: (H, W, {channels}) uint8 is wanted"
        raise ValueError(f"{wanted}, not {array.shape} {array.dtype}")
    return array


def _as_array(image: Any) -> NDArray[Any]:
    if isinstance(image, np.ndarray):
        return np.asarray(image)  # of a subclass, the array
    if hasattr(image, "convert") and hasattr(image, "mode"):
        if image.mode.startswith(("I", "F")):
            cause = f"an image of mode {image.mode}, which has more than 8 bits"
            raise ValueError(f"{WANTED}, not {cause}; scale its values to 0 to 255")
        return np.asarray(image.convert("RGB"))
    raise TypeError(f"{WANTED}, not {briefly(image)}; {_remedy(image)}")


def _remedy(image: Any) -> str:
    """What to do about something that is no array."""
    if image is None:
        return "cv2.imread gives None for a file it cannot read"
    if _is_tensor(image):
        return "image.cpu().numpy() makes an array of it, which must be uint8 with channels last"
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        return "read the file: cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)"
    return "numpy.asarray(image) makes an array of what holds one"


def _is_tensor(image: Any) -> bool:
    """Whether it is one of torch, which need not be loaded: where it is not, nothing is one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _shape_remedies(shape: tuple[int, ...]) -> list[str]:
    """What makes an image of an array of that shape; nothing where it is one, or has no pixels."""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)):
        return []
    if len(shape) == 3 and shape[2] == 4:
        return ["image[..., :3] drops its alpha"]
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return ["channels last: image.transpose(1, 2, 0)"]
    if len(shape) == 4:
        return ["one image at a time: image[0]"]
    return ["grey as (H, W), or three channels last"]


def _type_remedies(dtype: np.dtype[Any]) -> list[str]:
    if dtype == np.uint8:
        return []
    kind = dtype.str[1:]  # after the order of its bytes
    return [next(remedy for key, remedy in _TO_8_BITS.items() if kind.startswith(key))]
