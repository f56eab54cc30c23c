"""The order in which a product reads its words, and the command that asks for one."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.active_rows import GROUP, OFFSET_BITS, ActiveRows
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components
from qcloop_hdl.registers import read_register


class Product(enum.Enum, shape=2):
    """Products of :class:`qcloop_hdl.array.mac.Mac`."""

    #: Inputs 0 and 1, eight to a byte.
    FORWARD1 = 0
    #: Inputs 0 to 255; the ADC shifts by 8 more.
    FORWARD8 = 1
    #: Signed vectors along the columns.
    BACKWARD = 2


def mac_command(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a command: a product, and a region that is inside the array.

    A command is not copied: its payload must stay until its last result is out. With the part ``learning``
    there are three bits more:

    - While ``held`` is high no word is read, though the bits of FORWARD1 are taken. It may fall at any time.
    - A clock with ``again`` lets the vector of BACKWARD begin anew; that is possible up to its last byte.
    - A command that ``follows`` is taken while results of a forward product before it are still on their way,
      as soon as the words of that one have been added up. Its vector must end behind these results.
    """
    fields = {
        "product": Product,
        "base": config.address_bits,
        "rows": config.side_bits,
        "cols": config.side_bits,
    }
    learning = {"held": 1, "again": 1, "follows": 1} if config.pipelines_steps else {}
    return data.StructLayout(fields | learning)


def vector_bits(config: EngineConfig) -> int:
    """Return the bits of a word's address in the vector buffer."""
    return max(1, (config.row_words - 1).bit_length())


def beside_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports with which a product of bits is made while cells of its region are still written."""
    return {
        #: Read no word behind the first column block, and of that one only what the others allow.
        "first_block": In(1),
        #: A group of eight rows may be read if it begins at most so many words behind the region's first.
        #: With ``all_open`` all of them may, and in a product with read noise none is read before.
        "open_words": In(signed(config.address_bits + 2)),
        "all_open": In(1),
    }


def listing_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that tell where the active rows of a product of bits begin, without reading them."""
    if not config.lists_rows:
        return {}
    return {
        #: Strobe: list the active rows of the last product of bits, whose region the command describes again.
        #: No command is in work, or comes before the end.
        "list_rows": In(1),
        #: First words of the rows; and all of them were taken.
        "listed": Out(stream.Signature(config.address_bits)),
        "list_ended": Out(1),
    }


class Item(data.Struct):
    """What goes along with a word through the stages."""

    #: There is a word. The others are low without one.
    valid: 1
    #: The first word of a sum, or forward of as many sums as there are lanes.
    first: 1
    #: The last word of it.
    last: 1
    #: The word is read. A sum that ends with rows that are not active ends with a word that is not read, and
    #: whose products are 0.
    read: 1


class WordAddress(wiring.Component):
    """Steps through the addresses of a region: down a column block, or word after word.

    With ``by_group`` a step goes eight rows down, and ``offset`` tells the row of those eight. Its distance
    from the first is looked up in a table, so that a row takes a clock wherever it is, and no multiplier. The
    table of the eight distances is made in the first eight clocks with ``by_group`` after ``start``, by the
    adder of the address; ``ready`` is low until then.

    With ``jumps`` a step by group goes to the group that is ``distance`` behind the first one, in the column
    block that ``next_block`` counts.

    Latency: the address of a word is there in the clock after its step. Reset: undefined.

    Parameters
    ----------
    address_bits : int
        Bits of an address.
    block_bits : int
        Bits of a count of column blocks.
    jumps : bool
        Groups may be left out.
    """

    def __init__(self, address_bits: int, block_bits: int, *, jumps: bool = False) -> None:
        self._jumps = jumps
        super().__init__(
            {
                #: Begin a region at ``base``.
                "start": In(1),
                "base": In(address_bits),
                #: Column blocks of the region: words from a row to the next.
                "blocks": In(block_bits),
                #: Step to a word: with ``at_head`` to the word behind the last one that was stepped to so,
                #: or the region's first; otherwise to the one a row below.
                "step": In(1),
                "at_head": In(1),
                #: Steps are of eight rows; low until the clock after ``start``.
                "by_group": In(1),
                #: Row of the eight; 0 without ``by_group``.
                "offset": In(OFFSET_BITS),
                #: Words from the first group to the one that is stepped to; the next step by group is in the
                #: next column block. Both only with ``jumps``.
                "distance": In(address_bits),
                "next_block": In(1),
                #: Take the offset. The address stands still unless this is high.
                "advance": In(1),
                #: Offsets can be used.
                "ready": Out(1),
                "address": Out(address_bits),
            }
        )

    @property
    def jumps(self) -> bool:
        """Whether groups may be left out."""
        return self._jumps

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        address = Signal.like(self.address, reset_less=True)
        head = Signal.like(self.address, reset_less=True)
        entries = Signal(OFFSET_BITS + 1)  # of the table
        fill = self.by_group & ~self.ready
        m.d.comb += self.ready.eq(entries[-1])
        to_head = next_head = self.step & self.at_head
        following = address + Mux(self.ready, self.blocks << OFFSET_BITS, self.blocks)
        if self.jumps:
            to_head = self.step & self.at_head & ~self.by_group
            next_head = to_head | self.next_block
            following = Mux(self.ready, head + self.distance, address + self.blocks)
        with m.If(self.start | next_head):
            m.d.sync += head.eq(Mux(self.start, self.base, head + 1))
        with m.If(self.step | fill):
            m.d.sync += address.eq(Mux(to_head, head, following))
        with m.If(fill):
            m.d.sync += entries.eq(entries + 1)
        with m.If(self.start):
            m.d.sync += [address.eq(0), entries.eq(0)]
        m.d.comb += self.address.eq(address + self._distance(m, fill, entries, address))
        return m

    def _distance(self, m: Module, fill: Any, entries: Any, address: Any) -> Any:
        """Return how far behind the first of its eight rows the row is."""
        bits = min(len(self.address), len(self.blocks) + OFFSET_BITS)
        m.submodules.table = table = Memory(shape=bits, depth=GROUP, init=[])
        write, read = table.write_port(), table.read_port(domain="comb")
        distance = read_register(bits)
        m.d.comb += [
            write.addr.eq(entries),
            write.data.eq(address),
            write.en.eq(fill),
            # While the table is made no offset is used. The address is another one than that of the entry
            # which is written: so synthesis sees that none is read while it is written.
            read.addr.eq(Cat(Mux(fill, ~entries[0], self.offset[0]), self.offset[1:])),
        ]
        with m.If(self.advance):
            m.d.sync += distance.eq(read.data)
        return distance


