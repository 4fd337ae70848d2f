"""Colours of masks, by their numbers: the same for a number wherever it is shown."""

from __future__ import annotations

import colorsys
from functools import cache

_GOLDEN = 0.618033988749895  # neighbours in number lie far apart on the circle of hues
_LIGHTS = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.75), (0.5, 0.85))  # saturation and value


@cache
def colour_of(number: int) -> tuple[int, int, int]:
    """R, G, B in 0-255 of the mask with a number; never black."""
    saturation, value = _LIGHTS[number % len(_LIGHTS)]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
