"""`amg boxes --detections FILE --input PATH --output DIR`: the instance in each box."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amg_cli.cli.format_options import FORMAT_OPTIONS, check_format_options
from amg_cli.cli.model_options import MODEL_OPTIONS, READING_OPTIONS
from amg_cli.cli.options import PATH, with_options
from amg_cli.cli.run_options import (
    INPUT_OPTIONS,
    PREVIEW_OPTION,
    RECORD_OPTIONS,
    VIEW_OPTION,
    check_given,
    wanted_formats,
)
from amg_cli.cli.run_task import RunTask
from amg_cli.cli.words import log_as

if TYPE_CHECKING:
    from amg_cli.batch.detections import Detections
    from amg_cli.batch.image_tasks import InBoxes
    from amg_cli.batch.job import Job
    from amg_cli.batch.sources.images import Source
    from amg_cli.core.errors import ImageError

EPILOG = """\b
FILE of --detections is COCO results, a COCO data set with boxes, or a box a line:
  {"image": "a.jpg", "box": [10, 20, 300, 400], "category": "dog", "score": 0.9}
or CSV with a header: image,x0,y0,x1,y1,category,score. Category and score may be missing.

\b
  amg boxes --detections boxes.csv --input photos --output out --format yolo
  amg boxes --detections results.json --data-set instances.json --input val2017 \\
      --output out --format coco-results
"""

# fmt: off
_OPTIONS = (
    click.option(
        "--detections", type=PATH, required=True, metavar="FILE",
        help="The boxes, of any detector or by hand.",
    ),
    click.option(
        "--data-set", type=PATH, metavar="FILE",
        help="The COCO data set that names the images and categories of COCO results. [default: an "
        "image is called by its id, and a category too]",
    ),
    click.option(
        "--refine/--no-refine", default=None,
        help="Prompt twice: by the box, then by the box and the mask found. [default: what is "
        "better with the model, by measurement]",
    ),
    *INPUT_OPTIONS,
    *FORMAT_OPTIONS,
    *RECORD_OPTIONS,
    PREVIEW_OPTION,
    VIEW_OPTION,
    *MODEL_OPTIONS,
    *READING_OPTIONS,
)
# fmt: on


@click.command(epilog=EPILOG)
@with_options(_OPTIONS)
@click.pass_context
def boxes(ctx: click.Context, /, **values: Any) -> None:
    """Boxes to instances: the mask of what lies in each."""
    log_as(values["log_format"])
    check_given(values)
    formats = wanted_formats(values)
    check_format_options(values, formats)
    # This loads what --help and usage errors must not wait for.
    from amg_cli.cli.running import do_run

    given = _Given.of(values["detections"], values["data_set"])
    found = given.detections
    task = RunTask(
        "boxes",
        settings={
            "detections": found.sha256,
            "categories": list(found.categories),
            "refine": values["refine"],
        },
        make=partial(_task, f"{found.where} {found.unit}", values["refine"]),
        given=given.job,
        refused=given.among,
    )
    ctx.exit(do_run(values, formats, task))


def _task(where: str, refine: bool | None) -> InBoxes:
    from amg_cli.batch.image_tasks import InBoxes

    return InBoxes(where, refine)


class _Given:
    """The boxes of a file, handed out to the images of a run."""

    def __init__(self, detections: Detections) -> None:
        self.detections = detections

    @staticmethod
    def of(path: Path, data_set: Path | None) -> _Given:
        """Those of a file. Raises InputError where it is of no layout."""
        from amg_cli.batch.detections import Detections

        return _Given(Detections.read(path, data_set))

    def job(self, job: Job, source: Source) -> Job:
        """A job with the boxes of its image."""
        return replace(job, boxes=self.detections.of(source))

    def among(self, sources: Iterable[Source]) -> list[ImageError]:
        """Give each image's boxes to the source it fits best. -> the boxes that go to none."""
        faults = list(self.detections.faults)
        sources = list(sources)
        if sources:
            faults += self.detections.unmatched(sources)
            self.detections = self.detections.among(sources)
        return faults
