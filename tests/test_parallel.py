"""Work side by side: its order, its threads, its errors, and how its time is counted."""

import threading
import time

import pytest
import torch

from amg_cli.core.timings import collect, count, timed
from amg_cli.generation.parallel import MOST_WORKERS, in_parallel, nb_workers


@pytest.fixture(params=[1, 2, 3, MOST_WORKERS + 1])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(threads):
    def late_if_early(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert in_parallel(late_if_early, range(7)) == [item * item for item in range(7)]
    assert in_parallel(late_if_early, []) == []
    assert torch.get_num_threads() == threads


def test_all_workers_are_at_work_at_once(threads):
    together = threading.Barrier(nb_workers())
    assert nb_workers() == min(threads, MOST_WORKERS)
    in_parallel(lambda _: together.wait(timeout=60), range(2 * nb_workers()))


def test_workers_share_the_threads_and_record_no_gradients(threads):
    weight = torch.ones(2, requires_grad=True)

    def seen(_):
        return torch.get_num_threads(), (weight * 2).requires_grad

    with torch.inference_mode():
        found = in_parallel(seen, range(20))
    assert found == [(threads // nb_workers(), False)] * 20


def test_an_error_is_raised_and_what_is_not_begun_is_left(threads):
    begun = []

    def fails(item):
        begun.append(item)
        time.sleep(0.01)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        in_parallel(fails, range(1000))
    assert len(begun) < 1000
    assert torch.get_num_threads() == threads


def test_timings_are_those_of_the_clock_and_counts_of_all(threads):
    def work(_):
        with timed("prompts"):
            time.sleep(0.03)
        with timed("logits"):
            time.sleep(0.01)
        count("prompts", 2)

    with collect() as timings:
        start = time.perf_counter()
        in_parallel(work, range(2 * nb_workers()))
        elapsed = time.perf_counter() - start
    assert timings.counts["prompts"] == 4 * nb_workers()
    assert 0.5 * elapsed < sum(timings.seconds.values()) <= elapsed
    assert timings.seconds["prompts"] > timings.seconds["logits"] > 0
