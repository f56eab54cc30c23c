"""The decoder takes a request's opcode, length and region, and says which component goes on with it."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import MAX_STATES, MIN_STATES, TABLE_ENTRY
from qcloop.contract.operations import (
    COUNT,
    COUNTER_BYTES,
    COUNTERS,
    HEADER,
    INFO,
    NEEDED,
    PLAN_BYTES,
    RATES_BYTES,
    REGION,
    TABLE_START,
    Operation,
    Status,
)
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import (
    IMAGES,
    LOADS,
    OPERATION_BITS,
    PRODUCTS,
    REGIONS,
    REQUEST,
    WORD_BITS,
    above,
    built,
    is_one_of,
)

#: Shortest and longest operands of CONFIGURE.
_SHORTEST, _LONGEST = (TABLE_START + TABLE_ENTRY.size * states for states in (MIN_STATES, MAX_STATES))


class RemainingBytes(wiring.Component):
    """Counts the bytes of a request that are still to come, and then those of its results to be sent."""

    operation: In(OPERATION_BITS)
    #: Strobe: ``byte`` is the next byte of the length, low byte first.
    shift: In(1)
    byte: In(8)
    #: Strobes: begin to count the results, which are those of INFO or COUNTERS, or have ``results`` bytes.
    fixed: In(1)
    products: In(1)
    results: In(WORD_BITS)
    #: Strobes: count down by one byte.
    drop: In(1)
    down: In(1)
    remaining: Out(WORD_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        counters = Mux(self.operation == Operation.COUNTERS, COUNTERS * COUNTER_BYTES, self.results)
        results = Mux(self.operation == Operation.INFO, INFO.size, counters)
        length = Mux(self.shift, Cat(self.remaining[8:], self.byte), results)
        down = self.drop | self.down
        # One condition and one choice for the register take the least logic.
        with m.If(self.shift | self.fixed | self.products | down):
            m.d.sync += self.remaining.eq(Mux(down, self.remaining - 1, length))
        return m


def _ports() -> dict[str, Any]:
    return {
        "rx": In(stream.Signature(8)),
        #: The memory is being cleared; strobe: its last word is.
        "clearing": Out(1),
        "cleared": In(1),
        #: A request is awaited.
        "waiting": Out(1),
        #: The array is configured.
        "configured": In(1),
        #: Strobes: a byte of the region is there; a byte of the region or of the number of vectors
        #: is.
        "shift_region": Out(1),
        "shift_word": Out(1),
        #: Strobe: check the region, or the images; and the verdict (see ``RegionCheck``, ``ImageCheck``).
        "check": Out(1),
        "check_images": Out(1),
        "accept": In(1),
        "refuse": In(1),
        "refusal": In(Status),
        #: Strobe: the operands are refused with ``operands_refusal``; all of them are taken
        #: nevertheless.
        "operands_refused": In(1),
        "operands_refusal": In(Status),
        #: Strobe: the results will have ``results`` bytes.
        "keep_results": In(1),
        "results": In(WORD_BITS),
        #: Strobe: a byte of the operands was taken, or one of the results sent.
        "count_down": In(1),
        "request": Out(REQUEST),
        #: Strobes: what comes next, as described above.
        "fill": Out(1),
        "load": Out(1),
        "answer": Out(1),
        "load_plan": Out(1),
        "run": Out(1),
        #: There is a complete training plan.
        "planned": In(1),
        #: Strobe: the request is answered.
        "done": In(1),
    }


class Requests(Configured):
    """Takes requests one at a time, up to their operands, and keeps what other components must know of them.

    It takes the opcode, the length and, if the operation has one, the region, which is then checked
    (``check``). After that a strobe says who goes on: with ``fill`` the operands are kept and executed as a
    whole, with ``load`` they are written as they come, and with ``answer`` the answer is sent at once. Of the
    training step, ``load_plan`` hands a plan's operands over, and ``run`` images. If a request is refused,
    its operands are dropped, and it is answered with the reason in ``status``. The next request is taken
    after ``done``.

    Reset: ``clearing`` is high until ``cleared`` is; then the first request is taken.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            _ports(),
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # `take` is high when a byte of the request is taken, `number` is its index after the opcode: 0 and 1
        # are the length, 2 to 7 the region. The number of vectors follows, and has 0 and 1 again, as 3 bits
        # are enough.
        take, number = Signal(), Signal(3)
        m.submodules.count = count = RemainingBytes()
        self._count = count
        m.d.comb += take.eq(self.rx.valid & self.rx.ready)
        with m.FSM():
            with m.State("CLEAR"):
                m.d.comb += self.clearing.eq(1)
                with m.If(self.cleared):
                    m.next = "OPERATION"
            with m.State("OPERATION"):
                m.d.comb += [self.waiting.eq(1), self.rx.ready.eq(1)]
                m.d.sync += number.eq(0)
                with m.If(take):
                    known = Cat(self.rx.payload == operation for operation in Operation).any()
                    # Of operations that this engine lacks no more is kept than of others: they are refused.
                    bits = max(built(self.config, tuple(Operation))).bit_length()
                    m.d.sync += self.request.operation.eq(self.rx.payload[:bits])
                    m.d.sync += self.request.status.eq(Mux(known, Status.OK, Status.OPERATION))
                    for operation in self._lacking():
                        with m.If(self.rx.payload == operation):
                            m.d.sync += self.request.status.eq(Status.PART)
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += [self.rx.ready.eq(1), count.shift.eq(take)]
                with m.If(take & number[0]):
                    m.next = "DISPATCH"
            with m.State("DISPATCH"):
                self._dispatch(m)
            with m.State("HEADER"):
                self._take_header(m, take, number)
            with m.State("CHECK"):
                self._await_verdict(m)
            with m.State("DISCARD"):
                m.d.comb += [self.rx.ready.eq(self.request.remaining != 0), count.drop.eq(take)]
                with m.If(self.request.remaining == 0):
                    m.d.comb += self.answer.eq(1)
                    m.next = "EXECUTE"
            with m.State("EXECUTE"), m.If(self.done):
                m.next = "OPERATION"
        with m.If(take & ~self.waiting):
            m.d.sync += number.eq(number + 1)
        with m.If(self.operands_refused):
            m.d.sync += self.request.status.eq(self.operands_refusal)
        m.d.comb += [
            count.operation.eq(self.request.operation),
            count.byte.eq(self.rx.payload),
            count.products.eq(self.keep_results),
            count.results.eq(self.results),
            count.down.eq(self.count_down),
            self.request.remaining.eq(count.remaining),
        ]
        return m

    def _lacking(self) -> list[Operation]:
        """Return the operations that need a part which this engine lacks."""
        return [operation for operation, part in NEEDED.items() if not self.config.has(part)]

    def _refuse(self, m: Module, status: Any) -> None:
        m.d.sync += self.request.status.eq(status)
        m.next = "DISCARD"

    def _dispatch(self, m: Module) -> None:
        """Decide whether the region, the operands or the answer comes next."""
        with m.If(self.request.status != Status.OK):
            m.next = "DISCARD"
        with m.Elif(self.request.operation == Operation.CONFIGURE):
            with m.If(
                ~above(self.request.remaining, _SHORTEST - 1) | above(self.request.remaining, _LONGEST)
            ):
                self._refuse(m, Status.LENGTH)
            with m.Else():
                m.d.comb += self.fill.eq(1)
                m.next = "EXECUTE"
        with m.Elif(~self.configured & (self.request.operation != Operation.INFO)):
            self._refuse(m, Status.CONFIGURED)
        if self.config.has(ArrayPart.LEARNING):
            self._dispatch_learning(m)
        with m.Elif(is_one_of(self.request.operation, *built(self.config, REGIONS))):
            m.next = "HEADER"
        with m.Elif(self.request.remaining != 0):
            self._refuse(m, Status.LENGTH)
        with m.Else():
            m.d.comb += [self._count.fixed.eq(1), self.answer.eq(1)]
            m.next = "EXECUTE"

    def _dispatch_learning(self, m: Module) -> None:
        changes = self.request.operation == Operation.RATES
        with m.Elif(changes & ~self.planned):
            self._refuse(m, Status.PLAN)
        with m.Elif((self.request.operation == Operation.PLAN) | changes):
            with m.If(self.request.remaining != Mux(changes, RATES_BYTES, PLAN_BYTES)):
                self._refuse(m, Status.LENGTH)
            with m.Else():
                m.d.comb += self.load_plan.eq(1)
                m.next = "EXECUTE"
        with m.Elif(is_one_of(self.request.operation, *IMAGES)):
            m.next = "HEADER"
            with m.If(~self.planned):
                self._refuse(m, Status.PLAN)

    def _take_header(self, m: Module, take: Any, number: Any) -> None:
        """Take the region and, for products, the number of vectors; or the number of images."""
        first = HEADER["length"].bits // 8
        last = Mux(is_one_of(self.request.operation, *PRODUCTS), first + REGION.size + COUNT.size - 1 - 8, 7)
        images: Any = 0
        if self.config.has(ArrayPart.LEARNING):
            images = is_one_of(self.request.operation, *IMAGES)
            last = Mux(images, first + COUNT.size - 1, last)
        region: Any = number >= first
        # A microprogrammed learner looks for the number of images in the region.
        if self.config.microprogrammed:
            region |= images
        with m.If(self.request.remaining == 0):
            self._refuse(m, Status.LENGTH)
        with m.Else():
            m.d.comb += [
                self.rx.ready.eq(1),
                self._count.drop.eq(take),
                self.shift_word.eq(take),
                self.shift_region.eq(take & region),
            ]
            with m.If(take & (number == last)):
                m.d.comb += [self.check.eq(~images), self.check_images.eq(images)]
                m.next = "CHECK"

    def _await_verdict(self, m: Module) -> None:
        listed = self.request.operation == Operation.PROGRAM
        with m.If(self.refuse):
            self._refuse(m, self.refusal)
        with m.Elif(self.accept):
            m.next = "EXECUTE"
            with m.If(is_one_of(self.request.operation, *built(self.config, (*LOADS, Operation.AGE)))):
                m.d.comb += self.load.eq(1)
            if self.config.has(ArrayPart.LEARNING):
                with m.Elif(self.request.operation == Operation.LAYER):
                    m.d.comb += self.load_plan.eq(1)
                with m.Elif(is_one_of(self.request.operation, *IMAGES)):
                    # Classes are answered while images come; TRAIN is answered when they are trained.
                    m.d.comb += [
                        self.run.eq(1),
                        self.answer.eq(self.request.operation == Operation.CLASSIFY),
                    ]
            with m.Elif(
                (self.request.operation == Operation.PROGRAM_BLOCK) | listed & (self.request.remaining != 0)
            ):
                m.d.comb += self.fill.eq(1)
            with m.Else():
                m.d.comb += self.answer.eq(1)
