"""Work side by side: its order, its threads, its errors, and how its time is counted."""

import subprocess
import sys
import threading
import time

import pytest
import torch

from amg_cli.core.timings import collect, count, timed
from amg_cli.generation.parallel import MOST_WORKERS, in_parallel, nb_workers
from amg_cli.models import threads as module
from amg_cli.models.threads import NUMBERS, can_limit_threads, limit_this_thread
from tests.conftest import REPOSITORY

needs_workers = pytest.mark.skipif(
    not can_limit_threads(torch.get_num_threads() + 1), reason="threads cannot be limited here"
)


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


@needs_workers
def test_all_workers_are_at_work_at_once(threads):
    together = threading.Barrier(nb_workers())
    assert nb_workers() == min(threads, MOST_WORKERS)
    in_parallel(lambda _: together.wait(timeout=60), range(2 * nb_workers()))


@needs_workers
def test_workers_share_the_threads_and_record_no_gradients(threads):
    weight = torch.ones(2, requires_grad=True)

    def seen(_):
        return torch.get_num_threads(), (weight * 2).requires_grad

    with torch.inference_mode():
        found = in_parallel(seen, range(20))
    assert found == [(threads // nb_workers(), False)] * 20


@needs_workers
def test_the_number_is_that_of_a_workers_products_too(threads):
    """MKL keeps one of its own, once torch's default was set."""

    def seen(_):
        return set(NUMBERS.findall(torch.__config__.parallel_info()))

    assert in_parallel(seen, range(9)) == [{str(threads // nb_workers())}] * 9


@needs_workers
def test_a_limited_thread_changes_no_others_number(threads):
    limited, asked = threading.Event(), threading.Event()
    found = []

    def limit():
        found.append(limit_this_thread(threads + 1))
        found.append(torch.get_num_threads())
        limited.set()
        asked.wait(timeout=60)

    one = threading.Thread(target=limit)
    one.start()
    limited.wait(timeout=60)
    new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    new.start()
    new.join()
    found.append(torch.get_num_threads())
    asked.set()
    one.join()
    assert found == [True, threads + 1, threads, threads]


@needs_workers
@pytest.mark.usefixtures("all_cores")
def test_it_holds_where_the_host_has_set_no_number():
    code = (
        "import torch; from amg_cli.models.threads import NUMBERS, can_limit_threads;"
        "from amg_cli.generation.parallel import in_parallel, nb_workers;"
        "before = torch.get_num_threads(); assert can_limit_threads(before + 1);"
        "in_parallel(abs, range(9)); assert torch.get_num_threads() == before;"
        "assert set(NUMBERS.findall(torch.__config__.parallel_info())) == {str(before)}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=120)


@pytest.mark.parametrize("setters", [[], [lambda count: None]])
def test_where_threads_of_ones_own_cannot_be_had_the_caller_works_alone(
    setters, threads, monkeypatch
):
    monkeypatch.setattr(module, "_setters", lambda: setters)
    assert not can_limit_threads(threads + 1)
    here = threading.get_ident(), threads

    def seen(_):
        return threading.get_ident(), torch.get_num_threads()

    assert in_parallel(seen, range(5)) == [here] * 5


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")
def test_a_number_that_only_openmp_takes_is_not_enough(monkeypatch, threads):
    only_openmp = [f for f in module._setters() if "omp" in f.__name__]
    monkeypatch.setattr(module, "_setters", lambda: only_openmp)
    assert not can_limit_threads(threads + 1)
    assert torch.get_num_threads() == threads


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
