"""The engine of a Ray cluster: Ray Data maps the jobs by actors, each of which has the model.

    this process                  the cluster
    job ------------> desk -----> blocks of jobs -----> actors: attempt(job, work)
    as they are done <----------------------- blocks of outcomes

So many jobs are on their way at a time, and no others are held. Outcomes come as they are there,
in no order. An actor that ends, or whose node goes, is replaced by Ray, which does again what it
had in hand; an image whose actor ends each time has failed. Images and outputs lie where all nodes
see them; the model goes through Ray's object store, once to a node.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amg_cli.batch.commit import recover
from amg_cli.batch.decoder_lines import taken_from_stderr
from amg_cli.batch.engines.local import Work
from amg_cli.batch.engines.ray_actor import Actor, Answer, Desk, Setup, pieces_at
from amg_cli.batch.job import Job, Outcome
from amg_cli.batch.jobs_ahead import UntilError
from amg_cli.core.errors import AmgError, DeviceError, InputError
from amg_cli.core.interrupts import SIGNALS, check
from amg_cli.core.version import __version__

CLUSTER = "the Ray cluster"
LOCAL = "local"  # Ray's address for a cluster that is begun, on this machine, and ended with us
AHEAD = 16  # jobs an actor that are on their way
LEAST_AHEAD = 1024  # so that a cluster that grows has a reason to
# Ray Data keeps some kilobytes of each block until its data set ends, so that there are several,
# one after another. With many actors a block has several jobs: it takes milliseconds to hand out.
BLOCKS = 20_000
ACTORS_A_JOB, MOST_JOBS = 16, 16
REACHED_S = 10.0  # in which a cluster answers
STORE_BYTES = 256 * 2**20  # of the object store beside models, of a cluster that is begun
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # of what is in C++; it prints to stderr
    "RAY_ENABLE_AUTO_CONNECT": "0",  # after the end, no cluster is begun by accident
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class RayEngine:
    """The actors that a run has on a Ray cluster.

    threads:        CPU threads that each has
    cpus_per_actor, gpus_per_actor: what each asks Ray for; with a GPU it works on that
    actors:         the most there are; None for all that there is room for
    address:        the cluster's, as Ray has it; None for `RAY_ADDRESS`, or one of this machine
        alone, which is ended with the run
    landmark:       a file that all must see as this process does; None for none
    prepare:        what each process does before torch is loaded
    """

    threads: int
    cpus_per_actor: int
    gpus_per_actor: float = 0.0
    actors: int | None = None
    address: str | None = None
    landmark: Path | None = None
    prepare: Callable[[], object] = bool

    @property
    def setup(self) -> Setup:
        """What each actor is told."""
        landmarks = {} if self.landmark is None else {self.landmark: self.landmark.read_bytes()}
        device = "cuda" if self.gpus_per_actor else "cpu"
        return Setup(__version__, self.threads, Path.cwd(), device, landmarks, self.prepare)


def run_on_ray(
    engine: RayEngine, jobs: Iterable[Job], work: Work
) -> Generator[Outcome, None, None]:
    """Do the jobs on a cluster. Outcomes as they are there.

    jobs: may take its time to give the next one, and is asked for it in another thread
    If the iteration ends early, by a signal or otherwise, what is in hand is dropped.
    Raises InputError without Ray, or where a node does not see the images; DeviceError where no
    cluster is to be had, or an actor cannot work where it is; AmgError where it breaks down.
    """
    waiting: dict[int, Job] = {}
    try:
        with _cluster(engine, work):
            yield from _Run(engine, work, waiting).outcomes(jobs)
    except KeyboardInterrupt:  # what Ray may make of a signal
        check()
        raise
    finally:
        # Of actors that were ended while they wrote.
        recover({target.parent for job in list(waiting.values()) for target in job.targets})


class _Feed:
    """Puts jobs on the desk, in a thread of its own, as long as not too many are on their way."""

    def __init__(self, jobs: Iterable[Job], desk: Any, waiting: dict[int, Job], most: int) -> None:
        self._desk, self._waiting = desk, waiting
        self._room = threading.Semaphore(most)
        self._closed = threading.Event()
        self._jobs = UntilError(jobs)
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    @property
    def is_empty(self) -> bool:
        """Whether all there are have been done. Raises then what the iterator of jobs raised."""
        ended = not self._thread.is_alive()  # looked at first: it adds to those that wait
        if not ended or self._waiting:
            return False
        self._jobs.raise_error()
        return True

    @property
    def has_all(self) -> bool:
        """The same, once the desk has said that there are no more. Errors as of `is_empty`."""
        self._thread.join()
        return self.is_empty

    def done(self, number: int) -> bool:
        """A job is no longer on its way. -> False if it was not before."""
        if self._waiting.pop(number, None) is None:
            return False
        self._room.release()
        return True

    def close(self) -> None:
        """Put no more."""
        self._closed.set()
        self._room.release()

    def _fill(self) -> None:
        nb_put = 0
        try:
            for job in self._jobs:
                self._room.acquire()
                if self._closed.is_set():
                    return
                self._waiting[nb_put] = job
                self._desk.put.remote(nb_put, pickle.dumps(job))
                nb_put += 1
        finally:
            if not self._closed.is_set():
                self._desk.end.remote(nb_put)


class _Run:
    """The jobs' way through the cluster and back."""

    def __init__(self, engine: RayEngine, work: Work, waiting: dict[int, Job]) -> None:
        """waiting: the jobs that are on their way, by number; kept up to date"""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = self._ray = _ray()
        self._engine, self._setup, self._waiting = engine, engine.setup, waiting
        self._room = _room(ray, engine)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        size = jobs_a_block(self._room)
        self._desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote(size)
        self._work = ray.put(work)

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """What becomes of the jobs."""
        ray = self._ray
        ahead = max(LEAST_AHEAD, AHEAD * max(self._room, self._engine.actors or 0))
        feed = _Feed(jobs, self._desk, self._waiting, ahead)
        start = 0
        try:
            while not feed.is_empty:
                end = start + BLOCKS
                nb_answers = 0
                for answer in self._answers(range(start, end)):
                    nb_answers += 1
                    yield from self._settled(answer, feed)
                if nb_answers < BLOCKS and not feed.has_all:
                    raise _broken(f"{len(self._waiting)} images are lost in it")
                start = end
        except (ray.exceptions.RayError, ray.data.exceptions.SystemException) as error:
            check()  # it may be what an interrupt was turned into
            raise _broken(_lines(error)[-1]) from error  # which names what was raised first
        finally:
            feed.close()

    def _answers(self, places: range) -> Iterator[Answer]:
        """What the actors make of the pieces at some places of the desk."""
        data, engine, given = self._ray.data, self._engine, ([self._work], self._setup)
        pool = data.ActorPoolStrategy(
            min_size=1,
            max_size=engine.actors,
            initial_size=min(self._room, engine.actors or self._room),
        )
        rows = data.read_datasource(
            _source(data, self._desk, places), override_num_blocks=1, num_cpus=0
        ).map(
            Actor,
            fn_constructor_args=(self._desk, *given),
            compute=pool,
            num_cpus=engine.cpus_per_actor,
            num_gpus=engine.gpus_per_actor or None,
            max_restarts=-1,
            max_task_retries=-1,
        )
        blocks = rows.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
        for block in blocks:
            for pickled in block.column("answer").to_pylist():
                check()
                yield pickle.loads(pickled)

    def _settled(self, answer: Answer, feed: _Feed) -> Iterator[Outcome]:
        """The outcomes of an answer that had none before. Raises what it says ends the run."""
        if answer.refusal is not None:
            cause, remedy = answer.refusal
            raise DeviceError(f"node {answer.node}", cause, remedy)
        for folder in answer.unseen:
            if folder.is_dir():
                cause = f"is not seen from node {answer.node}"
                raise InputError(folder, cause, "give an `input` that all nodes see")
        self._desk.drop.remote(answer.place)
        for number, outcome in answer.outcomes:
            if feed.done(number):
                yield outcome


