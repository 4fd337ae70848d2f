"""`amg eval`: masks against truth, or against another run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.evaluate_edges import check_options, score_edges
from amg_cli.cli.figures import print_figures, write_json
from amg_cli.cli.model_options import (
    MODEL_OPTIONS,
    READING_OPTIONS,
    ModelOptions,
    given_reading,
    model_settings,
)
from amg_cli.cli.options import PATH, generation_config, generation_options, with_options
from amg_cli.cli.progress import progress
from amg_cli.cli.words import option_name, say, warn
from amg_cli.core.errors import ImageError, InputError, OutputError
from amg_cli.core.interrupts import interrupted_with

if TYPE_CHECKING:
    from amg_cli.batch.job import Job, Outcome
    from amg_cli.core.mask import Mask
    from amg_cli.evaluate.scorers import Case, CocoScorer, Scorer
    from amg_cli.models.sam import Sam

EXIT_BELOW_MINIMUM = 4
GO_ON = "masks in --output are kept; the same command goes on from here"
NEEDED = {
    "min_match": "against",
    **dict.fromkeys(("images", "output", "limit", "one_prompt", "report"), "truth"),
}

EPILOG = """\b
PATH of --truth is a COCO file of instances, or a folder of BSDS500's segmentations (ID.npz);
of --masks, what amg wrote in a format that is read back, or a COCO results file. Without --masks
they are generated first: amg eval --truth PATH --model-type NAME [options].

\b
DIR of --edges has what amg edges wrote, a grey PNG an image (ID.png). They are matched to the
boundaries in BSDS500's truth, as its benchmark does it.

