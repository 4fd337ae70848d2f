"""`amg predict IMAGE`: the masks of points, boxes and masks given by hand, or in lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from amg_cli.cli.format_options import FORMAT_OPTIONS, check_format_options, given_options
from amg_cli.cli.model_options import MODEL_OPTIONS, READING_OPTIONS, ModelOptions, given_reading
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.run_options import STDIO
from amg_cli.cli.words import say
from amg_cli.core.errors import ImageError, InputError, reason
from amg_cli.core.interrupts import interrupted_with

if TYPE_CHECKING:
    from amg_cli.batch.answers import Answer
    from amg_cli.batch.prompt_lines import Question

EPILOG = """\b
All points, a box and a mask together are one prompt; of several boxes each is one.
Without --output, a line of JSON a prompt goes to stdout, in order.

\b
  amg predict dog.jpg --point 320,200 --point 10,15,0
  amg predict photos --prompts prompts.ndjson --output out --format coco
  {"image": "dog.jpg", "points": [[320, 200]], "labels": [1]}      a line of prompts
  {"image": "dog.jpg", "box": [10, 20, 300, 400], "id": "dog"}

\b
Exit codes: 0 all done; 1 could not start; 2 usage; 3 some prompts failed, the others are
done.
"""


class Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Numbers parted by commas, so many."""

    def __init__(self, name: str, counts: tuple[int, ...]) -> None:
        self.name, self._counts = name, counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers of an option's text."""
        try:
            numbers = [float(part) for part in str(value).split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in self._counts:
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return numbers


# fmt: off
_OPTIONS = (
    click.option(
        "--point", "points", type=Numbers("X,Y or X,Y,LABEL", (2, 3)), multiple=True,
        metavar="X,Y[,LABEL]", help="A point in pixels: on the object, or, with label 0, beside "
        "it. Can be given several times.",
    ),
    click.option(
        "--box", "boxes", type=Numbers("X0,Y0,X1,Y1", (4,)), multiple=True, metavar="X0,Y0,X1,Y1",
        help="A box around the object, in pixels. Can be given several times, each for one.",
    ),
    click.option(
        "--mask", type=PATH, metavar="FILE",
        help="Logits at low resolution to begin from, of an earlier answer: numpy's .npy.",
    ),
    click.option(
        "--multimask/--single", default=None, help="Three masks a prompt, or one. [default: three "
        "for a single point, which may mean a thing or its parts; else one]",
    ),
    click.option(
        "--prompts", type=PATH, metavar="FILE",
        help="A prompt a line, in JSON; - for stdin. IMAGE may then be the folder of the images.",
    ),
    click.option(
        "--output", type=PATH, default=STDIO, metavar="DIR",
        help="A folder to write to, as --format says. [default: stdout]",
    ),
    *FORMAT_OPTIONS,
    click.option(
        "--on-exists", type=click.Choice(["error", "overwrite"]), default="error",
        show_default=True, help="What to do with output that is there.",
    ),
    *MODEL_OPTIONS,
    *READING_OPTIONS,
)
# fmt: on


@click.command(epilog=EPILOG)
@click.argument("image", type=PATH)
@with_options(_OPTIONS)
@click.pass_context
def predict(ctx: click.Context, /, **values: Any) -> None:
    """Masks of what you point at: by points, boxes and masks."""
    by_hand = values["points"] or values["boxes"] or values["mask"]
    if bool(by_hand) == bool(values["prompts"]):
        raise click.UsageError("give --point, --box or --mask, or --prompts")
    if len(values["boxes"]) > 1 and (values["points"] or values["mask"]):
        raise click.UsageError("several boxes are a prompt each, and take no point or mask")
    if values["output"] == STDIO and values["formats"]:
        raise click.UsageError("--format is for --output DIR; to stdout goes ndjson")
    values["formats"] = list(dict.fromkeys(values["formats"])) or ["png"]
    check_format_options(values, values["formats"])
    with interrupted_with("answers so far are kept"), _questions(values) as asked:
        ctx.exit(
            _to_stdout(values, asked) if values["output"] == STDIO else _to_folder(values, asked)
        )


@contextmanager
def _questions(values: dict[str, Any]) -> Iterator[Iterable[Question]]:
    """The prompts that the options name: in order, and from stdin as they arrive."""
    if values["prompts"] is None:
        yield _by_hand(values)
        return
    from amg_cli.batch.prompt_lines import questions

    if values["prompts"] == STDIO:
        yield questions("stdin", sys.stdin.buffer, values["image"], values["multimask"])
        return
    with _opened(values["prompts"]) as file:
        name = str(values["prompts"])
        yield list(questions(name, file, values["image"], values["multimask"]))


def _by_hand(values: dict[str, Any]) -> list[Question]:
    """The prompts of the options. Raises InputError where one is none."""
    from amg_cli.batch.prompt_lines import Question, is_ambiguous, prompt_of

    points = [point[:2] for point in values["points"]] or None
    labels = [point[2] if len(point) > 2 else 1 for point in values["points"]] or None
    asked = []
    for number, box in enumerate(values["boxes"] or [None], 1):
        try:
            prompts = prompt_of(points, labels, box, values["mask"])
        except OSError as error:
            raise InputError(values["mask"], reason(error), "check the path") from error
        except (TypeError, ValueError) as error:
            raise InputError("the prompt", str(error), "see amg predict --help") from error
        multimask = values["multimask"]
        multimask = is_ambiguous(prompts) if multimask is None else multimask
        asked.append(Question("the prompt", number, None, values["image"], prompts, multimask))
    return asked


def _answers(values: dict[str, Any], asked: Iterable[Question]) -> Iterator[Answer]:
    from amg_cli.batch.answers import answers

    model = ModelOptions.of(values).load()
    return answers(asked, model, given_reading(values))


def _to_stdout(values: dict[str, Any], asked: Iterable[Question]) -> int:
    """A line a prompt, in order. -> the exit code."""
    from amg_cli.batch.answers import by_image, in_order
    from amg_cli.formats.ndjson import line_of_prompt

    if isinstance(asked, list):
        found = in_order(_answers(values, by_image(asked)), asked)
    else:
        found = _answers(values, asked)
    nb_failed = 0
    for answer in found:
        question = answer.question
        line = line_of_prompt(
            question.number, question.id, str(question.image or ""), answer.image_hw,
            answer.masks, answer.error,
        )  # fmt: skip
        click.echo(line, nl=False)
        nb_failed += _said(answer)
    return ImageError.exit_code if nb_failed else 0


def _to_folder(values: dict[str, Any], asked: Iterable[Question]) -> int:
    """The masks of each image together, in the formats asked for. -> the exit code."""
    from amg_cli.batch.answers import by_image
    from amg_cli.batch.kept_answers import keep

    failed: list[int] = []

    def counted(found: Iterable[Answer]) -> Iterator[Answer]:
        """The same, but what failed is said and counted."""
        for answer in found:
            failed.append(_said(answer))
            yield answer

    overwrite = values["on_exists"] == "overwrite"
    found = counted(_answers(values, by_image(asked)))
    options, reading = given_options(values), given_reading(values)
    for kept in keep(found, values["output"], values["formats"], options, reading, overwrite):
        if isinstance(kept, ImageError):
            say(kept)
            failed.append(1)
        else:
            click.echo(bytes(kept))
    return ImageError.exit_code if any(failed) else 0


def _said(answer: Answer) -> int:
    """Say what failed. -> how many did: one, or none."""
    if answer.error is not None:
        say(answer.error)
    return int(answer.error is not None)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(path, reason(error), "check the path") from error
    with file:
        yield file
