"""Edge maps against boundaries: figures worked by hand, a slow script of its own, the command."""

import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest

from amg_cli.cli.main import main
from amg_cli.core.errors import AmgError
from amg_cli.evaluate import contours, edge_maps, matching
from amg_cli.evaluate.contours import THRESHOLDS, EdgeCounts, count_edges
from amg_cli.evaluate.edge_maps import count_all, open_edges, read_edge_map
from amg_cli.evaluate.edge_scores import (
    average_precision,
    edge_scores,
    image_scores,
    recall_at_half,
)
from amg_cli.evaluate.matching import Numbered, Surroundings, match
from amg_cli.evaluate.partitions import read_bsds_boundaries
from amg_cli.evaluate.thinning import thin
from tests.command import AMG
from tests.conftest import shared

SIZE_HW = (240, 320)  # whose diagonal is 400 pixels, so that matches are at most 3 apart


def pixels(*places, size_hw=SIZE_HW):
    """A mask of single pixels, or of what slices hold."""
    mask = np.zeros(size_hw, bool)
    for place in places:
        mask[place] = True
    return mask


LINE = pixels((100, slice(20, 120)))  # 100 pixels


def counted(strength, *boundaries):
    """At the first threshold: found, found_matched, true, true_matched."""
    counts = count_edges(np.asarray(strength, float), boundaries)
    return tuple(int(values[0]) for values in astuple(counts))


# Counting one image, by hand


def test_there_are_99_thresholds():
    assert THRESHOLDS[0] == 0.01
    assert THRESHOLDS[-1] == 0.99
    assert len(THRESHOLDS) == 99


@pytest.mark.parametrize(("shift_px", "matched"), [(0, 100), (1, 100), (3, 100), (4, 0)])
def test_a_line_is_matched_as_far_as_the_greatest_distance_and_no_farther(shift_px, matched):
    found = np.roll(LINE, shift_px, axis=0)
    assert counted(found, LINE) == (100, matched, 100, matched)


def test_the_greatest_distance_is_as_the_crow_flies():
    dot = pixels((100, 100))
    assert counted(dot, pixels((102, 102))) == (1, 1, 1, 1)  # 2.83 pixels
    assert counted(dot, pixels((103, 101))) == (1, 0, 1, 0)  # 3.16


def test_one_pixel_is_matched_to_one_alone():
    dot, two = pixels((100, 100)), pixels((100, 99), (100, 102))
    assert counted(dot, two) == (1, 1, 2, 1)
    assert counted(two, dot) == (2, 1, 1, 1)


def test_of_two_annotators_either_makes_an_edge_right_and_each_counts_for_recall():
    upper, lower, both = pixels((50, 50)), pixels((90, 50)), pixels((50, 50), (90, 50))
    # Three pixels drawn, of which three are found; two edges, each right by one annotator at least.
    assert counted(both, upper, both) == (2, 2, 3, 3)
    # One of the three is missed, and nothing is wrong; the same pixel is right twice.
    assert counted(upper, upper, both) == (1, 1, 3, 2)
    assert counted(upper, lower) == (1, 0, 1, 0)


def test_as_many_are_matched_as_can_be_although_the_nearest_would_leave_one_over():
    # 10 is nearest to 11, which is all that 13 can have; so 10 has 8.
    found, true = pixels((9, 10), (9, 13)), pixels((9, 8), (9, 11))
    assert counted(found, true) == (2, 2, 2, 2)


@pytest.mark.parametrize("side", [1, -1])
def test_of_as_many_matches_the_nearest_are_taken(side):
    # One of the edges has no partner: the farther one, for both annotators alike, so that one edge
    # in all is right.
    near, far, true = (pixels((9, 10 + side * away_px)) for away_px in (1, 3, 0))
    assert counted(near | far, true, true) == (2, 1, 2, 2)
    pairs = Surroundings.of(true, 3).pairs(Numbered.of(near | far, 3))
    assert [found.tolist() for found in match(pairs)] == [[0], [0 if side == 1 else 1]]


def test_thick_edges_are_thinned_before_they_count():
    thick = pixels((slice(99, 102), slice(20, 120)))
    found, matched, _, true_matched = counted(thick, LINE)
    assert found == matched == true_matched
    assert 96 <= found <= 100  # the ends are worn off too


def test_an_edge_counts_at_the_thresholds_that_it_reaches():
    counts = count_edges(0.2 * LINE, [LINE])
    assert counts.found.tolist() == [100] * 20 + [0] * 79
    assert counts.true.tolist() == [100] * 99


