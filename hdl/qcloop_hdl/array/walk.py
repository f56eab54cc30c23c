"""The order in which a product reads its words, and that in which it takes its vector."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.active_rows import OFFSET_BITS, ActiveRows
from qcloop_hdl.array.products import Item, Product, beside_ports, listing_ports, mac_command, vector_bits
from qcloop_hdl.array.vector_elements import Elements
from qcloop_hdl.array.word_address import WordAddress
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components


def _ports(config: EngineConfig) -> dict[str, Any]:
    word_bits = vector_bits(config)
    return {
        #: Products, taken one at a time.
        "command": In(stream.Signature(mac_command(config))),
        #: All results of the last command are out.
        "drained": In(1),
        #: All its words have been added up.
        **({"passed": In(1)} if config.pipelines_steps else {}),
        #: The stages move on.
        "advance": In(1),
        #: A word may be read: there is noise for it, or none is needed.
        "may_read": In(1),
        #: No word may be read in this clock; and others: see :func:`beside_ports`.
        **({"pause": In(1), **beside_ports(config)} if config.two_ports else {}),
        **listing_ports(config),
        #: FORWARD1 leaves out rows whose input is 0; stable while a command is in work.
        "skip": In(1),
        #: The vector; that of FORWARD1 has eight elements in a byte.
        "vector": In(stream.Signature(8)),
        #: The product in work, and from the clock after the command on whether it is a backward one.
        "product": Out(Product),
        "backward": Out(1),
        #: Rows are left out. The vector is then not written, and each element is ``item.read``.
        "skips": Out(1),
        #: ``cols % lanes``: lanes in use in the last column block, with 0 for all.
        "tail": Out(config.lane_bits),
        #: The vector is not complete. ``read_word`` is then the word before ``write_word``.
        "loading": Out(1),
        #: An element is to be written now, and where it goes. Of FORWARD1's only bit 0 counts. Where the
        #: training step is pipelined and there are registers around the memories, this holds only in clocks
        #: with ``advance``.
        "write": Out(1),
        "write_data": Out(8),
        "write_word": Out(word_bits),
        "write_select": Out(config.lane_bits),
        #: There are words left to step over.
        "more": Out(1),
        #: A word is stepped over now. The next clock's outputs are about it.
        "step": Out(1),
        #: The same where no row is skipped. Otherwise it has no meaning.
        "step_dense": Out(1),
        "item": Out(Item),
        "address": Out(config.address_bits),
        "read_word": Out(word_bits),
        "read_select": Out(config.lane_bits),
        #: A command is in work.
        "busy": Out(1),
    }


class Walk(Configured):
    """Walks over the words of a region and over the vector that goes with them.

    Forward: column by column block, and row by row in it. The first block is walked at the pace at which the
    vector comes: row i with element i. Backward: the vector comes first, then the region is walked row by
    row, and by column blocks in a row.

    FORWARD1 with ``skip`` walks over the active rows only, those whose input is 1.
    :class:`qcloop_hdl.array.active_rows.ActiveRows` finds them, and tells how many clocks that takes. Where
    the training step is pipelined it leaves out groups without active rows (:attr:`jumps`). The first word
    comes at the earliest ten clocks after the command, when the table of :class:`WordAddress` is made.

    An element of the vector is found in :class:`qcloop_hdl.array.vector_buffer.VectorBuffer` by a word and a
    select. For an element that is written they are there in the clock of the write; for the element of a
    word that is stepped over, or backward its word of elements, in the clock after the step, with the address
    of the word. All stand still unless ``advance`` is high.

    Reset: no command is in work.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        self.rows, self.elements = self.new_rows(), Elements()
        #: Groups without active rows are left out.
        self.jumps = config.has(ArrayPart.LEARNING)
        self.words = WordAddress(config.address_bits, config.row_words.bit_length(), jumps=self.jumps)
        #: Words may be read; of those of active rows, the addresses are known.
        self._may_read, self._may_jump = Signal(), Signal()
        #: Paths are shorter: the number of rows comes from a register, and writes wait for ``advance`` in one
        #: of :class:`qcloop_hdl.array.vector_buffer.VectorBuffer`.
        self._quick = self.jumps and config.registered
        self._rows: Any = self.command.payload.rows
        if self._quick:
            self._rows = Signal(config.side_bits, name="rows_registered", reset_less=True)
        #: The next word is behind the first column block.
        self._later = Signal()

    def new_rows(self) -> ActiveRows:
        """Return the walk over active rows; a proof that holds for any rows overrides this."""
        tag_bits = self.config.address_bits if self.config.has(ArrayPart.LEARNING) else 0
        return ActiveRows(self.config.side, tag_bits, wide=self.config.runs_microcode)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        accept = Signal()
        starting = Signal()
        running = Signal()
        fresh = Signal()  # the next word is the first of a sum
        blocks = Signal.like(self.words.blocks, reset_less=True)
        command, lane_bits = self.command.payload, self.config.lane_bits
        self._take_command(m, accept, starting, running)
        with m.If(starting):
            m.d.sync += [running.eq(1), self.loading.eq(1), fresh.eq(1)]
        with m.If(accept | self.list_rows if self.config.runs_microcode else accept):
            m.d.sync += blocks.eq(command.cols[lane_bits:] + self.tail.any())

        if self._quick:
            m.d.sync += self._rows.eq(command.rows)
        self._permit(m)
        self._connect_rows(m, accept, running)
        inner, wrap, done = self._count(m, accept, starting, running, blocks)
        with m.If(self.step):
            m.d.sync += fresh.eq(wrap)
            with m.If(done):
                m.d.sync += running.eq(0)
        if self.config.two_ports:
            with m.If(accept | self.step & wrap):
                m.d.sync += self._later.eq(~accept)
        self._connect_words(m, accept, blocks, fresh)
        if self.jumps:
            self._jump(m, accept, blocks, wrap)
        if self.config.runs_microcode:
            self._list(m, accept, running)
        self._register_outputs(m, inner, fresh, wrap)
        return m

    def _take_command(self, m: Module, accept: Any, starting: Any, running: Any) -> None:
        """Take a command; it is ``starting`` in the clock after that."""
        command = self.command.payload
        m.d.comb += [
            accept.eq(self.command.valid & self.command.ready),
            self.product.eq(command.product),
            self.tail.eq(command.cols[: self.config.lane_bits]),
            self.busy.eq(starting | running | ~self.drained),
            self.command.ready.eq(~self.busy),
            self.more.eq(running),
        ]
        if self.config.pipelines_steps:
            follows = command.follows & self.passed
            m.d.comb += self.command.ready.eq(~(starting | running) & (self.drained | follows))
        m.d.sync += [
            starting.eq(accept),
            # The paths from the operation through `advance` would be too long, so these are registers.
            self.backward.eq(self.product == Product.BACKWARD),
            self.skips.eq(self.skip & (self.product == Product.FORWARD1)),
        ]

    def _connect_words(self, m: Module, accept: Any, blocks: Any, fresh: Any) -> None:
        """Say which words are stepped to, one after the other."""
        rows, words = self.rows, self.words
        m.d.comb += [
            words.start.eq(accept),
            words.base.eq(self.command.payload.base),
            words.blocks.eq(blocks),
            words.step.eq(Mux(self.skips, rows.enters, self.step)),
            words.at_head.eq(Mux(self.skips, rows.opening, fresh | self.backward)),
            self.address.eq(words.address),
        ]

    def _permit(self, m: Module) -> None:
        """Tell whether words may be read. What holds a command comes from a register: the paths are long."""
        may_read, may_jump = self.may_read, self.words.ready
        if self.config.pipelines_steps:
            held, jumps = Signal(), Signal()
            m.d.sync += [
                held.eq(self.command.payload.held),
                jumps.eq(self.words.ready & ~self.command.payload.held),
            ]
            may_read, may_jump = may_read & ~held, jumps
        if self.config.two_ports:
            stops, free, opens = self.pause | self.first_block & self._later, Signal(), Signal()
            m.d.comb += [
                free.eq(~self.first_block | self.all_open),
                self.rows.free.eq(free),
                self.rows.limit.eq(self.open_words),
            ]
            m.d.sync += opens.eq(free)
            may_read, may_jump = may_read & ~stops & opens, may_jump & ~stops & self.rows.open
        m.d.comb += [self._may_read.eq(may_read), self._may_jump.eq(may_jump)]

    def _jump(self, m: Module, accept: Any, blocks: Any, wrap: Any) -> None:
        """Tell with each group how far behind the first one it is."""
        rows, words, distance = self.rows, self.words, Signal(self.config.address_bits, reset_less=True)
        m.d.comb += [
            rows.tag.eq(distance),
            words.distance.eq(rows.row.payload.group),
            words.next_block.eq(self.skips & self.step & wrap),
        ]
        with m.If(accept | (rows.bits.valid & rows.bits.ready)):
            m.d.sync += distance.eq(Mux(accept, 0, distance + (blocks << OFFSET_BITS)))

    def _list(self, m: Module, accept: Any, running: Any) -> None:
        """List active rows: the vector of the last product of bits is kept, and is walked over once more.

        What is assigned here prevails.
        """
        rows, words, vector, listed = self.rows, self.words, self.vector, self.listed
        listing, takes, bits = Signal(), Signal(), self.product == Product.FORWARD1
        m.d.comb += [
            takes.eq(listing & words.ready & (~listed.valid | listed.ready)),
            listed.payload.eq(words.address),
            self.list_ended.eq(~listing & ~listed.valid),
            rows.start.eq(accept & bits),
            rows.row.ready.eq(takes | (self.advance & running & self.skips & self._may_jump)),
            # A product with read noise reads every row, and its bits are kept beside that.
            rows.bits.valid.eq(vector.valid & running & (self.skips | bits & self.elements.bytes.ready)),
            words.start.eq(accept | self.list_rows),
            words.by_group.eq(listing | self.skips & running),
        ]
        with m.If(~(listing | self.skips)):
            m.d.comb += words.offset.eq(0)
        with m.If(listing | listed.valid):
            m.d.comb += [
                words.step.eq(rows.enters),
                words.at_head.eq(rows.opening),
                words.advance.eq(takes),
            ]
        with m.If(takes):
            m.d.sync += listed.valid.eq(rows.row.valid & rows.row.payload.active)
        with m.Elif(listed.ready):
            m.d.sync += listed.valid.eq(0)
        with m.If(self.list_rows | takes & rows.row.valid & rows.row.payload.last):
            m.d.sync += listing.eq(self.list_rows)

    def _connect_rows(self, m: Module, accept: Any, running: Any) -> None:
        rows, words, vector = self.rows, self.words, self.vector
        m.d.comb += [
            rows.start.eq(accept),
            rows.rows.eq(self._rows),
            rows.bits.valid.eq(vector.valid & running & self.skips),
            rows.bits.payload.eq(vector.payload),
            rows.row.ready.eq(self.advance & running & self._may_jump),
            words.by_group.eq(self.skips & running),
            # Without bytes there are no rows, and this is 0.
            words.offset.eq(rows.row.payload.offset),
            words.advance.eq(self.advance),
            self.elements.packed.eq((self.product == Product.FORWARD1) & ~self.skip),
            self.elements.bytes.valid.eq(vector.valid),
            self.elements.bytes.payload.eq(vector.payload),
            vector.ready.eq(Mux(self.skips, running & rows.bits.ready, self.elements.bytes.ready)),
        ]

    def _count(self, m: Module, accept: Any, starting: Any, running: Any, blocks: Any) -> tuple[Any, ...]:
        """Count rows and column blocks from 1 up, and take the vector or step over words as they allow.

        Return the inner count, whether it is the last one, and whether the outer one is, too. The inner count
        tells the element (forward) or the word of elements (backward) of the vector, written or read. Where
        rows are skipped there is no inner count, and the walk over active rows tells the last one.
        """
        length, height, inner, outer = (
            Signal(self.config.side_bits, name=name, reset_less=name in ("inner", "outer"))
            for name in ("length", "height", "inner", "outer")
        )
        lane = Signal(self.config.lane_bits, reset_less=True)
        filling, can_take, counted, wrap = Signal(), Signal(), Signal(), Signal()
        can_step, can_step_dense = Signal(), Signal()
        loading, backward, rows = self.loading, self.backward, self._rows
        element, active = self.elements.element, self.rows.row
        m.d.comb += [
            length.eq(Mux(backward, blocks, rows)),
            height.eq(Mux(backward, rows, blocks)),
            filling.eq(loading & backward),
            can_take.eq(running & (filling | self._may_read)),
            can_step_dense.eq(running & ~filling & self._may_read & (~loading | element.valid)),
            can_step.eq(Mux(self.skips, running & active.valid & self._may_jump, can_step_dense)),
            # `advance` is timing-critical: it is the last input of these gates.
            element.ready.eq(self.advance & can_take & loading & ~self.skips),
            self.step.eq(self.advance & can_step),
            self.step_dense.eq(self.advance & can_step_dense),
            counted.eq((inner == length) & (~filling | (lane == self.tail))),
            wrap.eq(Mux(self.skips, active.payload.last, counted)),
            self.elements.number.eq(inner),
            self.elements.last.eq(counted),
            self.write.eq(
                element.valid & (can_take & loading & ~self.skips if self._quick else element.ready)
            ),
            self.write_data.eq(element.payload),
            self.write_word.eq(inner),
            self.write_select.eq(Mux(backward, lane, inner >> len(self.write_word))),
        ]
        taken = self.advance & can_take & (~loading | element.valid)
        begins = starting
        if self.config.pipelines_steps:
            begins = starting | (filling & self.command.payload.again)
        # Each counter has one condition and one choice, which take a cell of logic a bit.
        with m.If(begins | (taken & (counted | ~filling | (lane == 0)))):
            m.d.sync += inner.eq(Mux(begins | counted, 1, inner + 1))
        with m.If(begins | taken):
            m.d.sync += lane.eq(Mux(begins, 1, lane + 1))
        with m.If(accept | (self.step & wrap)):
            m.d.sync += outer.eq(Mux(accept, 1, outer + 1))
        with m.If(taken & counted):
            m.d.sync += loading.eq(0)
        return inner, wrap, wrap & (outer == height)

    def _register_outputs(self, m: Module, inner: Any, fresh: Any, wrap: Any) -> None:
        word = Signal.like(self.read_word, name="word", reset_less=True)
        select = Signal.like(self.read_select, name="select", reset_less=True)
        m.d.comb += [self.read_word.eq(word), self.read_select.eq(select)]
        with m.If(self.advance):
            m.d.sync += [
                self.item.valid.eq(self.step),
                self.item.first.eq(self.step & fresh),
                self.item.last.eq(self.step & wrap),
                self.item.read.eq(self.step & (~self.skips | self.rows.row.payload.active)),
                word.eq(inner),
                select.eq(inner >> len(word)),
            ]
