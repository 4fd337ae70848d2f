"""Prompts by hand over many images: each image read and encoded once, answers in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amg_cli.batch.prompt_lines import Question
from amg_cli.batch.reading import Reading, read_picture
from amg_cli.core.errors import ImageError
from amg_cli.core.interrupts import check
from amg_cli.core.mask import Mask
from amg_cli.generation.predict import Encoded, encode_image
from amg_cli.generation.prompted_masks import prompted_masks
from amg_cli.generation.prompts import why_outside
from amg_cli.models.sam import Sam

OTHERS = "the other prompts are done"


@dataclass(frozen=True)
class Answer:
    """What a prompt gives: masks of an image, or an error.

    image_hw: the image's size in pixels; 0 where it could not be read
    """

    question: Question
    image_hw: tuple[int, int] = (0, 0)
    masks: Sequence[Mask] = ()
    error: ImageError | None = None


def answers(asked: Iterable[Question], model: Sam, reading: Reading) -> Iterator[Answer]:
    """The answer to each prompt, one after another. An image is kept until another is asked for."""
    image: Path | None = None
    encoded: Encoded | ImageError | None = None
    for question in asked:
        check()
        if question.error is not None or question.image is None:
            yield Answer(question, error=question.error)
            continue
        if encoded is None or question.image != image:
            image = question.image
            encoded = _encoded(image, model, reading)
        yield _answer(question, encoded, model)


def by_image(asked: Iterable[Question]) -> list[Question]:
    """The same, those of an image after each other, in the order of the images' first prompts."""
    first: dict[Path | None, int] = {}
    listed = list(asked)
    for question in listed:
        first.setdefault(question.image, len(first))
    return sorted(listed, key=lambda question: first[question.image])


def in_order(found: Iterable[Answer], asked: Sequence[Question]) -> Iterator[Answer]:
    """Answers in the order in which they were asked for, each as soon as those before it are."""
    waiting: dict[int, Answer] = {}
    numbers = iter([question.number for question in asked])
    wanted = next(numbers, None)
    for answer in found:
        waiting[answer.question.number] = answer
        while wanted in waiting:
            yield waiting.pop(wanted)
            wanted = next(numbers, None)


def _encoded(path: Path, model: Sam, reading: Reading) -> Encoded | ImageError:
    try:
        return encode_image(model, read_picture(path, reading).pixels)
    except ImageError as error:
        return error


def _answer(question: Question, encoded: Encoded | ImageError, model: Sam) -> Answer:
    if isinstance(encoded, ImageError):
        return Answer(question, error=encoded)
    image_hw = encoded.frame.image_hw
    cause = why_outside(question.prompts, image_hw)
    if not cause:
        try:
            (masks,) = prompted_masks(model, encoded, question.prompts, question.multimask)
        except ValueError as error:  # a mask of another size than the model's
            cause = str(error)
        else:
            return Answer(question, image_hw, masks)
    return Answer(question, image_hw, error=ImageError(question.where, cause, OTHERS))