def jobs_a_block(nb_actors: int) -> int:
    """So many jobs an actor is given at once."""
    return min(MOST_JOBS, max(1, nb_actors // ACTORS_A_JOB))


def _source(data: Any, desk: Any, places: range) -> Any:
    """Ray Data's source of the pieces that lie, or will lie, on a desk."""

    class Pieces(data.Datasource):  # type: ignore[misc]
        """One reader, on the driver's node, whose blocks live as long as the driver does."""

        supports_distributed_reads = False

        def estimate_inmemory_data_size(self) -> int | None:
            """As of `Datasource`."""
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> Sequence[Any]:
            """As of `Datasource`."""
            facts = ("num_rows", "size_bytes", "input_files", "exec_stats")
            unknown = data.block.BlockMetadata(**dict.fromkeys(facts))
            return [data.ReadTask(lambda: pieces_at(desk, places), unknown)]

    return Pieces()


def _room(ray: Any, engine: RayEngine) -> int:
    """How many actors the cluster has room for now; one where it has yet to grow."""
    there = ray.cluster_resources()
    rooms = [there.get("CPU", 0) // engine.cpus_per_actor]
    if engine.gpus_per_actor:
        rooms.append(there.get("GPU", 0) // engine.gpus_per_actor)
    return max(1, int(min(rooms)))


@contextmanager
def _cluster(engine: RayEngine, work: Work) -> Iterator[None]:
    """Connected to a cluster, until the block ends; one that is begun for it ends then too."""
    address = engine.address or os.environ.get("RAY_ADDRESS") or LOCAL
    if "://" in address:
        cause = "is for clients of a cluster, and a run is more"
        raise DeviceError(address, cause, "run on a node of it, with auto as `ray_address`")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray = _ray()
    own: dict[str, Any] = {}
    if address == LOCAL:
        weights = sum(tensor.nbytes for tensor in work.model.state_dict().values())
        own = {"include_dashboard": False, "object_store_memory": STORE_BYTES + 3 * weights}
    try:
        try:
            _check_reachable(address)
            with _own_signals(), taken_from_stderr():
                ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
        except (RuntimeError, ValueError, OSError) as error:
            check()
            cause = getattr(error, "strerror", None) or _lines(error)[0]
            raise DeviceError(f"Ray at {address}", cause, "check `ray_address`") from error
        if address == LOCAL:
            _check_fits(ray, engine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _hush(ray)
            yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError where nothing listens there, which Ray takes minutes to find."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S).close()


def _ray() -> Any:
    """The library. Raises InputError where it is not installed."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("engine ray", str(error), "pip install 'amg-cli[ray]'") from error
    return ray


def _hush(ray: Any) -> None:
    """No bars and no words but ours; blocks as they are given, a row each."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # What it says of an actor that ended goes to stdout, whatever is asked for.
    ray._private.worker.print_to_stdstream = _nothing


def _nothing(*_: Any, **__: Any) -> None:
    """Print nothing."""


def _check_fits(ray: Any, engine: RayEngine) -> None:
    """Raises DeviceError where an actor would wait for ever."""
    there = ray.cluster_resources()
    for kind, wanted in (("CPU", engine.cpus_per_actor), ("GPU", engine.gpus_per_actor)):
        if wanted > there.get(kind, 0):
            cause = f"an actor wants {wanted:g} {kind}s, of {there.get(kind, 0):g} here"
            remedy = f"give fewer `{kind.lower()}s_per_actor`, or a `ray_address`"
            raise DeviceError("engine ray", cause, remedy)


@contextmanager
def _own_signals() -> Iterator[None]:
    """What signals do at the end is what they did before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _broken(cause: str) -> AmgError:
    return AmgError(CLUSTER, cause, "what is done is kept; the same command goes on from here")


def _lines(error: BaseException) -> list[str]:
    """What an error of Ray's says, which may be pages; at least its name."""
    lines = [line.strip() for line in str(error).splitlines()]
    return [line for line in lines if line] or [type(error).__name__]