def test_an_equal_map_is_not_matched_again(monkeypatch):
    plain, calls = contours._count, []
    monkeypatch.setattr(contours, "_count", lambda *given: calls.append(1) or plain(*given))
    count_edges(np.where(LINE, 0.7, 0.0), [LINE])
    assert len(calls) == 1 + 1  # and once for nothing


def test_boundaries_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"another size than the map's \(240, 320\)"):
        count_edges(LINE.astype(float), [LINE.T])


def test_thinning_is_scikit_images():
    theirs = pytest.importorskip("skimage.morphology").thin
    random = np.random.default_rng(0)
    for _ in range(100):
        noise = cv2.GaussianBlur(random.random(random.integers(1, 40, 2)), (0, 0), 1.5)
        lines = noise > np.quantile(noise, random.random())
        assert (thin(lines) == theirs(lines)).all()


# Figures from counts, by hand


def steps(*parts):
    """Counts of (thresholds, found, found_matched, true, true_matched), one part after another."""
    lengths, *values = np.array(parts).T
    assert lengths.sum() == 99
    return EdgeCounts(*(np.repeat(value, lengths) for value in values))


# Up to .5, twice too many edges, and the right ones alone above it.
LATE = steps((50, 20, 10, 10, 10), (49, 10, 10, 10, 10))
# Up to .5 all is right, and above it nothing is found.
EARLY = steps((50, 10, 10, 10, 10), (49, 0, 0, 10, 0))


def test_ods_has_one_threshold_for_all_and_ois_one_for_each():
    scores = edge_scores([LATE, EARLY])
    # OIS: each image is perfect at a threshold of its own.
    assert scores["OIS"] == 1
    # ODS: together, precision 20/30 and recall 1 at .5, F .8; 10/10 and 10/20 at .51, F 2/3.
    # Between, at share s, precision is (2 + s) / 3, recall (2 - s) / 2, F 2 (4 - s²) / (10 - s):
    # best at s = 10 - √96 = .202, of the steps s = 20/99 = .20202, F = 2 · 3.95919 / 9.79798.
    assert scores["ODS"] == pytest.approx(0.80816, abs=1e-5)
    assert scores["ODS threshold"] == pytest.approx(0.5 + 0.01 * 20 / 99)
    assert scores["ODS precision"] == pytest.approx((2 + 20 / 99) / 3)
    assert scores["ODS recall"] == pytest.approx((2 - 20 / 99) / 2)


def test_of_an_image_its_own_best_is_told():
    assert image_scores(LATE) == {"F": 1, "threshold": 0.51, "precision": 1, "recall": 1}
    assert image_scores(EARLY) == {"F": 1, "threshold": 0.01, "precision": 1, "recall": 1}


def test_ois_is_the_f_of_summed_counts_and_not_a_mean():
    small = steps((99, 1, 1, 1, 1))  # F 1
    large = steps((99, 30, 9, 9, 9))  # precision .3, F .46
    assert edge_scores([small, large])["OIS"] == pytest.approx(2 * (10 / 31) / (10 / 31 + 1))


def curve(*points):
    """(precision, recall), (99,) each, that pass through points by rising threshold."""
    precision, recall = np.array([*points, *[points[-1]] * (99 - len(points))], float).T
    return precision, recall


def test_average_precision_is_the_area_where_recall_is_measured():
    # From recall .5 to 1, precision is 1.5 - recall: 51 values whose mean is .75, of 100.
    assert average_precision(*curve((0.5, 1), (1, 0.5))) == pytest.approx(0.3825)
    # To recall 0 besides, of nothing found: another 50 from 0, .02, … .98.
    falls = curve((0.5, 1), (1, 0.5), (0, 0))
    assert average_precision(*falls) == pytest.approx(0.3825 + 0.49 * 50 / 100)
    # Of one recall, the precision at the lowest threshold: at recalls .5, .75 and 1 it is .2.
    twice = curve((0.2, 1), (0.9, 1), (0.2, 0.5))
    assert average_precision(*twice) == pytest.approx(0.2 * 51 / 100)
    assert average_precision(*curve((1, 1))) == 0  # one recall alone


