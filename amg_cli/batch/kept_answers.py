"""Answers to prompts in a folder: the masks of each image together, in any format."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from amg_cli.batch.answers import Answer
from amg_cli.batch.commit import check_writable
from amg_cli.batch.naming import Names
from amg_cli.batch.reading import Reading, read_picture
from amg_cli.batch.run import Plan
from amg_cli.batch.writing import (
    cannot_write,
    check_free,
    make_folder,
    write_image,
    write_run_files,
)
from amg_cli.core.errors import ImageError
from amg_cli.formats.format import FormatOptions
from amg_cli.formats.result import Result
from amg_cli.formats.table import image_formats, run_formats


def keep(
    found: Iterable[Answer],
    output: Path,
    formats: Sequence[str],
    options: FormatOptions,
    reading: Reading,
    overwrite: bool,
) -> Iterator[Path | ImageError]:
    """Write the masks of answers, those of an image after each other. -> each output, or its error.

    Images are numbered and named in the order in which they come; what is of the whole run is
    written last. Raises OutputError where the folder cannot be written to.
    """
    make_folder(output)
    check_writable(output)
    whole = run_formats(tuple(formats))
    if not overwrite:
        check_free(output, whole)
    names, results = Names(Plan(output, tuple(formats), {}, options).reserved), []
    for number, (image, answers) in enumerate(
        itertools.groupby(found, key=lambda answer: answer.question.image), 1
    ):
        good = [answer for answer in answers if answer.error is None]
        if image is None or not good:
            continue
        (name,) = names.give([image.name])
        masks = [mask for answer in good for mask in answer.masks]
        source = os.path.realpath(image)
        result = Result(number, name, image.name, good[0].image_hw, masks, source)
        results.append(result)
        own = image_formats(tuple(formats))
        if any(format_.needs_image for format_ in own):
            result = replace(result, image_rgb=read_picture(image, reading).pixels)
        yield from write_image(result, output, own, options, overwrite)
    try:
        if whole:
            write_run_files(output, whole, results, options)
    except OSError as error:
        raise cannot_write(output, error) from error
    yield from (output / format_.file_name for format_ in whole)
