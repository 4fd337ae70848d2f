"""Results into formats, without a model: an image's own outputs, and the files of a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from amg_cli.batch.commit import committed
from amg_cli.core.errors import ImageError, OutputError, OutputExistsError, reason
from amg_cli.core.interrupts import check
from amg_cli.formats.format import FormatOptions, ImageFormat, Output, RunFormat
from amg_cli.formats.result import Result


def write_image(
    result: Result,
    output: Path,
    formats: Sequence[ImageFormat],
    options: FormatOptions,
    overwrite: bool,
) -> Iterator[Path | ImageError]:
    """Write the outputs that an image has of its own. -> each, or why there is none.

    Raises OutputError where the folder cannot be written to.
    """
    for format_ in formats:
        target = Path(format_.target(output, result.name))
        try:
            with committed(target, overwrite) as path:
                format_.write(result, Output(path, target, options))
        except OutputExistsError as error:
            yield error
        except OSError as error:
            raise cannot_write(output, error) from error
        except ValueError as error:
            yield ImageError(target, f"cannot be made: {error}", "give another `format`")
        else:
            yield target


def write_run_files(
    folder: Path, formats: Sequence[RunFormat], results: Iterable[Result], options: FormatOptions
) -> None:
    """The files of a whole run, each whole or not at all, from one pass. Raises OSError."""
    with ExitStack() as stack:
        writers = []
        for format_ in formats:
            target = folder / format_.file_name
            path = stack.enter_context(committed(target, overwrite=True))
            writers.append(format_.open(Output(path, target, options)))
        for result in results:
            check()
            for writer in writers:
                writer.add(result)
        for writer in writers:
            writer.close()


def check_free(folder: Path, formats: Sequence[RunFormat]) -> None:
    """Raises OutputError where the file of a whole run is there already."""
    for format_ in formats:
        if (folder / format_.file_name).exists():
            raise OutputError(folder / format_.file_name, "exists", "give `on_exists` overwrite")


def make_folder(folder: Path) -> None:
    """An output folder, with those it is in, where it is not there. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise OutputError(folder, cause, "give a folder that can be written to") from error


def cannot_write(where: Path, error: OSError) -> OutputError:
    """The error for an output folder that the system refuses."""
    cause = f"cannot be written to: {reason(error)}"
    return OutputError(where, cause, "what is done is kept; make room and run again")
