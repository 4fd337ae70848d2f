"""How masks are named by texts: the settings, each stated once, and checked once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from amg_cli.core.config import real_number
from amg_cli.core.errors import ConfigError, briefly, in_short

UNKNOWN = "unknown"  # the category of a mask that none of the classes is sure enough for
Background = Literal["blur", "keep", "grey", "white", "black"]
BACKGROUNDS: tuple[Background, ...] = get_args(Background)


@dataclass(frozen=True)
class NamingConfig:
    """What masks are called. Raises ConfigError, which names the setting.

    classes: names, of which each mask gets the likeliest; two or more, or none
    texts: descriptions, one of which a mask must match to be kept; these or `classes`
    unknown_thresh: probability under which a mask is of no class, but "unknown"; 0 for never
    text_thresh: probability from which on a mask matches a text; at .5 it is more like the text
        than like any thing
    background: what becomes of what is not the mask's in its crop. Blurred by default: in Yang et
        al. 2023, "Fine-Grained Visual Prompting", CLIP knew things best so
    margin: of the photograph around the mask's box, a share of the box's sides
    template: what is read for a class, which stands for its {}; a text is read as it is
    """

    classes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    unknown_thresh: float = 0.0
    text_thresh: float = 0.5
    background: Background = "blur"
    margin: float = 0.1
    template: str = "a photo of a {}"

    def __post_init__(self) -> None:
        for name in ("classes", "texts"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for name in ("unknown_thresh", "text_thresh", "margin"):
            object.__setattr__(self, name, _share(name, getattr(self, name)))
        if bool(self.classes) == bool(self.texts):
            raise ConfigError("classes", "either these or `texts` are wanted, and not both")
        if len(self.classes) == 1:
            cause = f"{in_short(self.classes[0])} alone would be every mask's"
            raise ConfigError("classes", f"{cause}; give two names or more, or it in `texts`")
        if self.background not in BACKGROUNDS:
            wanted = ", ".join(BACKGROUNDS)
            raise ConfigError("background", f"{in_short(self.background)} is none of {wanted}")
        if not isinstance(self.template, str) or "{}" not in self.template:
            raise ConfigError("template", "text with {} for the class is wanted")

    @property
    def categories(self) -> tuple[str, ...]:
        """All that a mask can be called, in the order that they are numbered in."""
        if self.texts:
            return self.texts
        may_be_none = self.unknown_thresh > 0 and UNKNOWN not in self.classes
        return (*self.classes, UNKNOWN) if may_be_none else self.classes


def settings_of_naming() -> dict[str, Any]:
    """The default of each setting, by name."""
    return {setting.name: setting.default for setting in dataclasses.fields(NamingConfig)}


def _names(setting: str, given: Any) -> tuple[str, ...]:
    """Names, each once, in their order."""
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ConfigError(setting, f"a list of names is wanted, not {briefly(given)}")
    names = tuple(dict.fromkeys(given))
    wrong = next((each for each in names if not isinstance(each, str) or not each.strip()), None)
    if wrong is not None:
        raise ConfigError(setting, f"{briefly(wrong)} is no name")
    return names


def _share(setting: str, given: object) -> float:
    number = real_number(given)
    if number is None or not 0 <= number <= 1:
        raise ConfigError(setting, f"{in_short(given)} is not in the range 0 to 1")
    return number
