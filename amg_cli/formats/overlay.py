"""The photograph with its masks in colours and their outlines: a JPEG an image, to look at."""

from __future__ import annotations

from amg_cli.core.drawing import draw
from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.pictures import save_rgb
from amg_cli.formats.result import Result

JPEG_QUALITY = 92


def write(result: Result, output: Output) -> None:
    """An image's file. Raises ValueError without its pixels."""
    if result.image_rgb is None:
        raise ValueError("the photograph is needed")
    save_rgb(output.path, draw(result.image_rgb, result.masks), JPEG_QUALITY)


FORMAT = ImageFormat(suffix=".jpg", write=write, folder="overlay", needs_image=True)
