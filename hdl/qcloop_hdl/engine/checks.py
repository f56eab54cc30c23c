"""Checks a region, and the lengths that follow from it, before anything is executed."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.operations import ACTIVATION, AGE_ENTRY, LAYER, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import TABLE_ENTRIES
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import drive
from qcloop_hdl.engine.decoding import DEVICES, LOADS, READS, REQUEST, WORD_BITS, above, built, is_one_of
from qcloop_hdl.engine.lengths import LengthMultiplier

#: Operations that write regions, and those of them that may write words for the first time.
_WRITES = (Operation.PROGRAM_BLOCK, *LOADS)
_FIRST_WRITES = (Operation.PROGRAM_BLOCK, Operation.LOAD)
#: Operand bytes of AGE behind the region.
AGE_LENGTH = AGE_ENTRY.size * MAX_STATES
#: Those of LAYER, without a table and with one.
LAYER_LENGTHS = LAYER.size, LAYER.size + ACTIVATION.size * TABLE_ENTRIES


def _ports() -> dict[str, Any]:
    return {
        "start": In(1),
        #: The request, stable while busy. ``count_bit`` is the highest bit of the number of vectors.
        #: By ``rotate_rows`` the rows must rotate left by a bit, by ``rotate_count`` the number of
        #: vectors.
        "request": In(REQUEST),
        "rows": In(WORD_BITS),
        "cols": In(WORD_BITS),
        "count_bit": In(1),
        "rotate_rows": Out(1),
        "rotate_count": Out(1),
        #: While ``asks_end`` is high, ``past_memory`` and ``past_mark`` must tell of the word that is
        #: ``product`` words behind ``base`` (see ``RegionWalk``).
        "asks_end": Out(1),
        "past_memory": In(1),
        "past_mark": In(1),
        #: The region is that of the layer that the plan awaits; it is the last layer.
        "layer_fits": In(1),
        "last_layer": In(1),
        #: Strobes: ``product`` is the number of words of the region, which is to be kept; it is the
        #: number of result bytes, which is to be kept.
        "keep_words": Out(1),
        "keep_results": Out(1),
        #: Strobes: the request is accepted; it is refused with ``refusal``.
        "accept": Out(1),
        "refuse": Out(1),
        "refusal": Out(Status),
        "product": Out(WORD_BITS),
        #: Products have three bytes instead of four; valid from ``accept`` on.
        "narrow": Out(1),
        "busy": Out(1),
    }


class RegionCheck(Configured):
    """Finds the first reason to refuse an operation on a region, if there is one.

    After ``start`` it checks that the numbers of rows and columns are allowed, that the region lies inside
    the memory, that it was programmed (or, if all of it is to be written, that no gap remains before it), and
    that the operands and the results have the lengths that follow from it. Words that are kept beside those
    of the cells need not have been programmed. The check takes at most 58 clocks, most of them for up to
    three multiplications of 16 clocks each. In the last clock either ``accept`` is high, or ``refuse``, with
    the reason in ``refusal``. ``product`` is then the number of result bytes if the operation is a product,
    and the number of words of the region if it is PROGRAM or AGE.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            _ports(),
        )
        self.lengths = LengthMultiplier(config)
        #: A word before the region was never programmed; the region ends behind the memory; a word of the
        #: region was never programmed.
        self.gap, self.beyond, self.past = Signal(), Signal(), Signal()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.lengths = lengths = self.lengths
        wiring.connect(m, wiring.flipped(self.request), lengths.request)
        drive(m, lengths, self, "rows", "cols", "count_bit")
        drive(m, self, lengths, "rotate_rows", "rotate_count", "product", "narrow")
        m.d.comb += lengths.first.eq(self.start)
        with m.FSM() as states:
            with m.State("IDLE"), m.If(self.start):
                m.next = "SIDES"
            with m.State("SIDES"):
                wrong = [(count == 0) | above(count, self.config.side) for count in (self.rows, self.cols)]
                with m.If(Cat(wrong).any()):
                    self._refuse(m, Status.REGION)
                with m.Else():
                    m.d.comb += self.lengths.start.eq(1)
                    m.next = "START"
            self._find_end(m)
            self._compare_lengths(m)
        m.d.comb += self.busy.eq(~states.ongoing("IDLE"))
        return m

    def _refuse(self, m: Module, status: Status) -> None:
        m.d.comb += [self.refuse.eq(1), self.refusal.eq(status)]
        m.next = "IDLE"

    def _accept(self, m: Module) -> None:
        m.d.comb += self.accept.eq(1)
        m.next = "IDLE"

    def _clocks(self, first: str, second: str, following: str) -> list[tuple[str, str]]:
        """Return a state and the one after it; two such pairs if what is asked for is delayed by a clock."""
        return [(first, second), (second, following)] if self.config.registered else [(first, following)]

    # -- the region in the memory ----------------------------------------------------------------

    def _find_end(self, m: Module) -> None:
        """Multiply the rows by the words of a row, and find out where the region begins and ends."""
        # In START the product is still zero: what is asked about is the region's first word.
        for state, following in self._clocks("START", "FIRST", "WORDS"):
            with m.State(state):
                m.d.comb += self.asks_end.eq(1)
                m.d.sync += self.gap.eq(self.past_mark)
                m.next = following
        for state, following in self._clocks("WORDS", "END", "REGION"):
            with m.State(state):
                m.d.comb += self.asks_end.eq(1)
                # The path through two adders to these bits is timing-critical, so they are registers.
                m.d.sync += self.beyond.eq(self.lengths.overflow | self.past_memory)
                m.d.sync += self.past.eq(self.past_mark)
                with m.If(~self.lengths.busy):
                    m.next = following
        with m.State("REGION"):
            self._check_region(m)

    def _check_region(self, m: Module) -> None:
        listed, writes, devices = (
            is_one_of(self.request.operation, *some)
            for some in ((Operation.PROGRAM,), _FIRST_WRITES, built(self.config, DEVICES))
        )
        layer = self.config.has(ArrayPart.LEARNING) & (self.request.operation == Operation.LAYER)
        # PROGRAM does not need its columns any more, so the number of words may replace them.
        m.d.comb += self.keep_words.eq(listed)
        with m.If(self.beyond):
            self._refuse(m, Status.REGION)
        with m.Elif(Mux(writes, self.gap, self.past) & ~devices):
            self._refuse(m, Status.PROGRAMMED)
            with m.If(writes):
                self._refuse(m, Status.CONTIGUOUS)
        with m.Elif(layer):
            short, long = (self.request.remaining == length for length in LAYER_LENGTHS)
            if self.config.microprogrammed:  # the learner checks it
                short = long = Const(1, 1)
            with m.If(~Mux(self.last_layer, short, long)):
                self._refuse(m, Status.LENGTH)
            with m.Elif(~self.layer_fits):
                self._refuse(m, Status.PLAN)
            with m.Else():
                self._accept(m)
        with m.Elif(self.config.has(ArrayPart.RELAXATION) & (self.request.operation == Operation.AGE)):
            with m.If(self.request.remaining != AGE_LENGTH):
                self._refuse(m, Status.LENGTH)
            with m.Else():
                self._accept(m)
        with m.Elif(~listed):
            m.d.comb += self.lengths.start.eq(1)
            m.next = "LENGTHS"
        with m.Elif(above(self.request.remaining, self.config.buffer)):
            self._refuse(m, Status.LENGTH)
        with m.Else():
            self._accept(m)

    # -- lengths ---------------------------------------------------------------------------------

    def _compare_lengths(self, m: Module) -> None:
        """Compare the length of the operands with the right one, and refuse results that are too long."""
        product, overflow = self.product, self.lengths.overflow
        reads = is_one_of(self.request.operation, *built(self.config, READS))
        too_long = (self.request.operation == Operation.PROGRAM_BLOCK) & above(product, self.config.buffer)
        differs = self.delayed(m, (product != self.request.remaining) | overflow | too_long)
        # The results must be short enough for products of four bytes, even if these have three.
        too_many = self.delayed(m, overflow | product[-2:].any() & ~reads)
        ready = ~self.lengths.busy
        known = ready & self.delayed(m, ready)
        with m.State("LENGTHS"), m.If(known):
            with m.If(Mux(reads, self.request.remaining != 0, differs)):
                self._refuse(m, Status.LENGTH)
            with m.Elif(reads):
                m.next = "RESULTS"
            with m.Elif(is_one_of(self.request.operation, *built(self.config, _WRITES))):
                self._accept(m)
            with m.Else():
                m.d.comb += self.lengths.start.eq(1)
                m.next = "RESULTS"
        with m.State("RESULTS"), m.If(known):
            m.d.comb += self.keep_results.eq(reads)
            m.next = "BYTES"
            with m.If(too_many):
                self._refuse(m, Status.LENGTH)
        with m.State("BYTES"):
            # The number of products is multiplied by 3, or doubled twice. READ kept its number of bytes
            # before.
            m.d.comb += self.lengths.again.eq(1)
            with m.If(self.narrow | self.lengths.doubled):
                self._accept(m)