\b
Exit codes: 0 done; 1 something cannot be read; 2 usage; 3 some images failed;
4 --min-match was not reached.
"""

# fmt: off
_OPTIONS = (
    click.option(
        "--truth", type=PATH, metavar="PATH", help="The true segments.",
    ),
    click.option(
        "--masks", type=PATH, metavar="PATH", help="The masks to score.",
    ),
    click.option(
        "--against", type=PATH, metavar="DIR",
        help="Another run's output: compare --masks with it, without truth.",
    ),
    click.option(
        "--edges", type=PATH, metavar="DIR",
        help="Edge maps to score, instead of masks.",
    ),
    click.option(
        "--min-match", type=click.FloatRange(0, 1), metavar="SHARE",
        help="With --against: exit with 4 unless this share of masks matches at --match-iou.",
    ),
    click.option(
        "--match-iou", type=click.Choice(["0.98", "0.95", "0.9", "0.75"]), default="0.9",
        show_default=True, help="The mask IoU that --min-match asks for.",
    ),
    click.option(
        "--images", type=PATH, metavar="DIR",
        help="Where the truth's images are. [default: images, beside the truth]",
    ),
    click.option(
        "--output", type=PATH, metavar="DIR",
        help="Keep generated masks here; those that are there are not made again.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images."
    ),
    click.option(
        "--one-prompt", is_flag=True,
        help="Also prompt the model once for each true segment, by a point and by a box.",
    ),
    click.option(
        "--json", "json_file", type=PATH, metavar="FILE",
        help="Write the figures here too, with those of each image.",
    ),
    click.option(
        "--report", type=PATH, metavar="DIR",
        help="Write a page here, with plots and with the best and the worst images.",
    ),
    *MODEL_OPTIONS,
    *READING_OPTIONS,
)
# fmt: on


def _eval_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(_OPTIONS)(generation_options(command))


@click.command(name="eval", epilog=EPILOG)
@_eval_options
@click.pass_context
def evaluate(ctx: click.Context, /, **values: Any) -> None:
    """Score masks or edges against truth, or masks against another run."""
    truth, masks, against = values["truth"], values["masks"], values["against"]
    if values["edges"] is not None:
        check_options(values)
    if (truth is None) == (against is None):
        raise click.UsageError("give --truth, or --against")
    if against is not None and masks is None:
        raise click.UsageError("--against needs --masks")
    for option, needed in NEEDED.items():
        if values[option] and values[needed] is None:
            raise click.UsageError(f"{option_name(option)} needs --{needed}")
    generation_config(values)  # a setting out of range is told of before the model is loaded
    with interrupted_with(GO_ON if values["output"] else ""):
        if values["edges"] is not None:
            ctx.exit(score_edges(values))
        ctx.exit(_score(values) if against is None else _compare(values))


def _compare(values: dict[str, Any]) -> int:
    from amg_cli.evaluate.compare import Comparison, compare
    from amg_cli.formats.found import find_masks

    ours, theirs = find_masks(values["masks"]), find_masks(values["against"])
    total, per_image = Comparison(), {}
    for name in progress(sorted(ours.keys() | theirs.keys()), values["quiet"]):
        masks, others = (run[name].read() if name in run else [] for run in (ours, theirs))
        found = compare(masks, others)
        total += found
        per_image[name] = found.scores()
    print_figures({"run against run": total.scores()}, len(per_image))
    write_json(values["json_file"], {"run against run": total.scores()}, per_image)
    needed, share = values["min_match"], total.share(float(values["match_iou"]))
    if needed is None or share >= needed:
        return 0
    line = f"{share:.4f} of masks match at IoU {values['match_iou']}, not {needed}"
    say(line)
    return EXIT_BELOW_MINIMUM


def _score(values: dict[str, Any]) -> int:
    from amg_cli.evaluate.scorers import CocoScorer, open_truth

    scorer: Scorer = open_truth(values["truth"], values["limit"])
    if values["one_prompt"] and not isinstance(scorer, CocoScorer):
        raise click.UsageError("--one-prompt needs true segments: --truth with a COCO file")
    needs_model = values["masks"] is None or values["one_prompt"]
    own = {} if values["masks"] else model_settings(values)
    model = ModelOptions.of(values).load(own) if needs_model else None
    exit_code, per_image = 0, {}
    with tempfile.TemporaryDirectory(prefix="amg-eval-") as scratch:
        masks_at = values["masks"] or values["output"] or Path(scratch)
        if values["masks"] is None and model is not None:
            exit_code = _generate(values, model, scorer.cases, masks_at)
        read = _reader(masks_at, scorer, Path(scratch))
        for case in progress(scorer.cases, values["quiet"]):
            per_image[case.file_name] = scorer.add(case, read(case))
        if values["one_prompt"] and model is not None and isinstance(scorer, CocoScorer):
            _prompt(values, model, scorer)
        print_figures(scorer.scores(), len(per_image))
        write_json(values["json_file"], scorer.scores(), per_image)
        if values["report"]:
            from amg_cli.evaluate.page import write_page

            write_page(values["report"], scorer, per_image, read, lambda case: _image(values, case))
    return exit_code


def _prompt(values: dict[str, Any], model: Sam, scorer: CocoScorer) -> None:
    """Prompt the model once for each true segment, and count in what it answers."""
    from amg_cli.evaluate.one_prompt import prompt_segments

    for case in progress(scorer.cases, values["quiet"]):
        scorer.quality.add_prompted(prompt_segments(model, _image(values, case), case))


def _generate(values: dict[str, Any], model: Sam, cases: Sequence[Case], folder: Path) -> int:
    """Masks of each case into `folder`, but for those that are there. -> the exit code."""
    from amg_cli.batch.engines.local import Work, run
    from amg_cli.batch.image_tasks import Everything
    from amg_cli.batch.made_by import claim, maker_of
    from amg_cli.formats import reference_rle

    output_format = reference_rle.FORMAT
    jobs = _jobs(values, cases, folder, output_format.suffix)
    to_do = [job for job in jobs if not job.targets[0].exists()]
    config = generation_config(values, model_settings(values))
    work = Work(model, Everything(config), (output_format,), reading=given_reading(values))
    claim(folder, maker_of(work, config), holds_masks=len(to_do) < len(jobs))
    exit_code = 0
    for outcome in progress(run(to_do, work), values["quiet"], total=len(to_do)):
        _say_of(outcome, values["quiet"])
        if isinstance(outcome.error, OutputError):
            raise outcome.error
        if outcome.error is not None:
            exit_code = ImageError.exit_code
    if exit_code and not any(job.targets[0].exists() for job in jobs):
        cause = "none of its images has masks"
        raise ImageError(values["truth"], cause, "mend them and run again")
    return exit_code


def _jobs(values: dict[str, Any], cases: Sequence[Case], folder: Path, suffix: str) -> list[Job]:
    """One for each case. Makes the folder of the masks, and puts right what killed runs left."""
    from amg_cli.batch.commit import check_writable, recover
    from amg_cli.batch.job import Job
    from amg_cli.batch.naming import output_names

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, error.strerror or str(error), "check --output") from error
    names = output_names([_inside(values["truth"], case.file_name) for case in cases])
    targets = [folder / f"{name}{suffix}" for name in names]
    recover({target.parent for target in targets})
    check_writable(folder)
    return [
        Job(_image_path(values, case), (target,))
        for case, target in zip(cases, targets, strict=True)
    ]


def _say_of(outcome: Outcome, quiet: bool) -> None:
    """A line for what went wrong, or may have."""
    for warning in () if quiet else outcome.warnings:
        warn(warning)
    if outcome.error is not None:
        say(outcome.error)


def _inside(truth: Path, file_name: str) -> PurePath:
    """A name in the truth as a path that stays inside a folder."""
    path = PurePath(file_name)
    inside = PurePath(*(part for part in path.parts if part not in (path.anchor, "..")))
    if not inside.name:
        raise InputError(truth, f"{file_name!r} is the name of no image", "mend the file")
    return inside


def _reader(masks_at: Path, scorer: Scorer, scratch: Path) -> Callable[[Case], list[Mask]]:
    """What gives the masks of a case. Tells of those without any, which count as none found."""
    from amg_cli.evaluate.sources import open_masks

    sources = open_masks(masks_at, scorer, scratch)
    for case in scorer.cases:
        if case.file_name not in sources:
            say(f"{case.file_name}: no masks of it; it counts as none found")
    return lambda case: sources[case.file_name]() if case.file_name in sources else []


def _image(values: dict[str, Any], case: Case) -> Any:
    from amg_cli.batch.reading import read_picture

    return read_picture(_image_path(values, case), given_reading(values)).pixels


def _image_path(values: dict[str, Any], case: Case) -> Path:
    """The file of a case's image, whose suffix the truth may not know."""
    from amg_cli.batch.sources.images import IMAGE_SUFFIXES

    folder = values["images"] or values["truth"].parent / "images"
    path = folder / case.file_name
    tried = [path, *(path.with_name(path.name + suffix) for suffix in sorted(IMAGE_SUFFIXES))]
    there = next((file for file in tried if file.is_file()), None)
    if there is None:
        raise InputError(path, "no such image", "check --images")
    return there
