"""Each of xdist's workers, and what it starts, computes with its share of the cores.

Threads of several workers at once would wait for each other, and spin meanwhile. The libraries read
the variables as they load, which the tests do next.
"""

import os

THREADS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")

nb_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if nb_workers > 1:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in THREADS:
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // nb_workers)))
