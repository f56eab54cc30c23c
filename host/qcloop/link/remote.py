"""An array behind a link: a real board or a virtual one."""

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from qcloop import operations
from qcloop.array.contract import I8, I16, I32, U8, Array, ArraySettings, Counters, Positions, Region
from qcloop.errors import ArrayResetError
from qcloop.link.stream import LinkStream
from qcloop.operations import HEADER, Operation


class RemoteArray(Array):
    """The array contract on a link.

    Requests are sent at once and their answers awaited only when a result is asked for, so that programming
    costs no round trip, and a product one. What the board might refuse is refused by the contract before.

    Parameters
    ----------
    link : LinkStream
        Closed by :meth:`close`.

    Raises
    ------
    LinkError
        From any operation: the board cannot be reached any more.
    ArrayResetError
        From any operation: the board was reset. Everything must be configured and loaded again.
    """

    def __init__(self, link: LinkStream) -> None:
        info = link.identity.info
        super().__init__(info.array)
        self._link, self._buffer = link, info.buffer
        self._awaited: deque[Operation] = deque()
        self._start = Positions()

    @property
    def link(self) -> LinkStream:
        """The link."""
        return self._link

    def restart(self) -> None:
        """Start a new session: the array is as after a reset, no cell of it programmed yet."""
        self._link.open()
        self._forget()

    def close(self) -> None:
        """Let others have the port."""
        self._link.close()

    def counters(self) -> Counters:
        """Return what was counted since :meth:`configure`."""
        return operations.decode_counters(self._ask([operations.request(Operation.COUNTERS)]))

    def positions(self) -> Positions:
        """Return the next sample of each generator."""
        return operations.positions_after(self._start, self.counters(), self.settings, self.config.lanes)

    # -- the link -------------------------------------------------------------------------------

    def _submit(self, requests: Iterable[bytes]) -> None:
        """Send requests whose answers have no results."""
        for request in requests:
            self._awaited.append(Operation(request[0]))
            self._send(request)

    def _ask(self, requests: Iterable[bytes]) -> bytes:
        """Send requests and return their results, joined, when all that was sent before is answered."""
        before = len(self._awaited)
        self._submit(requests)
        results = [self._answer() for _ in range(len(self._awaited))]
        return b"".join(results[before:])

    def _send(self, request: bytes) -> None:
        try:
            self._link.send(request)
        except ArrayResetError:
            self._forget()
            raise

    def _answer(self) -> bytes:
        """Return the results of the oldest request; ArrayError if it was refused."""
        try:
            status, length = HEADER.unpack(self._link.receive(HEADER.size))
            results = self._link.receive(length)
        except ArrayResetError:
            self._forget()
            raise
        operations.check_status(status, self._awaited.popleft())
        return results

    def _forget(self) -> None:
        """Know that nothing is programmed any more."""
        self._awaited.clear()
        self._readable.clear()
        self._programmed_words = 0

    # -- the contract ---------------------------------------------------------------------------

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        self._ask([operations.configure_request(settings, positions, self.config.lanes)])
        self._start = positions

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        lanes = self.config.lanes
        self._submit(operations.program_requests(region, cells, levels, lanes, self._buffer))

    def _program_block(self, region: Region, levels: U8) -> None:
        self._submit(operations.block_requests(region, levels, self.config.lanes, self._buffer))

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        self._submit(operations.load_requests(region, levels, codes, self.config.lanes))

    def _forward(self, region: Region, x: U8, bits: int) -> I32:
        results = self._ask(operations.forward_requests(region, x, bits))
        return operations.decode_products(results, region.cols)

    def _backward(self, region: Region, d: I8) -> I32:
        return operations.decode_products(self._ask(operations.backward_requests(region, d)), region.rows)

    def _read(self, region: Region) -> tuple[U8, I16]:
        return operations.decode_cells(self._ask(operations.read_requests(region, self.config.lanes)), region)
