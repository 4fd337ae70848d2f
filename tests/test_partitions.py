"""Region measures: figures worked by hand, plain loops, properties, and the annotators of BSDS."""

import tracemalloc
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amg_cli.core import rle as rle_codec
from amg_cli.core.errors import InputError
from amg_cli.evaluate.partitions import (
    OverAnnotators,
    PartitionScores,
    contingency,
    covering,
    flatten,
    rand_index,
    read_bsds,
    score_partition,
    variation_of_information,
)
from tests.conftest import shared

NB_FILES = 10  # of BSDS, spread over all: a second's work
SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)


@st.composite
def partitions(draw, number):
    """So many partitions of one image, of few regions."""
    size_hw = draw(SIZES)
    labels = st.integers(0, 4)
    return [draw(hnp.arrays(np.int64, size_hw, elements=labels)) for _ in range(number)]


@st.composite
def mask_stacks(draw):
    height, width = draw(SIZES)
    return draw(hnp.arrays(bool, (draw(st.integers(0, 5)), height, width)))


def all_measures(a, b):
    overlap = contingency(a, b)
    return covering(overlap), rand_index(overlap), variation_of_information(overlap)


def masks_of(labels):
    return [rle_codec.encode(labels == label) for label in np.unique(labels)]


def same_partition(a, b):
    """Whether two label arrays join the same pixels, whatever the labels."""
    overlap = contingency(a, b)
    return (np.count_nonzero(overlap, axis=0) == 1).all() and (
        np.count_nonzero(overlap, axis=1) == 1
    ).all()


# Worked by hand: one row of four pixels, in two halves, against three pixels and one.

HALVES = np.array([[0, 0, 1, 1]])
THREE_AND_ONE = np.array([[0, 0, 0, 1]])


def test_contingency_counts_shared_pixels_with_the_first_partition_down_the_rows():
    assert contingency(HALVES, THREE_AND_ONE).tolist() == [[2, 0], [1, 1]]
    assert contingency(np.array([[7, 7], [7, 300]]), np.array([[5, 2], [9, 9]])).tolist() == [
        [1, 1, 1],  # of label 7, the pixels of labels 2, 5 and 9
        [0, 0, 1],
    ]


def test_covering_is_of_the_truth_and_weighs_its_regions_by_area():
    # The truth's three pixels meet the first half by 2 of 3; its one pixel the second by 1 of 2.
    assert covering(contingency(HALVES, THREE_AND_ONE)) == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 / 2)
    # The halves as truth: 2 of 3 again, and 1 of 2.
    assert covering(contingency(THREE_AND_ONE, HALVES)) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_rand_index_is_the_share_of_agreeing_pairs():
    # Of six pairs, both join (0, 1), and both part (0, 3) and (1, 3).
    assert rand_index(contingency(HALVES, THREE_AND_ONE)) == 3 / 6


def test_variation_of_information_is_in_bits():
    # The halves take one bit; nothing is shared between them and their crossing.
    crossing = contingency(np.array([[0, 0], [1, 1]]), np.array([[0, 1], [0, 1]]))
    assert variation_of_information(crossing) == 2
    # H(A, B) is 3/2 bits, H(A) 1, H(B) 2 - 3/4 log2 3; the variation is 2 H(A, B) - H(A) - H(B).
    wanted = 2 * 1.5 - 1 - (2 - 0.75 * np.log2(3))
    assert variation_of_information(contingency(HALVES, THREE_AND_ONE)) == pytest.approx(wanted)


def test_scores_are_the_best_and_the_mean_over_annotators():
    scores = score_partition(HALVES, [THREE_AND_ONE, HALVES, np.zeros((1, 4), int)])
    # Against one whole region: half of it is met; two of six pairs agree; one bit is unknown.
    information = all_measures(HALVES, THREE_AND_ONE)[2]
    assert scores == PartitionScores(
        covering=OverAnnotators(1.0, pytest.approx((0.625 + 1 + 0.5) / 3)),
        rand_index=OverAnnotators(1.0, pytest.approx((3 + 6 + 2) / 18)),
        variation_of_information=OverAnnotators(0.0, pytest.approx((information + 0 + 1) / 3)),
    )


