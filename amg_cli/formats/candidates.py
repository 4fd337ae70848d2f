"""What an image's masks were selected from, for `amg select`: a file of `Candidates.save`."""

from __future__ import annotations

from amg_cli.formats.format import ImageFormat, Output
from amg_cli.formats.result import Result


def write(result: Result, output: Output) -> None:
    """An image's file. Raises ValueError where its candidates are not at hand."""
    if result.candidates is None:
        raise ValueError("its candidates are not known")
    result.candidates.save(output.path)


FORMAT = ImageFormat(suffix=".npz", write=write, folder="candidates")