def test_r50_is_recall_where_precision_is_half():
    assert recall_at_half(*curve((0.4, 0.9), (0.6, 0.7))) == pytest.approx(0.8)
    assert recall_at_half(*curve((0.6, 0.9), (0.8, 0.5))) == 0.9  # the lowest precision's
    assert math.isnan(recall_at_half(*curve((0.4, 0.9), (0.49, 0.7))))
    assert recall_at_half(*curve((0.5, 0.9), (0.5, 0.8), (0.9, 0.1))) == 0.9
    assert recall_at_half(*curve((0.75, 0.5))) == 0.5


def test_the_truth_itself_is_perfect_and_nothing_is_worth_nothing():
    perfect = edge_scores([count_edges(LINE.astype(float), [LINE])])
    assert (perfect["ODS"], perfect["OIS"], perfect["ODS threshold"]) == (1, 1, 0.01)
    nothing = edge_scores([count_edges(np.zeros(SIZE_HW), [LINE])])
    assert [nothing[name] for name in ("ODS", "OIS", "AP", "ODS recall")] == [0, 0, 0, 0]
    assert math.isnan(nothing["R50"])
    assert edge_scores([count_edges(LINE.astype(float), [~LINE & False])])["ODS"] == 0


# A script of its own: a dense solver with places for those left over, and loops


def wobble_px(found, true):
    """What makes one of several matchings the nearest, by the numbers of two pixels."""
    return (found * 7919 + true * 104_729) % 10_007 * 1e-8


@pytest.fixture
def no_ties(monkeypatch):
    """Distances that are no whole numbers' roots, so that no two matchings are the nearest."""
    plain = Surroundings.pairs

    def pairs(self, others):
        found = plain(self, others)
        return replace(found, distance_px=found.distance_px + wobble_px(found.other, found.one))

    monkeypatch.setattr(Surroundings, "pairs", pairs)


def slow_match(found, true, max_distance_px):
    """Which of the found and of the true are matched, and the sum of distances."""
    optimize = pytest.importorskip("scipy.optimize")
    at, there = np.argwhere(found), np.argwhere(true)
    left_over, never = 100 * max_distance_px, 1e5 * max_distance_px
    cost = np.full((len(at) + len(there), len(there) + len(at)), never)
    for i, (y, x) in enumerate(at):
        for j, (v, u) in enumerate(there):
            distance = math.sqrt((y - v) ** 2 + (x - u) ** 2)
            if distance <= max_distance_px:
                cost[i, j] = distance + wobble_px(i, j)
        cost[i, len(there) + i] = left_over
    for j in range(len(there)):
        cost[len(at) + j, j] = left_over
    cost[len(at) :, len(there) :] = 0
    pairs = [
        (i, j)
        for i, j in zip(*optimize.linear_sum_assignment(cost), strict=True)
        if i < len(at) and j < len(there)
    ]
    assert all(cost[i, j] < left_over for i, j in pairs)
    return {i for i, _ in pairs}, {j for _, j in pairs}, sum(cost[i, j] for i, j in pairs)


def slow_counts(strength, boundaries, share):
    """A list of (found, found_matched, true, true_matched)."""
    theirs = pytest.importorskip("skimage.morphology").thin
    max_distance_px = share * math.sqrt(strength.shape[0] ** 2 + strength.shape[1] ** 2)
    rows, known = [], {}
    for k in range(1, 100):
        edges = theirs(strength * 100 >= k)
        if edges.tobytes() not in known:
            matches = [slow_match(edges, boundary, max_distance_px) for boundary in boundaries]
            right = set().union(*(found for found, _, _ in matches))
            true_matched = sum(len(true) for _, true, _ in matches)
            known[edges.tobytes()] = (int(edges.sum()), len(right), true_matched)
        found, right, true_matched = known[edges.tobytes()]
        rows.append((found, right, sum(int(b.sum()) for b in boundaries), true_matched))
    return rows


def slow_f(found, right, true, true_matched):
    precision = right / found if found else 0
    recall = true_matched / true if true else 0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


