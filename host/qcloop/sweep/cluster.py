"""Points run on the workers of a Dask cluster. The results return to this process."""

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from qcloop import __version__
from qcloop.errors import ClusterError, DataError, QcloopError
from qcloop.sweep.points import Outcome, Point, compute
from qcloop.sweep.workers import MOST_LOSSES, Failure, Result, run_safely

if TYPE_CHECKING:
    from distributed import Client

#: Seconds to wait for the scheduler, and then for a first worker.
_PATIENCE = 5.0
#: Seconds to wait for a worker when all are gone, and seconds between two looks for one.
LONGEST_WAIT, _LOOK = 60.0, 2.0

_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://\S+:\d{1,5}")
_EXPECTED = "expected what `dask scheduler` prints, such as tcp://HOST:8786"


# -- on a worker of the cluster -------------------------------------------------------------------


def _run(point: Point, data_sha256: str, version: str, starts: str) -> Result:
    """Run a point, unless its worker died too often.

    Each start is noted in the queue ``starts``, because a worker that dies can report nothing.
    """
    from distributed import Queue, get_client, get_worker

    address = get_worker().address
    queue = Queue(starts, client=get_client())
    queue.put(address)
    if queue.qsize() > MOST_LOSSES:
        lost = " and ".join(queue.get(batch=True)[:MOST_LOSSES])
        queue.close()
        return Failure(f"lost its worker {MOST_LOSSES} times: {lost} died")
    result = run_safely(lambda: _compute(point, data_sha256, version, address))
    queue.close()
    return result


def _compute(point: Point, data_sha256: str, version: str, address: str) -> Outcome:
    if version != __version__:
        raise ClusterError(
            f"worker {address} has qcloop {__version__}, here it is {version}: install one of them"
        )
    data = point.source.load()
    if data.sha256 != data_sha256:
        raise DataError(
            f"worker {address} has other data in {point.source.directory}: SHA-256 {data.sha256[:16]}..., "
            f"here {data_sha256[:16]}...: copy it there"
        )
    return compute(point, address)


# -- here -----------------------------------------------------------------------------------------


@contextmanager
def connected(address: str) -> "Iterator[Client]":
    """Connect to the scheduler at an address, ``tcp://HOST:PORT``.

    Raises
    ------
    ClusterError
        If nobody answers there within some seconds, if the cluster has no workers, or if a worker has no
        qcloop or another version of it.
    QcloopError
        If Dask is not installed.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise QcloopError(
            f"`--cluster` needs {error.name}, which is not installed: pip install 'qcloop[cluster]'"
        ) from None
    if not _ADDRESS.fullmatch(address):
        raise ClusterError(f"no address of a cluster: '{address}'; {_EXPECTED}")
    for name in list(logging.root.manager.loggerDict):  # errors are raised, not logged
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ClusterError(f"no cluster at {address} ({reason}); {_EXPECTED}") from error
    try:
        _check_workers(client, address)
        yield client
    finally:
        client.close(timeout=_PATIENCE)


def _check_workers(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise ClusterError(
            f"the cluster at {address} has no workers: start some by `dask worker {address} --nthreads 1`"
        ) from None

    def version() -> str | None:  # sent by value, because it is local: a worker may have no qcloop to import
        try:
            from qcloop import __version__ as there
        except ImportError:
            return None
        return there

    for worker, there in client.run(version).items():
        if there != __version__:
            raise ClusterError(
                f"worker {worker} has {f'qcloop {there}' if there else 'no qcloop'}, "
                f"here it is {__version__}: install qcloop {__version__} there"
            )


def run_on_cluster(client: "Client", points: Sequence[Point]) -> Generator[tuple[Point, Result], None, None]:
    """Run points on a cluster, and yield each result as it comes.

    A point whose worker dies is tried once more, on another worker if there is one.

    Parameters
    ----------
    points : sequence of Point
        No point twice. If points name a data directory, it must exist on every worker.

    Raises
    ------
    ClusterError
        If the scheduler is gone, or if all workers are gone for :data:`LONGEST_WAIT` seconds.
    """
    token, done = uuid4().hex, SimpleQueue[Any]()
    flying = {}
    for number, point in enumerate(points):
        name = f"qcloop-{token}-{number}"
        sha256 = point.source.load().sha256
        future = client.submit(_run, point, sha256, __version__, name, key=name, priority=-number)
        flying[name] = future, point
    for future, _ in flying.values():
        future.add_done_callback(done.put)
    while flying:
        name = _next_done(client, done)
        future, point = flying.pop(name)
        yield point, _result(future, client)


def _next_done(client: "Client", done: "SimpleQueue[Any]") -> str:
    """Wait for the next future that is done, and return its name."""
    address = client.scheduler.address if client.scheduler else "?"
    last_seen = monotonic()
    while True:
        try:
            return str(done.get(timeout=_LOOK).key)
        except Empty:
            try:
                workers = client.scheduler_info(n_workers=-1)["workers"] if client.status == "running" else {}
            except OSError:
                workers = {}
        if workers:
            last_seen = monotonic()
        elif monotonic() - last_seen > LONGEST_WAIT:
            raise ClusterError(f"the cluster at {address} has had no workers for {LONGEST_WAIT:g} s")


def _result(future: Any, client: "Client") -> Result:
    from distributed import KilledWorker

    try:
        result: Result = future.result()
    except KilledWorker as error:
        return Failure(f"lost its worker: {error.last_worker.address} died")
    except CancelledError as error:
        raise ClusterError("the cluster is gone") from error
    return result
