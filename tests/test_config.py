"""The settings: the reference's defaults, and what is refused in which words."""

import dataclasses
import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from amg_cli.core.config import GenerationConfig, Range
from amg_cli.core.errors import AmgError, ConfigError

DEFAULTS = {
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
}
WHOLE = [name for name, default in DEFAULTS.items() if type(default) is int]
REAL = [name for name, default in DEFAULTS.items() if type(default) is float]

# setting: values just outside, values just inside, the range in words
RANGES = {
    "points_per_side": ([0, -1, 1025], [1, 1024], "1 to 1024"),
    "points_per_batch": ([0, -1], [1, 10**9], "1 or more"),
    "pred_iou_thresh": ([], [-100.0, 0.0, 100.0], "any finite value"),
    "stability_score_thresh": ([1.001, 2], [-5.0, 0, 1], "1 or less"),
    "stability_score_offset": ([-0.001], [0, 1e9], "0 or more"),
    "box_nms_thresh": ([-0.001, 1.001], [0, 1], "0 to 1"),
    "crop_n_layers": ([-1, 7], [0, 6], "0 to 6"),
    "crop_nms_thresh": ([-0.001, 1.001], [0, 1], "0 to 1"),
    "crop_overlap_ratio": ([-0.001, 1, 1.5], [0, 0.999], "0 to under 1"),
    "crop_n_points_downscale_factor": ([0, -1], [1, 10**9], "1 or more"),
    "min_mask_region_area": ([-1], [0, 10**9], "0 or more"),
}
OUTSIDE = [(name, value) for name, (values, _, _) in RANGES.items() for value in values]
INSIDE = [(name, value) for name, (_, values, _) in RANGES.items() for value in values]


def refusal(name, value):
    """The error, whose line was checked to name the setting, its kind, range and this value."""
    with pytest.raises(ConfigError) as caught:
        GenerationConfig(**{name: value})
    kind = "a whole number" if name in WHOLE else "a number"
    bounds = RANGES[name][2]
    assert str(caught.value) == f"{name}: must be {kind} ({bounds}), not {value!r}"
    assert isinstance(caught.value, AmgError)
    return caught.value


def test_the_settings_and_their_defaults_are_the_references():
    """And come first; those that it does not have: `test_tidy.py`."""
    values = dataclasses.asdict(GenerationConfig())
    assert list(values)[: len(DEFAULTS)] == list(DEFAULTS)
    assert {name: values[name] for name in DEFAULTS} == DEFAULTS


def test_a_default_has_the_type_its_values_must_have():
    values = dataclasses.asdict(GenerationConfig())
    assert {name: type(values[name]) for name in DEFAULTS} == {
        name: type(value) for name, value in DEFAULTS.items()
    }


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_a_value_out_of_range_is_refused_in_one_line_that_names_the_range(name, value):
    assert refusal(name, value).exit_code == 2


@pytest.mark.parametrize(("name", "value"), INSIDE)
def test_both_ends_of_a_range_are_allowed(name, value):
    assert getattr(GenerationConfig(**{name: value}), name) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", REAL)
def test_what_is_not_finite_is_refused(name, value):
    assert refusal(name, value).exit_code == 2


@pytest.mark.parametrize("value", [True, False, np.True_, "3", [3], 3j, np.array([3])])
@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_no_number_is_refused(name, value):
    assert refusal(name, value).exit_code == 2


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "points_per_side"])
def test_none_is_refused_where_there_is_no_other_source(name):
    assert refusal(name, None).exit_code == 2


@pytest.mark.parametrize("value", [2.0, 2.5, math.nan, math.inf])
@pytest.mark.parametrize("name", WHOLE)
def test_a_real_number_for_a_whole_one_is_refused(name, value):
    assert refusal(name, value).exit_code == 2


@pytest.mark.parametrize("name", REAL)
def test_a_whole_number_for_a_real_one_is_allowed(name):
    assert getattr(GenerationConfig(**{name: 0}), name) == 0


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int16, int])
@pytest.mark.parametrize("name", DEFAULTS)
def test_whole_numbers_of_any_kind_are_kept_as_pythons(name, kind):
    value = getattr(GenerationConfig(**{name: kind(0 if name in REAL else 1)}), name)
    assert type(value) is type(DEFAULTS[name])


