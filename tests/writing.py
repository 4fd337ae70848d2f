"""How tests write masks in a format, without a run."""

from pathlib import Path

from amg_cli.formats.format import FormatOptions, Output
from amg_cli.formats.result import Result


def result_of(masks, name="image", **more):
    """An image of the masks' size, or of 9 by 5 pixels without any."""
    size_hw = tuple(masks[0].rle["size"]) if masks else (9, 5)
    values = {"number": 1, "name": name, "file_name": f"{name}.jpg", "image_hw": size_hw}
    return Result(**(values | {"masks": masks} | more))


def write(image_format, masks, path, **options):
    """The masks of an image, in a format of an image."""
    output = Output(Path(path), Path(path), FormatOptions(**options))
    image_format.write(result_of(masks), output)


def write_run(run_format, results, path, **options):
    """The images of a run, in a format of a whole run. -> the path"""
    writer = run_format.open(Output(Path(path), Path(path), FormatOptions(**options)))
    for result in results:
        writer.add(result)
    writer.close()
    return Path(path)