def slow_figures(images):
    """ODS, OIS and AP of lists of counts."""
    total = [
        [sum(values) for values in zip(*rows, strict=True)] for rows in zip(*images, strict=True)
    ]
    points = [(r[1] / r[0] if r[0] else 0, r[3] / r[2] if r[2] else 0) for r in total]
    ods = 0
    for (p, r), (q, s) in itertools.pairwise(points):
        for i in range(100):
            a, b = p + (q - p) * i / 99, r + (s - r) * i / 99
            ods = max(ods, 2 * a * b / (a + b) if a + b else 0)
    own = [max(rows, key=lambda row: slow_f(*row)) for rows in images]
    ois = slow_f(*(sum(values) for values in zip(*own, strict=True)))
    lowest = {}
    for p, r in points:
        lowest.setdefault(r, p)
    known = sorted(lowest.items())
    area = 0
    for i in range(101):
        for (r, p), (s, q) in itertools.pairwise(known):
            if r <= i / 100 < s or (i == 100 and s == 1):
                area += (p + (q - p) * (i / 100 - r) / (s - r)) / 100
        area += i < 100 and len(known) > 1 and i / 100 == known[-1][0] and known[-1][1] / 100
    return ods, ois, area


def assert_agree(images, share, monkeypatch):
    """Ours and the slow script's, of (strength, boundaries) each."""
    monkeypatch.setattr(contours, "MAX_DISTANCE", share)
    ours = [count_edges(strength, boundaries) for strength, boundaries in images]
    slow = [slow_counts(strength, boundaries, share) for strength, boundaries in images]
    for counts, rows in zip(ours, slow, strict=True):
        found, right, true, true_matched = np.array(rows).T
        assert counts.found.tolist() == found.tolist()
        assert counts.true.tolist() == true.tolist()
        assert counts.true_matched.tolist() == true_matched.tolist()
        assert counts.found_matched.tolist() == right.tolist()
    scores = edge_scores(ours)
    figures = [scores[name] for name in ("ODS", "OIS", "AP")]
    assert figures == pytest.approx(slow_figures(slow), abs=1e-9)


def smooth(random, size_hw, levels=12):
    """A map of few strengths."""
    noise = cv2.GaussianBlur(random.random(size_hw), (0, 0), 1.2)
    return np.round((noise - noise.min()) / np.ptp(noise) * levels) / levels


@pytest.mark.parametrize("nb_annotators", [1, 3])
@pytest.mark.usefixtures("no_ties")
def test_the_slow_script_agrees_on_random_maps(nb_annotators, monkeypatch):
    random = np.random.default_rng(nb_annotators)
    images = [
        (
            smooth(random, (20, 30)),
            [thin(smooth(random, (20, 30)) > 0.6) for _ in range(nb_annotators)],
        )
        for _ in range(6)
    ]
    assert_agree(images, 0.08, monkeypatch)


@pytest.mark.parametrize("nb_annotators", [1, 3])
@pytest.mark.usefixtures("no_ties")
def test_the_slow_script_agrees_on_photographs(nb_annotators, monkeypatch):
    images = []
    for path in sorted(shared("data/bsds_dev/truth").glob("*.npz"))[40:300:130]:
        photo = shared(f"data/bsds_dev/images/{path.stem}.jpg")
        grey = cv2.GaussianBlur(cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE), (0, 0), 2)
        across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
        part = (slice(100, 180), slice(120, 220))
        strength = np.hypot(across, down)[part].astype(float)
        strength = np.round(8 * strength / strength.max()) / 8
        boundaries = [truth[part] for truth in read_bsds_boundaries(path)]
        images.append((strength, boundaries[:nb_annotators]))
    assert_agree(images, 0.02, monkeypatch)


@pytest.mark.usefixtures("no_ties")
def test_matches_are_as_many_and_as_near_as_the_slow_scripts(monkeypatch):
    random = np.random.default_rng(5)
    for problem_size in (1, 30, 10_000):  # however the pairs are shared out
        monkeypatch.setattr(matching, "PAIRS_A_PROBLEM", problem_size)
        for density in (0.02, 0.1, 0.3):
            found, true = (random.random((25, 35)) < share for share in (density, 0.1))
            pairs = Surroundings.of(true, 2.5).pairs(Numbered.of(found, 2.5))
            one, other = match(pairs)
            of = {
                (i, j): d for i, j, d in zip(pairs.one, pairs.other, pairs.distance_px, strict=True)
            }
            _, wanted, wanted_px = slow_match(found, true, 2.5)
            assert len(set(one)) == len(set(other)) == len(one) == len(wanted)
            assert sum(of[pair] for pair in zip(one, other, strict=True)) == pytest.approx(
                wanted_px
            )


# The command


