"""The array of a board, real or virtual, on a link."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qcloop.array.images import Done, Number
from qcloop.array.interface import Array, Cells, Products
from qcloop.contract import operations, stored
from qcloop.contract.images import ImageSet, ImageSetInfo
from qcloop.contract.operations import HEADER, Operation, TrainingCounts
from qcloop.contract.order import ImageOrder
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import TrainingPlan, TrainingResult
from qcloop.contract.stored import ImageOperation, RunCounts
from qcloop.contract.types import I8, I16, I32, U8, U16, ArraySettings, Counters, Positions, Region
from qcloop.errors import ArrayError, ArrayResetError
from qcloop.link.stream import LinkCounts, LinkStream


@dataclass(slots=True)
class PendingResults:
    """The results of requests that belong together: those that have come, and how many are missing."""

    missing: int
    results: list[bytes] = field(default_factory=list)
    #: Why the first of them that was refused was refused.
    refusal: ArrayError | None = None


class RemoteArray(Array):
    """The array contract on a link.

    A request is sent at once, but its answer is awaited only when a result is fetched. So programming costs
    no round trip, and products that are asked for together cost one. :class:`Array` has checked all arguments
    before, so the board has nothing to refuse. If it refuses a request all the same, the next method that
    waits for an answer raises the error, when the requests behind it are answered, too. So what is asked for
    afterwards gets answers of its own.

    Parameters
    ----------
    link : LinkStream
        Closed by :meth:`close`.

    Raises
    ------
    LinkError
        From any operation, if the board cannot be reached any more.
    ArrayResetError
        From any operation, if the board was reset. It must be configured, and its cells loaded, again.
    """

    #: With so many vectors the headers of frames cost little, and a batch of 32 still keeps both directions
    #: of the line busy.
    micro_batch_size = 16
    epochs_ahead = stored.EPOCHS_AHEAD

    def __init__(self, link: LinkStream) -> None:
        info = link.identity.info
        super().__init__(info.array)
        self._link, self._buffer = link, info.buffer
        self._awaited: deque[tuple[Operation | ImageOperation, PendingResults]] = deque()
        #: What the board has counted up to now; None if something may have been counted since it was asked.
        self._counted: tuple[Counters, TrainingCounts] | None = None

    @property
    def link(self) -> LinkStream:
        """The link."""
        return self._link

    @property
    def name(self) -> str:
        """The port."""
        return self._link.name

    @property
    def counts(self) -> LinkCounts:
        """What went over the line."""
        return self._link.counts

    def restart(self) -> None:
        """Start a new session: the array is as after a reset, and no cell is programmed."""
        self._link.open()
        self._forget()

    def close(self) -> None:
        """Release the port."""
        self._link.close()

    def counters(self) -> Counters:
        """Return what the array has counted since :meth:`configure`."""
        return self._count()[0]

    def positions(self) -> Positions:
        """Return the next sample of each generator."""
        counters, training = self._count()
        return operations.positions_after(
            self.start, counters, self.settings, self.config.lanes, training.samples
        )

    def _count(self) -> tuple[Counters, TrainingCounts]:
        """Ask the board what it has counted."""
        results = self._ask([operations.request(Operation.COUNTERS)])
        self._counted = operations.decode_counters(results), operations.decode_training(results)
        return self._counted

    # -- the link -------------------------------------------------------------------------------

    def _send_all(self, requests: Iterable[bytes]) -> PendingResults:
        """Send requests in as few frames as possible; return what :meth:`_fetch` needs for their results."""
        together = list(requests)
        answers = PendingResults(len(together))
        self._awaited.extend((_operation(request[0]), answers) for request in together)
        self._send(b"".join(together))
        return answers

    def _fetch(self, answers: PendingResults) -> bytes:
        """Return results, joined, when they and those of all earlier requests have come."""
        while answers.missing:
            self._take_answer()
        if answers.refusal is not None:
            raise answers.refusal
        return b"".join(answers.results)

    def _ask(self, requests: Iterable[bytes]) -> bytes:
        """Send requests, and return their joined results when every request that was sent is answered."""
        answers = self._send_all(requests)
        while self._awaited:
            self._take_answer()
        return self._fetch(answers)

    def _send(self, request: bytes) -> None:
        try:
            self._link.send(request)
        except ArrayResetError:
            self._forget()
            raise

    def _take_answer(self) -> None:
        """Take the oldest request's answer; if it was refused, take all answers and raise ArrayError."""
        if not self._awaited:
            raise ArrayError("these products were asked for before the array was reset: ask again")
        refusal = self._receive_answer()
        if refusal is None:
            return
        # What was sent behind it may have relied on it. An answer that stays would meet a later request.
        while self._awaited:
            self._receive_answer()
        raise refusal

    def _receive_answer(self) -> ArrayError | None:
        """Receive the answer to the oldest request; return why the request was refused, if it was."""
        try:
            status, length = HEADER.unpack(self._link.receive(HEADER.size))
            results = self._link.receive(length)
        except ArrayResetError:
            self._forget()
            raise
        operation, answers = self._awaited.popleft()
        answers.missing -= 1
        answers.results.append(results)
        try:
            operations.check_status(status, operation)
        except ArrayError as refusal:
            answers.refusal = answers.refusal or refusal
            return refusal
        return None

    def _forget(self) -> None:
        """Forget what was asked and what was programmed: the board has lost it."""
        self._awaited.clear()
        self._readable.clear()
        self._programmed_words = 0
        self._plan = self._counted = self._images = None

    # -- the contract ---------------------------------------------------------------------------

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        self._ask([operations.configure_request(settings, positions, self.config.lanes)])
        self._counted = None

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        lanes = self.config.lanes
        self._counted = None
        self._send_all(operations.program_requests(region, cells, levels, lanes, self._buffer))

    def _program_block(self, region: Region, levels: U8) -> None:
        self._counted = None
        self._send_all(operations.block_requests(region, levels, self.config.lanes, self._buffer))

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        self._send_all(operations.load_requests(region, levels, codes, self.config.lanes))

    def _start_forward(self, region: Region, x: U8, bits: int) -> Products:
        operation = operations.forward_operation(bits)
        return self._products(operations.forward_requests(region, x, bits), operation, region, len(x))

    def _start_backward(self, region: Region, d: I8) -> Products:
        return self._products(operations.backward_requests(region, d), Operation.BACKWARD, region, len(d))

    def _products(
        self, requests: Iterable[bytes], operation: Operation, region: Region, vectors: int
    ) -> Products:
        answers = self._send_all(requests)

        def products() -> I32:
            decoded = operations.decode_products(self._fetch(answers), operation, region)
            if len(decoded) != vectors:
                raise ArrayError(
                    f"{operation.name} of {vectors} vectors must answer as many products, not {len(decoded)}"
                )
            return decoded

        return products

    def _read(self, region: Region) -> tuple[U8, I16]:
        return self._start_read(region)()

    def _start_read(self, region: Region) -> Cells:
        answers = self._send_all(operations.read_requests(region, self.config.lanes, Operation.READ))
        return lambda: operations.decode_cells(self._fetch(answers), region)

    def _read_words(self, region: Region, operation: Operation) -> bytes:
        """Return the joined results of an operation that reads a word of each cell."""
        return self._ask(operations.read_requests(region, self.config.lanes, operation))

    # -- devices that differ, relax and wear out ----------------------------------------------------

    def _age(self, region: Region, drift: I16, spread: U16) -> None:
        self._counted = None
        self._send_all([operations.age_request(region, drift, spread)])

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        self._send_all(operations.load_variation_requests(region, gains, offsets, self.config.lanes))

    def _read_variation(self, region: Region) -> tuple[I8, I8]:
        return operations.decode_variation(self._read_words(region, Operation.READ_VARIATION), region)

    def _load_endurance(self, region: Region, left: U16) -> None:
        self._send_all(operations.load_endurance_requests(region, left, self.config.lanes))

    def _read_endurance(self, region: Region) -> U16:
        return operations.decode_endurance(self._read_words(region, Operation.READ_ENDURANCE), region)

    # -- the training step ------------------------------------------------------------------------

    def _load_plan(self, plan: TrainingPlan) -> None:
        self._ask(operations.plan_requests(plan, self.settings))

    def _change_rates(self, plan: TrainingPlan) -> None:
        self._send_all([operations.rates_request(plan)])

    def _train(self, x: U8, labels: U8) -> TrainingResult:
        # The board tells what it has counted in all, so it is asked only once if it was asked before.
        before = self._counted or self._count()
        self._counted = None
        self._send_all(operations.train_requests(self.plan, x, labels))
        return operations.training_result(before, self._count(), len(x))

    def _classify(self, x: U8) -> U8:
        results = self._ask(operations.classify_requests(self.plan, x))
        return operations.decode_classes(results, self.plan, len(x))

    def _read_accumulators(self, region: Region) -> I16:
        return operations.decode_accumulators(self._read_words(region, Operation.READ_ACCUMULATORS), region)

    def _load_accumulators(self, region: Region, values: I16) -> None:
        self._send_all(operations.load_accumulator_requests(region, values, self.config.lanes))

    # -- training on images that the board keeps ---------------------------------------------------

    def kept_images(self) -> ImageSetInfo:
        """Return what the board's flash memory says of its images, whether they are whole or not.

        Raises ArrayError if the board keeps no images, or its memory does not answer.
        """
        self._check_parts(ArrayPart.IMAGES)
        return stored.decode_images(self._ask([stored.request(ImageOperation.IMAGES)]), self._link.name)

    def check_images(self) -> int:
        """Let the board read all its images; ArrayError unless it finds them whole.

        Returns on how many lines it reads its flash memory: 1, 2 or 4.
        """
        return stored.decode_lines(self._ask([stored.request(ImageOperation.CHECK_IMAGES)]))

    def _use_images(self, images: ImageSet) -> ImageSetInfo:
        name, wanted = self._link.name, images.info
        there = self.kept_images()
        if there.identity != wanted.identity or there.bits != wanted.bits:
            raise ArrayError(
                f"the board on {name} keeps other images ({there.train:,} and {there.test:,} of "
                f"{there.pixels} pixels of {there.bits} bits, {there.identity.hex()[:16]}): write those of "
                "the run with `qcloop flash BOARD --data`"
            )
        if there.train < wanted.train:
            raise ArrayError(
                f"the board on {name} keeps {there.train:,} training images, but {wanted.train:,} are needed"
            )
        self.check_images()
        return there

    def _start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        self._counted = None
        answers = self._send_all([stored.train_request(order, first, count, self._image_bytes)])

        def done() -> None:
            self._fetch(answers)

        return done

    def _start_evaluate(self, count: int) -> Number:
        answers = self._send_all([stored.evaluate_request(0, count, self._image_bytes)])
        return lambda: stored.decode_hits(self._fetch(answers), count)

    @property
    def _image_bytes(self) -> int:
        """Bytes of an image of the plan."""
        return operations.image_bytes(self.plan)

    def _start_summary(self) -> Callable[[], RunCounts]:
        answers = self._send_all([stored.request(ImageOperation.SUMMARY)])
        return lambda: stored.decode_summary(self._fetch(answers))

    def _start_checksum(self, region: Region) -> Number:
        answers = self._send_all([stored.checksum_request(region)])
        return lambda: stored.decode_checksum(self._fetch(answers))

    def _note(self, content: bytes) -> None:
        self._ask([])  # what is awaited must not be kept with the answers that follow
        self._link.hold()
        where = stored.NOTE_HEAD.pack(self._link.sent, 0)
        self._send_all([stored.request(ImageOperation.NOTE, where + content)])


def _operation(opcode: int) -> Operation | ImageOperation:
    return ImageOperation(opcode) if opcode in set(ImageOperation) else Operation(opcode)
