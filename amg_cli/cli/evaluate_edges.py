"""`amg eval --edges`: edge maps against boundaries that people drew."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from amg_cli.cli.figures import print_figures, write_json
from amg_cli.cli.progress import progress
from amg_cli.cli.words import option_name, say

OF_MASKS = ("masks", "against", "images", "output", "one_prompt", "report")


def check_options(values: dict[str, Any]) -> None:
    """Raise a usage error for options that do not go with --edges."""
    for option in OF_MASKS:
        if values[option]:
            raise click.UsageError(f"{option_name(option)} does not go with --edges")
    if values["truth"] is None:
        raise click.UsageError("--edges needs --truth")
    if values["truth"].is_file():
        raise click.UsageError("--edges needs boundaries: --truth with a folder of ID.npz")


def score_edges(values: dict[str, Any]) -> int:
    """Count and print. -> the exit code"""
    from amg_cli.batch.cores import nb_cores
    from amg_cli.batch.decoder_lines import taken_from_stderr
    from amg_cli.evaluate.edge_maps import count_all, open_edges
    from amg_cli.evaluate.edge_scores import edge_scores, image_scores

    images = open_edges(values["truth"], values["edges"], values["limit"])
    for image in images:  # first, as counting takes long
        if image.edge_map is None:
            say(f"{image.file_name}: no edge map of it; it counts as no edges found")
        with taken_from_stderr():
            image.read()
    with closing(count_all(images, nb_cores())) as counted:
        counts = list(progress(counted, values["quiet"], total=len(images)))
    scores = {"edges": edge_scores(counts)}
    per_image = {
        image.file_name: image_scores(of_image)
        for image, of_image in zip(images, counts, strict=True)
    }
    print_figures(scores, len(images))
    write_json(values["json_file"], scores, per_image)
    return 0