@pytest.fixture
def amg_eval(tmp_path, monkeypatch, capfd):
    """Run `amg eval` in this process, alone, and in `tmp_path`. -> exit code, stdout, stderr"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["eval", *map(str, arguments)])
        return caught.value.code, *capfd.readouterr()

    return run


BOTH = ("--truth", "truth", "--edges", "edges")


def write_truth(folder, **boundaries):
    """`ID.npz` for each name, of one annotator, or of several in a list."""
    (folder / "truth").mkdir()
    for name, drawn in boundaries.items():
        drawn = drawn if isinstance(drawn, list) else [drawn]
        arrays = {f"boundaries_{k}": each for k, each in enumerate(drawn)}
        np.savez(folder / f"truth/{name}.npz", **arrays)


def write_maps(folder, **maps):
    (folder / "edges").mkdir()
    for name, pixels_ in maps.items():
        assert cv2.imwrite(str(folder / f"edges/{name}.png"), pixels_)


def grey(mask, value=255):
    return mask.astype(np.uint8) * np.uint8(value)


HALF = pixels((100, slice(20, 70)))

TABLE = """\
images                   2

edges
  ODS               0.8571
  ODS threshold     0.0100
  ODS precision     1.0000
  ODS recall        0.7500
  OIS               0.8571
  AP                0.0000
  R50               0.7500