@pytest.mark.parametrize(
    "value",
    [np.float64(0.5), np.float32(0.5), np.float16(0.5), Decimal("0.5"), Fraction(1, 2), 0.5],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", REAL)
def test_real_numbers_of_any_kind_are_kept_as_pythons(name, value):
    found = getattr(GenerationConfig(**{name: value}), name)
    assert (type(found), found) == (float, 0.5)


def test_settings_from_numpy_are_equal_to_plain_ones_and_become_json():
    swept = GenerationConfig(points_per_side=np.int64(6), pred_iou_thresh=Decimal("0.88"))
    plain = GenerationConfig(points_per_side=6, pred_iou_thresh=0.88)
    assert (swept, hash(swept), repr(swept)) == (plain, hash(plain), repr(plain))
    assert json.loads(json.dumps(dataclasses.asdict(swept)))["points_per_side"] == 6


@pytest.mark.parametrize(
    "value",
    [
        *(kind(text) for kind in (np.float32, np.float64) for text in ("nan", "inf", "-inf")),
        *(Decimal(text) for text in ("NaN", "sNaN", "Infinity")),
        Decimal("1e999"),
        Fraction(10**400),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", REAL)
def test_what_no_finite_float_holds_is_refused_whatever_its_kind(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}: must be a number "):
        GenerationConfig(**{name: value})


@pytest.mark.parametrize("value", [np.float32(2), Decimal(2), Fraction(2)])
@pytest.mark.parametrize("name", WHOLE)
def test_a_real_number_of_another_kind_for_a_whole_one_is_refused(name, value):
    assert refusal(name, value).exit_code == 2


def test_points_per_side_may_be_none_as_in_the_reference():
    assert GenerationConfig(points_per_side=None).points_per_side is None


def test_what_is_refused_is_a_value_error_too():
    with pytest.raises(ValueError, match=r"^points_per_side: must be a whole number"):
        GenerationConfig(points_per_side=0)


@pytest.mark.parametrize(
    "value",
    [10**5000, "x" * 10_000, list(range(10_000)), np.arange(10_000)],
    ids=lambda value: type(value).__name__,
)
def test_a_long_value_is_cut_short_in_the_message(value):
    with pytest.raises(ConfigError) as error:
        GenerationConfig(points_per_side=value)
    assert len(str(error.value)) < 160


def test_a_line_break_in_a_value_does_not_break_the_message():
    assert "\n" not in str(refusal("points_per_side", "3\n4"))


def test_the_first_bad_setting_is_the_one_that_is_named():
    with pytest.raises(ConfigError, match=r"^points_per_side: "):
        GenerationConfig(points_per_side=0, crop_n_layers=9)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="points_per_sid"):
        GenerationConfig(points_per_sid=3)


def test_settings_and_their_ranges_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GenerationConfig().points_per_side = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Range(low=0).low = 1


def test_a_changed_copy_is_checked_too():
    assert dataclasses.replace(GenerationConfig(), points_per_side=3).points_per_side == 3
    with pytest.raises(ConfigError, match=r"^points_per_side: .* not 0$"):
        dataclasses.replace(GenerationConfig(), points_per_side=0)


def test_every_setting_has_a_range_and_a_sentence_of_help():
    for setting in dataclasses.fields(GenerationConfig):
        assert isinstance(setting.metadata["range"], Range)
        assert setting.metadata["help"].endswith(".")


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({}, "any finite value"),
        ({"low": 0}, "0 or more"),
        ({"high": 1}, "1 or less"),
        ({"low": 0, "high": 1}, "0 to 1"),
        ({"low": 0.5, "high": 1, "open_high": True}, "0.5 to under 1"),
    ],
)
def test_a_range_says_what_it_holds(bounds, text):
    assert str(Range(**bounds)) == text


@pytest.mark.parametrize(
    ("bounds", "held", "not_held"),
    [
        ({}, [-1e300, 0, 1e300], [math.nan, math.inf, -math.inf]),
        ({"low": 2}, [2, 3, 1e300], [1.999, -3, math.inf]),
        ({"high": 2}, [2, -1e300], [2.001, -math.inf]),
        ({"low": 1, "high": 2}, [1, 2], [0.999, 2.001, math.nan]),
        ({"low": 1, "high": 2, "open_high": True}, [1, 1.999], [0.999, 2, 2.001]),
        ({"high": 2, "open_high": True}, [-5, 1.999], [2]),
    ],
)
def test_a_range_holds_its_ends_unless_it_is_open(bounds, held, not_held):
    assert [value for value in [*held, *not_held] if Range(**bounds).holds(value)] == held


def test_a_number_too_large_for_a_float_is_in_range_or_refused_like_any_other():
    assert GenerationConfig(points_per_batch=10**400).points_per_batch == 10**400
    with pytest.raises(ConfigError):
        GenerationConfig(points_per_side=10**400)
