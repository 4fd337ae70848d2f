"""CPU threads: a number for one thread of Python alone, and what is left of them after a fork.

`torch.set_num_threads` sets a default that other threads take too. What a thread computes with is
under it: OpenMP's number, which each thread has for itself, and MKL's, which goes by OpenMP's until
torch's default is set, and then by one of its own.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import torch

SETTERS = ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")  # of the calling thread
NUMBERS = re.compile(r"(?:at::get_num|omp_get_max|mkl_get_max)_threads\(\) : (\d+)")


@cache
def _setters() -> list[Callable[[int], object]]:
    """The functions of those names, in the libraries that torch may be linked to.

    Those of the whole process come first, as they do for torch: one of them may replace torch's.
    """
    names = ("libiomp5md.dll",) if sys.platform == "win32" else (None, torch._C.__file__)
    found = []
    for name in names:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        functions = (getattr(library, setter, None) for setter in SETTERS)
        found += [function for function in functions if function is not None]
    return found


def limit_this_thread(count: int) -> bool:
    """Compute with `count` CPU threads in this thread of Python; whether torch now does.

    No other thread's number changes, nor that of threads yet to come.
    """
    torch.get_num_threads()  # readies a thread when it first asks, which would undo what follows
    for set_number in _setters():
        set_number(count)
    return set(NUMBERS.findall(torch.__config__.parallel_info())) == {str(count)}


def can_limit_threads(count: int) -> bool:
    """Whether `limit_this_thread` does what it says here, as a thread finds that tries it.

    It does not where torch was built with other libraries; no harm is done then.
    """
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1) as new_thread:
        limited = new_thread.submit(limit_this_thread, count).result()
    return limited and torch.get_num_threads() == before


@cache
def survive_forks() -> None:
    """From now on a child of this process by fork computes with one thread, not never.

    OpenMP's threads stay with the parent, and what shares work out to them would wait for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))