"""


def test_the_figures_are_printed_and_written_with_those_of_each_image(amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE, b=LINE)
    write_maps(tmp_path, a=grey(LINE), b=grey(HALF), other=grey(LINE))
    assert amg_eval(*BOTH, "--json", "all.json") == (0, TABLE, "")
    data = json.loads((tmp_path / "all.json").read_text())
    assert data["images"] == 2
    assert data["scores"]["edges"]["ODS recall"] == 0.75
    assert data["per_image"] == {
        "a": {"F": 1, "threshold": 0.01, "precision": 1, "recall": 1},
        "b": {"F": pytest.approx(2 / 3), "threshold": 0.01, "precision": 1, "recall": 0.5},
    }


def test_an_image_without_a_map_is_told_of_and_all_its_boundaries_are_missed(amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE, b=[HALF, HALF])
    write_maps(tmp_path, a=grey(LINE))
    code, stdout, stderr = amg_eval(*BOTH, "--json", "all.json")
    assert (code, stderr) == (0, "amg: b: no edge map of it; it counts as no edges found\n")
    assert "  ODS precision     1.0000\n  ODS recall        0.5000\n" in stdout
    nothing = {"F": 0, "threshold": 0.01, "precision": 0, "recall": 0}
    assert json.loads((tmp_path / "all.json").read_text())["per_image"]["b"] == nothing


def test_a_map_without_an_edge_has_no_r50(amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE)
    write_maps(tmp_path, a=grey(LINE, 0))
    code, stdout, _ = amg_eval(*BOTH, "--json", "all.json")
    assert code == 0
    assert "  ODS               0.0000\n" in stdout
    assert "  R50                    -\n" in stdout
    assert json.loads((tmp_path / "all.json").read_text())["scores"]["edges"]["R50"] is None


def test_limit_takes_the_first_images_alone(amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE, b=LINE)
    write_maps(tmp_path, a=grey(LINE), b=grey(HALF))
    code, stdout, _ = amg_eval(*BOTH, "--limit", "1")
    assert code == 0
    assert stdout.startswith("images                   1\n\nedges\n  ODS               1.0000\n")


def test_8_and_16_bits_are_equal(tmp_path):
    random = np.random.default_rng(0)
    eight = (smooth(random, (30, 40), levels=255) * 255).round().astype(np.uint8)
    write_maps(tmp_path, a=eight, b=eight.astype(np.uint16) * 257, c=eight.astype(np.uint16))
    a, b, c = (read_edge_map(tmp_path / f"edges/{name}.png") for name in "abc")
    assert np.array_equal(a, b)
    assert (a.max(), a.dtype, c.max()) == (1, np.float64, 255 / 65535)  # read unchanged
    assert (a[eight == 51] == 0.2).all()


def test_the_number_of_processes_changes_nothing(tmp_path):
    random = np.random.default_rng(0)
    names = "abcd"
    write_truth(tmp_path, **{name: thin(smooth(random, (60, 80)) > 0.6) for name in names})
    maps = {name: (smooth(random, (60, 80)) * 255).astype(np.uint8) for name in names[:3]}
    write_maps(tmp_path, **maps)
    images = open_edges(tmp_path / "truth", tmp_path / "edges")
    alone, together = ([*count_all(images, number)] for number in (1, 3))
    assert [image.file_name for image in images] == list(names)
    assert alone[0].found.max() > 0
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(astuple(one), astuple(other))


def test_an_error_of_another_process_is_the_same_error(tmp_path):
    write_truth(tmp_path, a=LINE, b=LINE.T)
    write_maps(tmp_path, a=grey(LINE), b=grey(LINE))
    images = open_edges(tmp_path / "truth", tmp_path / "edges")
    with pytest.raises(AmgError, match=r"b\.png: a map of \(h, w\) \(240, 320\), where"):
        list(count_all(images, 2))


class Dies(edge_maps.EdgeImage):
    """An image that is the end of who counts it."""

    def count(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_one_line(tmp_path):
    images = [Dies(tmp_path / name, None) for name in "ab"]
    with pytest.raises(AmgError) as caught:
        list(count_all(images, 2))
    assert str(caught.value) == (
        f"{tmp_path}: a process that scored its images was killed; "
        "it may need more memory than there is"
    )


def in_group(pid):
    """The processes of a group."""
    listed = subprocess.run(["pgrep", "-g", str(pid)], capture_output=True, text=True)
    return listed.stdout.split()


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux lists them")
@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)]
)
def test_a_signal_ends_all_processes_and_is_one_line(number, to_all, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000), dtype=np.uint8)
    write_truth(tmp_path, **dict.fromkeys("abcd", noise > 200))
    write_maps(tmp_path, **dict.fromkeys("abcd", noise))
    process = subprocess.Popen(
        [AMG, "eval", *BOTH], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    try:
        wait_until(lambda: len(in_group(process.pid)) >= 1 + 2)
        (os.killpg if to_all else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
        wait_until(lambda: not in_group(process.pid))
    finally:
        process.kill()
    assert stdout == ""
    if number == signal.SIGKILL:
        return
    assert process.returncode == 128 + number
    by = "" if number == signal.SIGINT else " by SIGTERM"
    assert stderr == f"amg: interrupted{by}\n"


# What cannot start


def test_nothing_but_this_needs_scipy(amg_eval, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.csgraph", None)
    write_truth(tmp_path, a=LINE)
    write_maps(tmp_path, a=grey(LINE))
    line = "amg: edges: edge maps are matched by scipy; pip install 'amg-cli[eval]'\n"
    assert amg_eval(*BOTH) == (1, "", line)
    script = "import sys, amg_cli.cli.main, amg_cli.evaluate.{}; sys.exit('{}' in sys.modules)"
    for module, unneeded in (("scorers", "scipy"), ("edge_maps", "scipy"), ("edge_maps", "torch")):
        done = subprocess.run([sys.executable, "-c", script.format(module, unneeded)])
        assert done.returncode == 0, (module, unneeded)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--edges e", "--edges needs --truth"),
        ("--edges e --truth t.json", "--edges needs boundaries: --truth with a folder of ID.npz"),
        ("--edges e --truth t --masks m", "--masks does not go with --edges"),
        ("--edges e --against a", "--against does not go with --edges"),
        ("--edges e --truth t --one-prompt", "--one-prompt does not go with --edges"),
        ("--edges e --truth t --report r", "--report does not go with --edges"),
        ("--edges e --truth t --images i", "--images does not go with --edges"),
        ("--edges e --truth t --output o", "--output does not go with --edges"),
        ("--edges e --truth t --min-match 1", "--min-match needs --against"),
        ("--edges e --truth t --limit 0", "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_option(arguments, told, amg_eval, tmp_path):
    (tmp_path / "t.json").write_text("{}")
    code, stdout, stderr = amg_eval(*arguments.split())
    assert (code, stdout) == (2, "")
    assert re.sub(r"\s+", " ", stderr).count(told) == 1, stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--truth none --edges edges", "none: no such folder; check --truth"),
        ("--truth truth --edges none", "none: no such folder; check --edges"),
        ("--truth edges --edges edges", "edges: no .npz in it; give a folder of BSDS500's truth"),
        ("--truth truth --edges truth",
         "truth: no map in it of an image with truth; name each as its truth, such as a.png"),
        ("--truth truth --edges edges --json none/all.json",
         "none/all.json: No such file or directory; check --json"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_exit_code_1_and_one_line(arguments, line, amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE)
    write_maps(tmp_path, a=grey(LINE))
    code, _, stderr = amg_eval(*arguments.split())
    assert (code, stderr) == (1, f"amg: {line}\n")


def png(pixels_):
    return cv2.imencode(".png", pixels_)[1].tobytes()


BROKEN = png(np.random.default_rng(0).integers(0, 256, SIZE_HW, dtype=np.uint8))
BAD_MAPS = [
    (b"", "damaged, or no picture; write it again"),
    (b"hello", "damaged, or no picture; write it again"),
    (BROKEN[:2000], "damaged, or no picture; write it again"),
    (BROKEN[:2000] + b"?" + BROKEN[2001:], "damaged, or no picture; write it again"),
    (png(np.zeros((*SIZE_HW, 3), np.uint8)),
     "uint8 (240, 320, 3), not grey of 8 or 16 bits (H, W); write it as a grey PNG"),
    (png(np.zeros((*SIZE_HW, 4), np.uint16)),
     "uint16 (240, 320, 4), not grey of 8 or 16 bits (H, W); write it as a grey PNG"),
    (cv2.imencode(".tiff", np.zeros(SIZE_HW, np.float32))[1].tobytes(),
     "float32 (240, 320), not grey of 8 or 16 bits (H, W); write it as a grey PNG"),
    (png(np.zeros(SIZE_HW[::-1], np.uint8)),
     "a map of (h, w) (320, 240), where the truth is (240, 320); "
     "make it again, from the truth's own image"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), BAD_MAPS)
def test_a_map_that_cannot_be_scored_is_exit_code_1_and_one_line_before_any_is(
    data, line, amg_eval, tmp_path, monkeypatch
):
    write_truth(tmp_path, a=LINE, b=LINE)
    write_maps(tmp_path, a=grey(LINE))
    (tmp_path / "edges/b.png").write_bytes(data)
    monkeypatch.setattr(contours, "_count", None)
    assert amg_eval(*BOTH) == (1, "", f"amg: edges/b.png: {line}\n")


def test_a_map_that_is_a_folder_is_refused_in_the_words_of_the_system(amg_eval, tmp_path):
    write_truth(tmp_path, a=LINE)
    (tmp_path / "edges/a.png").mkdir(parents=True)
    line = "amg: edges/a.png: cannot read it: is a directory; check the path\n"
    assert amg_eval(*BOTH) == (1, "", line)


REMEDY = "give an .npz with arrays boundaries_0, boundaries_1, …"
BAD_TRUTHS = [
    ({"segmentation_0": LINE}, f"no array boundaries_0 in it; {REMEDY}"),
    ({"boundaries_0": LINE * 0.5},
     f"boundaries_0 is float64 (240, 320), not true or false (H, W); {REMEDY}"),
    ({"boundaries_0": LINE, "boundaries_1": LINE[0]},
     f"boundaries_1 is bool (320,), not true or false (H, W); {REMEDY}"),
    ({"boundaries_0": LINE, "boundaries_1": LINE.T},
     "its boundaries differ in size; take it from its source again"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "line"), BAD_TRUTHS)
def test_truth_without_boundaries_is_exit_code_1_and_one_line(arrays, line, amg_eval, tmp_path):
    (tmp_path / "truth").mkdir()
    np.savez(tmp_path / "truth/a.npz", **arrays)
    write_maps(tmp_path, a=grey(LINE))
    assert amg_eval(*BOTH) == (1, "", f"amg: truth/a.npz: {line}\n")


def test_boundaries_are_read_in_order_of_their_numbers_also_as_matlabs_numbers(tmp_path):
    drawn = {k: pixels((k, 0), size_hw=(20, 3)) for k in (10, 2, 0)}
    arrays = {f"boundaries_{k}": mask.astype(np.uint8) for k, mask in drawn.items()}
    np.savez(tmp_path / "a.npz", segmentation_0=np.ones((9, 9), int), **arrays)
    read = read_bsds_boundaries(tmp_path / "a.npz")
    assert [mask.dtype for mask in read] == [bool] * 3
    assert np.array_equal(read, [drawn[0], drawn[2], drawn[10]])


# Real annotators


def test_an_annotator_against_the_others_is_about_as_good_as_published(tmp_path):
    # For people on BSDS500 the benchmark's authors give F .80.
    found = []
    for path in sorted(shared("data/bsds_dev/truth").glob("*.npz"))[::30]:
        first, *others = read_bsds_boundaries(path)
        found.append(count_edges(first.astype(float), others))
    assert edge_scores(found)["ODS"] == pytest.approx(0.80, abs=0.04)
