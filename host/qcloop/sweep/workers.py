"""Worker processes. Each runs one point after another, on the golden model or on a board of its own."""

import os
import signal
import socket
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from time import sleep
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import ArrayConfig
from qcloop.errors import ConfigError, LinkError, QcloopError
from qcloop.link.boards import OpenedBoards, open_boards
from qcloop.link.ports import BAUD
from qcloop.link.remote import RemoteArray
from qcloop.sweep.points import Outcome, Point, compute

#: A point has failed if its workers died so many times.
MOST_LOSSES = 2
#: Each worker uses one core: these variables keep libraries from starting threads of their own.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Failure:
    """One line on why a point has no outcome."""

    error: str


Result = Outcome | Failure


def run_safely(run: Callable[[], Outcome]) -> Result:
    """Return the outcome of a run, or why it failed.

    A LinkError is raised, because it is a fault of the board and not of the point.
    """
    try:
        return run()
    except LinkError:
        raise
    except QcloopError as error:
        return Failure(str(error))
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {text} ({Path(frame.filename).name}, line {frame.lineno})")


# -- in the worker's process ----------------------------------------------------------------------

_board: RemoteArray | OpenedBoards | None = None


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent has ended, in whatever way."""
    while os.getppid() == parent:
        sleep(0.5)
    os._exit(1)


def _open_board(port: str, baud: int, parts: ArrayPart) -> RemoteArray | OpenedBoards:
    global _board
    if _board is None:
        _board = open_boards(port, baud, parts)
    return _board


def _close_board() -> None:
    global _board
    board, _board = _board, None
    if board is not None:
        with suppress(LinkError):
            board.close()


def _shape(port: str, baud: int, parts: ArrayPart) -> tuple[ArrayConfig, int]:
    array = _open_board(port, baud, parts)
    return array.board_config, array.boards


def _run(point: Point, port: str | None, baud: int, parts: ArrayPart) -> Result:
    if port is None:
        return run_safely(lambda: compute(point, f"{socket.gethostname()}, process {os.getpid()}"))
    try:
        board = _open_board(port, baud, parts)
        board.restart()  # counts of the first writes' pulses depend on what the cells held before
        return run_safely(lambda: compute(point, port, lambda _: board))
    except LinkError:
        _close_board()  # it is opened again for the next point
        raise


# -- in the parent --------------------------------------------------------------------------------


class Worker:
    """A process that runs one point at a time.

    Each worker is an executor with a single process. If that process dies, no other point is lost, and it is
    known which point it ran.

    Parameters
    ----------
    port : str, optional
        Port of the board to use, as for ``--port`` of `qcloop train`. If left out, the golden model is used.
    baud : int
    parts : ArrayPart
        What a board that is started for the port must have.

    Raises
    ------
    ConfigError
        In a daemonic process, which may have no processes of its own.
    """

    def __init__(self, port: str | None = None, baud: int = BAUD, parts: ArrayPart = STANDARD_PARTS) -> None:
        if current_process().daemon:
            raise ConfigError(
                "a sweep runs in processes of its own, which a daemonic process cannot start: start it from "
                "a process that is not daemonic"
            )
        self.port, self._baud, self._parts = port, baud, parts
        self._start()

    def _start(self) -> None:
        self._last: Future[Any] | None = None
        self._executor = ProcessPoolExecutor(
            max_workers=1, initializer=_begin, initargs=(os.getpid(),), env=_ONE_THREAD
        )

    def submit(self, point: Point) -> "Future[Result]":
        """Begin to run a point, and return the future of its result."""
        return self._submit(_run, point, self.port, self._baud, self._parts)

    def shape(self) -> "Future[tuple[ArrayConfig, int]]":
        """Open the board, unless it is open; return the future of its shape, and of how many there are."""
        return self._submit(_shape, self.port, self._baud, self._parts)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = self._executor.submit(function, *arguments)
        self._last = future
        return future

    def restart(self) -> None:
        """End the process and start a new one."""
        self.kill()
        self._start()

    def kill(self) -> None:
        """End the process at once."""
        # Wait until the executor's thread has taken the last task: it would fail on one that is still listed.
        while not (self._last is None or self._last.running() or self._last.done()):
            sleep(0.001)
        self._executor.shutdown(wait=True, kill_workers=True)

    def close(self) -> None:
        """Close the board, if there is one, and end the process."""
        if self.port is not None:
            with suppress(BrokenProcessPool, RuntimeError):
                self._submit(_close_board).result()
        self.kill()


def run_on(
    workers: Sequence[Worker], points: Sequence[Point], say: Callable[[str], None] = lambda _: None
) -> Generator[tuple[Point, Result], None, None]:
    """Run points on workers, and yield each result as it comes.

    A point whose worker dies, or loses its board, is tried once more. A worker whose board does not come
    back is not used any more. If none is left, the iteration ends early. The workers are closed at the end.

    Parameters
    ----------
    points : sequence of Point
        No point twice.
    say : callable
        Is told of workers that died and of boards that were lost.
    """
    try:
        yield from _run_on(workers, points, say)
        for worker in workers:
            worker.close()
    finally:
        for worker in workers:
            worker.kill()


def _run_on(
    workers: Sequence[Worker], points: Sequence[Point], say: Callable[[str], None]
) -> Iterator[tuple[Point, Result]]:
    todo, losses, idle = deque(points), Counter[Point](), deque(workers)
    flying: dict[Future[Result], tuple[Worker, Point]] = {}
    results: list[tuple[Point, Result]] = []
    while True:
        while idle and todo:
            worker, point = idle.popleft(), todo.popleft()
            flying[worker.submit(point)] = worker, point
        yield from results  # the workers have work again meanwhile
        if not flying:
            return
        results = []
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            worker, point = flying.pop(future)
            try:
                results.append((point, future.result()))
            except (BrokenProcessPool, LinkError) as error:
                reason = _reason(worker, error)
                say(reason)
                losses[point] += 1
                if losses[point] < MOST_LOSSES:
                    todo.appendleft(point)
                else:
                    results.append((point, Failure(f"lost its worker {MOST_LOSSES} times: {reason}")))
                if not _revive(worker, error, say):
                    continue
            idle.append(worker)


def _reason(worker: Worker, error: Exception) -> str:
    if isinstance(error, LinkError):
        return f"board on {worker.port}: {error}"
    where = "" if worker.port is None else f" of the board on {worker.port}"
    return f"a worker process{where} died (killed, out of memory, or a crash)"


def _revive(worker: Worker, error: Exception, say: Callable[[str], None]) -> bool:
    """Prepare a worker for its next point. Return False if its board does not come back."""
    if not isinstance(error, LinkError):
        worker.restart()
    if worker.port is None:
        return True
    try:
        worker.shape().result()
    except (BrokenProcessPool, QcloopError) as lost:
        say(f"the board on {worker.port} is not used any more: {lost}")
        return False
    return True
