"""What is to be done: each image, where its masks go, and whether they are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from amg_cli.batch.commit import recover
from amg_cli.batch.images import Source, discover
from amg_cli.batch.naming import NO_NAMES, output_names
from amg_cli.core.errors import ConfigError, InputError, OutputError

OnExists = Literal["error", "skip", "overwrite"]


@dataclass(frozen=True)
class Job:
    """One image to do.

    source:  the image
    target:  the file or folder that its masks go to
    renamed: why the target keeps the image's suffix, or has a number; empty where it has neither
    """

    source: Path
    target: Path
    renamed: str = ""


def plan(inputs: Sequence[Path], output: Path, suffix: str, recursive: bool) -> list[Job]:
    """A job for each image of `inputs`, in order; makes the output folder.

    What killed runs have left beside the targets is finished or removed.
    suffix: of the output format. Images inside the output folder are not taken.
    Raises InputError where a path is missing or there is no image; OutputError where the output
    folder cannot be made; ConfigError where it is an input folder searched recursively.
    """
    if recursive and any(path.resolve() == output.resolve() for path in inputs):
        cause = f"{output} is an input too, and `recursive` would take its masks for images"
        raise ConfigError("output", cause, "write to another folder")
    found = discover(inputs, recursive)
    sources = [source for source in found if not _inside(source, output, recursive)]
    if not sources:
        raise InputError(output, "all images found are inside the output folder", "check `input`")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise OutputError(output, cause, "give a folder that can be written to") from error
    names = output_names([source.relative for source in sources])
    jobs = [
        Job(
            source=source.path,
            target=output / name.with_name(name.name + suffix),
            renamed=_why_renamed(source.relative, name),
        )
        for source, name in zip(sources, names, strict=True)
    ]
    recover({job.target.parent for job in jobs})
    return jobs


def _why_renamed(relative: PurePath, name: PurePath) -> str:
    if name.name == relative.stem:
        return ""
    if relative.stem in NO_NAMES:
        return f"without its suffix its name would be {relative.stem!r}"
    return "its plain name is another's too"


def _inside(source: Source, output: Path, recursive: bool) -> bool:
    return recursive and output.resolve() in source.path.resolve().parents
