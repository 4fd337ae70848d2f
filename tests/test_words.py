"""What the command says names settings as the options they are there."""

from amg_cli.cli.words import in_options
from amg_cli.core.errors import AmgError


def test_settings_are_options_on_the_command_line():
    error = AmgError("a.jpg", "`max_megapixels` is 5", "raise `max_megapixels`, or `image_size`")
    assert in_options(error) == (
        "a.jpg: --max-megapixels is 5; raise --max-megapixels, or --image-size"
    )


def test_the_place_is_left_as_it_is():
    assert in_options(AmgError("`output`.jpg", "empty file")) == "`output`.jpg: empty file"