def test_one_annotator_is_best_and_mean():
    scores = score_partition(HALVES, [THREE_AND_ONE])
    for figure, wanted in zip(
        (scores.covering, scores.rand_index, scores.variation_of_information),
        all_measures(HALVES, THREE_AND_ONE),
        strict=True,
    ):
        assert figure == OverAnnotators(wanted, wanted)


def test_an_image_of_one_pixel_agrees_with_itself():
    assert all_measures(np.array([[3]]), np.array([[8]])) == (1, 1, 0)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"cannot be \(1, 4\) and \(4, 1\)"):
        score_partition(HALVES, [HALVES.T])
    with pytest.raises(ValueError, match="no annotator"):
        score_partition(HALVES, [])


def test_a_picture_of_twenty_megapixels_overflows_nothing():
    half = 10_000_000
    overlap = np.array([[half, 0], [0, half]])
    assert (covering(overlap), rand_index(overlap)) == (1, 1)
    crossed = np.full((2, 2), half // 2)
    assert rand_index(crossed) == pytest.approx(0.5)
    assert variation_of_information(crossed) == 2


# Properties, and plain loops


@given(partitions(1))
def test_a_partition_agrees_with_itself(parts):
    assert all_measures(parts[0], parts[0]) == (1, 1, 0)


@given(partitions(2))
def test_rand_index_and_information_are_symmetric(parts):
    a, b = parts
    assert all_measures(a, b)[1:] == pytest.approx(all_measures(b, a)[1:], abs=1e-12)


@given(partitions(2))
def test_measures_keep_to_their_ranges(parts):
    cover, rand, information = all_measures(*parts)
    assert 0 < cover <= 1
    assert 0 <= rand <= 1
    assert 0 <= information <= 2 * np.log2(parts[0].size) + 1e-9


@given(partitions(2), st.permutations(range(5)))
def test_relabelling_changes_nothing(parts, order):
    a, b = parts
    relabelled = (1000 + 7 * np.array(order))[a].astype(np.uint16)
    assert all_measures(relabelled, b) == pytest.approx(all_measures(a, b), abs=1e-12)
    assert all_measures(b, relabelled) == pytest.approx(all_measures(b, a), abs=1e-12)


@given(partitions(2))
def test_the_rand_index_is_that_of_a_loop_over_all_pairs(parts):
    a, b = (part.ravel().tolist() for part in parts)
    pairs = list(combinations(range(len(a)), 2))
    agreeing = sum((a[i] == a[j]) == (b[i] == b[j]) for i, j in pairs)
    assert rand_index(contingency(*parts)) == (agreeing / len(pairs) if pairs else 1)


@given(partitions(2))
def test_covering_is_that_of_a_loop_over_regions(parts):
    found, truth = parts
    total = 0
    for true_label in np.unique(truth):
        region = truth == true_label
        total += region.sum() * max(
            (region & (found == label)).sum() / (region | (found == label)).sum()
            for label in np.unique(found)
        )
    assert covering(contingency(found, truth)) == pytest.approx(total / truth.size)


@pytest.fixture(scope="module")
def skimage_variation():
    """Taken here, as the time to import it, which is when it is first named, is no example's."""
    return pytest.importorskip("skimage.metrics").variation_of_information


@given(parts=partitions(2))
def test_variation_of_information_is_that_of_scikit_image(skimage_variation, parts):
    wanted = sum(skimage_variation(*parts))
    assert variation_of_information(contingency(*parts)) == pytest.approx(wanted, abs=1e-9)


# Flattening


def mask(*rows):
    """`mask("##.", "...")`: # is inside."""
    return rle_codec.encode(np.array([[c == "#" for c in row] for row in rows]))


def test_a_pixel_belongs_to_the_smallest_mask_that_holds_it():
    whole, left, corner = mask("####", "####"), mask("##..", "##.."), mask("#...", "....")
    nested = {whole["counts"]: "whole", left["counts"]: "left", corner["counts"]: "corner"}
    for order in permutations([whole, left, corner]):
        names = [nested[rle["counts"]] for rle in order]
        labels = flatten(order, (2, 4))
        assert [[names[label] for label in row] for row in labels] == [
            ["corner", "left", "whole", "whole"],
            ["left", "left", "whole", "whole"],
        ]


def test_small_is_by_pixels_and_not_by_box():
    ring, block = mask("####", "#..#", "####"), mask("....", ".##.", ".##.")
    assert flatten([ring, block], (3, 4)).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]