class Elements(wiring.Component):
    """Takes the elements of a vector out of bytes: a byte each, or with ``packed`` eight bits, lowest first.

    Of an element of one bit only bit 0 counts. The bits behind the vector's ``last`` element are dropped.

    Latency: none; it has no register.
    """

    packed: In(1)
    #: Number of the element, counted from 1, of which with ``packed`` the lowest three bits are needed.
    number: In(OFFSET_BITS)
    #: The element is the last of the vector.
    last: In(1)
    bytes: In(stream.Signature(8))
    element: Out(stream.Signature(8))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        byte, element = self.bytes.payload, self.element
        bit = byte.rotate_left(1).bit_select(self.number, 1)
        m.d.comb += [
            element.valid.eq(self.bytes.valid),
            element.payload.eq(Cat(Mux(self.packed, bit, byte[0]), byte[1:])),
            self.bytes.ready.eq(element.ready & (~self.packed | self.last | (self.number == 0))),
        ]
        return m


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
        #: An element is to be written now, and where it goes. Of FORWARD1's only bit 0 counts. With the part
        #: ``learning``, and registers around the memories, it counts in clocks with ``advance``.
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

    FORWARD1 with ``skip`` walks over the active rows only, those whose input is 1. They are found by
    :class:`qcloop_hdl.array.active_rows.ActiveRows`, which tells how many clocks that takes, in a build with
    the part ``learning`` without the groups that have none; and the first
    word comes at the earliest ten clocks after the command, when the table of :class:`WordAddress` is made.

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
        #: Paths are shorter: rows come from a register, and a register that ``advance`` moves takes writes.
        self._quick = self.jumps and config.registered
        self._rows: Any = self.command.payload.rows
        if self._quick:
            self._rows = Signal(config.side_bits, name="rows_registered", reset_less=True)
        #: The next word is behind the first column block.
        self._later = Signal()

    def new_rows(self) -> ActiveRows:
        """Return the walk over active rows; a proof that holds for any rows overrides this."""
        tag_bits = self.config.address_bits if self.config.has(ArrayPart.LEARNING) else 0
        return ActiveRows(self.config.side, tag_bits, wide=self.config.lists_rows)

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
        m.d.comb += [
            accept.eq(self.command.valid & self.command.ready),
            self.product.eq(command.product),
            self.tail.eq(command.cols[:lane_bits]),
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
        with m.If(starting):
            m.d.sync += [running.eq(1), self.loading.eq(1), fresh.eq(1)]
        with m.If(accept | self.list_rows if self.config.lists_rows else accept):
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
        rows, words = self.rows, self.words
        m.d.comb += [
            words.start.eq(accept),
            words.base.eq(command.base),
            words.blocks.eq(blocks),
            words.step.eq(Mux(self.skips, rows.enters, self.step)),
            words.at_head.eq(Mux(self.skips, rows.opening, fresh | self.backward)),
            self.address.eq(words.address),
        ]
        if self.jumps:
            self._jump(m, accept, blocks, wrap)
        if self.config.lists_rows:
            self._list(m, accept, running)
        self._register_outputs(m, inner, fresh, wrap)
        return m

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
