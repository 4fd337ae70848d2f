"""Edges as a grey PNG an image: 0 for none, white for the strongest; of 8 or 16 bits."""

from __future__ import annotations

import numpy as np

from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.pictures import save
from amg_cli.formats.result import Result


def write(result: Result, output: Output) -> None:
    """An image's file. Raises ValueError without its edges."""
    if result.edges is None:
        raise ValueError("edges are needed")
    kind = np.uint16 if output.options.edge_bits == 16 else np.uint8
    white = np.iinfo(kind).max
    save(output.path, np.rint(result.edges * np.float32(white)).astype(kind))


FORMAT = ImageFormat(suffix=".png", write=write, options=("edge_bits",))