def test_of_masks_of_one_size_the_earlier_takes_the_pixel():
    left, right = mask("##."), mask(".##")
    assert flatten([left, right], (1, 3)).tolist() == [[0, 0, 1]]
    assert flatten([right, left], (1, 3)).tolist() == [[1, 0, 0]]


def test_the_rest_is_a_region_for_each_part_that_touches_by_an_edge():
    cross = mask(".#.", "#.#", ".#.")
    # The corners and the middle touch each other by their corners only.
    assert flatten([cross], (3, 3)).tolist() == [[1, 0, 2], [0, 3, 0], [4, 0, 5]]
    assert flatten([mask("..#", "..#")], (2, 3)).tolist() == [[1, 1, 0], [1, 1, 0]]


def test_without_masks_the_image_is_one_region():
    assert flatten([], (2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert flatten([mask("...", "...")], (2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_mask_that_smaller_ones_take_whole_has_no_region():
    labels = flatten([mask("####"), mask("##.."), mask("..##")], (1, 4))
    assert labels.tolist() == [[0, 0, 1, 1]]
    assert labels.dtype == np.int32


def test_a_mask_that_a_smaller_one_cuts_apart_is_one_region():
    assert flatten([mask("#####"), mask("..#..")], (1, 5)).tolist() == [[0, 0, 1, 0, 0]]


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"mask 1: \(h, w\) is \(3, 1\), not \(1, 3\)"):
        flatten([mask("###"), mask("#", "#", "#")], (1, 3))


@given(partitions(1))
def test_masks_that_are_a_partition_flatten_to_it(parts):
    assert same_partition(flatten(masks_of(parts[0]), parts[0].shape), parts[0])


@given(mask_stacks())
def test_each_pixel_goes_where_the_rule_says(stack):
    labels = flatten(rle_codec.encode_all(stack), stack.shape[1:])
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    smallest_first = sorted(range(len(stack)), key=lambda i: (stack[i].sum(), i))
    mask_of = {}
    for y, x in np.ndindex(labels.shape):
        owner = next((i for i in smallest_first if stack[i, y, x]), "rest")
        assert mask_of.setdefault(labels[y, x], owner) == owner
    # One region a mask, and these first, in the masks' order.
    owners = [mask_of[label] for label in sorted(mask_of) if mask_of[label] != "rest"]
    assert owners == sorted(set(owners))
    assert all(mask_of[label] == "rest" for label in range(len(owners), labels.max() + 1))


def test_masks_are_decoded_one_at_a_time():
    large = rle_codec.encode(np.ones((500, 500), bool))  # 0.25 MB decoded
    tracemalloc.start()
    flatten([large] * 400, (500, 500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


# Files


def test_segmentations_are_read_in_order_of_their_numbers(tmp_path):
    arrays = {f"segmentation_{k}": np.full((2, 3), k, np.uint16) for k in (10, 2, 0)}
    others = {"boundaries_0": np.zeros((2, 3), bool), "old_segmentation_1": np.zeros(7)}
    np.savez(tmp_path / "a.npz", **others, **arrays)
    read = read_bsds(tmp_path / "a.npz")
    assert [int(labels[0, 0]) for labels in read] == [0, 2, 10]
    assert {(labels.shape, labels.dtype) for labels in read} == {((2, 3), np.dtype(np.uint16))}


SQUARE = np.ones((2, 2), np.uint16)
BAD_ARCHIVES = {
    "no array segmentation_0": {"boundaries_0": SQUARE},
    "segmentation_1 is uint16 (4,), not whole numbers": {
        "segmentation_0": SQUARE,
        "segmentation_1": np.ones(4, np.uint16),
    },
    "segmentation_0 is float64 (2, 2), not whole numbers": {"segmentation_0": np.ones((2, 2))},
    "segmentation_0 is uint16 (0, 2), not whole numbers": {"segmentation_0": SQUARE[:0]},
    "its segmentations differ in size": {
        "segmentation_0": SQUARE,
        "segmentation_1": np.ones((2, 3), np.uint16),
    },
    "damaged, or no .npz (ValueError('Object arrays": {"segmentation_0": np.array([[None]])},
}


@pytest.mark.parametrize("cause", BAD_ARCHIVES)
def test_an_archive_of_other_arrays_is_refused(cause, tmp_path):
    np.savez(tmp_path / "a.npz", **BAD_ARCHIVES[cause])
    with pytest.raises(InputError) as caught:
        read_bsds(tmp_path / "a.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: {cause}")
    assert caught.value.remedy


def test_a_file_that_is_not_whole_or_no_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, segmentation_0=np.arange(64, dtype=np.uint16).reshape(8, 8))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    np.save(tmp_path / "a.npy", SQUARE)
    one_array = (tmp_path / "a.npy").read_bytes()
    for data in (b"", b"hello", whole[:50], whole[:-10], bytes(flipped), one_array):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.npz: damaged, or no \.npz"):
            read_bsds(path)


def test_a_file_that_is_not_there_is_refused_in_the_words_of_the_system(tmp_path):
    with pytest.raises(InputError, match="cannot read it: no such file or directory; check"):
        read_bsds(tmp_path / "a.npz")
    with pytest.raises(InputError, match="cannot read it: is a directory; check"):
        read_bsds(tmp_path)


# Real annotators


@pytest.fixture(scope="module")
def annotated():
    """The annotators' partitions of some images of BSDS500."""
    files = sorted(shared("data/bsds_dev/truth").glob("*.npz"))
    return [read_bsds(path) for path in files[:: len(files) // NB_FILES][:NB_FILES]]


def test_an_annotators_regions_as_masks_agree_with_the_annotator(annotated):
    for truths in annotated:
        labels = flatten(masks_of(truths[0]), truths[0].shape)
        scores = score_partition(labels, truths[:1])
        perfect = (OverAnnotators(1, 1), OverAnnotators(1, 1), OverAnnotators(0, 0))
        assert scores == PartitionScores(*perfect)


def test_annotators_agree_with_each_other_about_as_published(annotated):
    # Published for people on BSDS500: covering 0.72, Rand 0.88, variation of information 1.17,
    # whose pairs of annotators and images are others than these.
    scores = [
        score_partition(labels, truths[:i] + truths[i + 1 :])
        for truths in annotated
        for i, labels in enumerate(truths)
    ]
    assert np.mean([score.covering.mean for score in scores]) == pytest.approx(0.72, abs=0.03)
    assert np.mean([score.rand_index.mean for score in scores]) == pytest.approx(0.88, abs=0.03)
    information = np.mean([score.variation_of_information.mean for score in scores])
    assert information == pytest.approx(1.17, abs=0.05)
    for score in scores:
        assert score.covering.best >= score.covering.mean
        assert score.rand_index.best >= score.rand_index.mean
        assert score.variation_of_information.best <= score.variation_of_information.mean
