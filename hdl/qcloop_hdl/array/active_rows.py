"""The walk over active rows, which are the ones of a vector of bits: they are found eight bits at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.errors import ConfigError
from qcloop_hdl.registers import read_register

#: Rows of a group: their bits are one byte of the vector.
GROUP = 8
#: Bits of a row's offset in its group.
OFFSET_BITS = (GROUP - 1).bit_length()


@dataclass(frozen=True)
class WalkRow:
    """What :class:`ActiveRows` gives: a row, or the end of a walk that has no active row any more."""

    #: Index of the row; without meaning at an end that is no active row.
    index: int
    #: The row's bit is 1.
    active: bool
    #: The walk ends here.
    last: bool


def active_rows(bits: bytes, rows: int, *, tagged: bool = False) -> Iterator[WalkRow]:
    """Yield what a walk over a vector of ``rows`` bits gives: the twin of :class:`ActiveRows`."""
    found = [row for row in range(rows) if bits[row // GROUP] >> row % GROUP & 1]
    # The last group has an active row, or is not kept.
    ends = bool(found) and (tagged or found[-1] // GROUP == (rows - 1) // GROUP)
    for row in found:
        yield WalkRow(row, active=True, last=ends and row == found[-1])
    if not ends:
        yield WalkRow(0, active=False, last=True)


def walk_clocks(bits: bytes, rows: int, *, tagged: bool = False) -> int:
    """Return the clocks of a walk that never waits: one for each group, one for each further row of it."""
    active = [row.index for row in active_rows(bits, rows) if row.active]
    if tagged:
        return max(len(active), 1)
    return -(-rows // GROUP) + len(active) - len({row // GROUP for row in active})


def group_bits(side: int) -> int:
    """Return the bits of a group's number."""
    return max(1, ((side - 1) // GROUP).bit_length())


def row_layout(side: int, tag_bits: int = 0) -> data.StructLayout:
    """Return the layout of a row of :class:`ActiveRows`."""
    return data.StructLayout(
        {
            "offset": OFFSET_BITS,
            "group": tag_bits or group_bits(side),
            "active": 1,
            "last": 1,
        }
    )


class ActiveRows(wiring.Component):
    """Keeps a vector of bits, and gives the rows whose bit is 1, in order, in as many walks as are wanted.

    ``start`` begins a new vector of ``rows`` bits. They come on ``bits``, eight to a byte, the first row in
    the lowest bit; the bits behind the last row may have any value. The first walk goes along with the bytes
    as they come. Walk follows upon walk, until the next ``start``.

    A walk gives each active row once. Its last item has ``last``. If the last group has no active row to
    carry ``last``, an item follows that is not ``active``, and is no row: so every walk has a last item.

    With ``tag_bits`` only groups that have an active row are kept, each with a tag that comes with its byte;
    ``group`` is then the tag. A group without active rows takes no clock, and the last item is an active row,
    unless the vector has none. ``open`` says whether the group in which the walk is may be given yet: all may
    while ``free`` is high, and otherwise those whose tag is at most ``limit``. It is told a clock later, and
    whoever takes rows must heed it.

    Latency: a byte's first row is offered three clocks after its transfer. Throughput: a clock for each
    active row, and a clock for each group of eight rows that has none. While a byte comes each clock, the
    walk may wait a clock at each second of them. With ``tag_bits`` a byte's rows are offered when the next
    byte that is kept has come, or the last one.

    Back-pressure: the walk stands still while ``row.ready`` is low. Bytes are taken nevertheless.

    Reset: no vector is kept, and no byte is taken before ``start``.

    Parameters
    ----------
    side : int
        Largest number of rows.
    tag_bits : int
        Bits of a tag, or 0.
    wide : bool
        Keep bytes with their tags in memories of 16 bits, as few as possible, and not of a byte.
    """

    def __init__(self, side: int, tag_bits: int = 0, *, wide: bool = False) -> None:
        if side < 1:
            raise ConfigError(f"a walk has 1 row or more, not {side}")
        self._side, self._tag_bits, self._wide = side, tag_bits, wide
        super().__init__(
            {
                #: Tag of the byte on ``bits``.
                "tag": In(tag_bits),
                #: Begin a new vector.
                "start": In(1),
                #: Rows of the vector, 1 to ``side``; stable.
                "rows": In(range(side + 1)),
                #: The vector.
                "bits": In(stream.Signature(8)),
                #: Active rows. The index of a row is ``8 * group + offset``.
                "row": Out(stream.Signature(row_layout(side, tag_bits))),
                #: The walk is in a group for the first clock, whether it has an active row or not: for those
                #: that keep an address of the group.
                "enters": Out(1),
                #: The group is the first of the walk.
                "opening": Out(1),
                **({"free": In(1), "limit": In(signed(tag_bits + 2)), "open": Out(1)} if tag_bits else {}),
            }
        )

    @property
    def side(self) -> int:
        """Largest number of rows."""
        return self._side

    @property
    def tag_bits(self) -> int:
        """Bits of a tag, or 0."""
        return self._tag_bits

    @property
    def wide(self) -> bool:
        """Whether tags are kept in memories of 16 bits."""
        return self._wide

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        row = self.row.payload
        here = Signal()  # the walk is in a group
        fresh = Signal()  # nothing was given of the group
        final = Signal()  # the group is the last one
        rest = Signal(GROUP)  # the group's rows that are still to be given
        lower = Cat(rest[:number].any() for number in range(GROUP))  # for each row, whether one is before it
        leaving = Signal()
        take = Signal()
        first, single = rest & ~lower, ~(rest & lower).any()
        keep = self._keep_tagged if self.tag_bits else self._keep_groups
        byte, byte_final, tag = keep(m, ~here | leaving, take)
        m.d.comb += [
            *(
                row.offset[bit].eq(Cat(first[n] for n in range(GROUP) if n >> bit & 1).any())
                for bit in range(OFFSET_BITS)
            ),
            row.active.eq(rest.any()),
            row.last.eq(final & single),
            self.row.valid.eq(here & (rest.any() | final)),
            self.enters.eq(here & fresh & self.row.ready),
            leaving.eq(here & self.row.ready & single),
        ]
        with m.If(self.start | take | self.row.ready):
            m.d.sync += rest.eq(Mux(take, byte, rest & lower))
        with m.If(take):
            m.d.sync += [here.eq(1), fresh.eq(1), final.eq(byte_final)]
        with m.Elif(self.row.ready):
            m.d.sync += fresh.eq(0)
            with m.If(leaving):
                m.d.sync += here.eq(0)
        with m.If(leaving):
            m.d.sync += self.opening.eq(final)
            if not self.tag_bits:
                m.d.sync += row.group.eq(Mux(final, 0, row.group + 1))
        with m.If(self.start):
            m.d.sync += [here.eq(0), rest.eq(0), self.opening.eq(1), row.group.eq(0)]
        if self.tag_bits:
            with m.If(take):
                m.d.sync += row.group.eq(tag)
        return m

    def _keep_tagged(self, m: Module, room: Value, take: Value) -> tuple[Value, Value, Value]:
        """Keep the groups that have an active row; otherwise like :meth:`_keep_groups`."""
        groups = -(-self.side // GROUP)
        entry = data.StructLayout({"byte": GROUP, "tag": self.tag_bits})
        # Bytes that came, groups that were kept, and the one that is read next.
        came, count, number = Signal(range(groups)), Signal(range(groups + 1)), Signal(range(groups))
        loading, fetch, fetched, final = Signal(), Signal(), Signal(), Signal()
        last, ends, none = Signal(), Signal(), Signal()
        written, read, writes = Signal(entry), Signal(entry), Signal()
        kept = read_register(entry)
        tail, taken = self.rows[:OFFSET_BITS], Signal()
        # Bits behind the last row are not active.
        behind = Cat(last & (tail != 0) & (tail <= n) for n in range(GROUP))
        m.d.comb += [
            self.bits.ready.eq(loading),
            taken.eq(loading & self.bits.valid),
            last.eq(came + 1 == self.rows[OFFSET_BITS:] + (tail != 0)),
            written.byte.eq(self.bits.payload & ~behind),
            written.tag.eq(self.tag),
            writes.eq(taken & written.byte.any()),
            take.eq(room & fetched),
            # It is the last one that is kept; while bytes come, another one may follow.
            ends.eq(number + 1 >= count),
            # Nothing is read in a clock with a write: so synthesis builds nothing for a read of what is
            # written.
            fetch.eq((~fetched | take) & ~(loading & ends) & ~writes),
        ]
        self._connect_memories(m, written, writes, count, read, number)
        with m.If(taken):
            m.d.sync += [came.eq(came + 1), loading.eq(~last)]
        with m.If(writes):
            m.d.sync += count.eq(count + 1)
        with m.If(fetch):
            m.d.sync += [kept.eq(read), final.eq(ends), number.eq(Mux(ends, 0, number + 1))]
        with m.If(fetch | take):
            m.d.sync += fetched.eq(fetch)
        with m.If(self.start):
            m.d.sync += [came.eq(0), count.eq(0), number.eq(0), loading.eq(1), fetched.eq(0)]
        m.d.comb += none.eq(count == 0)
        # Whether the group is left comes late in a clock, so both groups are compared.
        following, here = kept.tag <= self.limit, self.row.payload.group <= self.limit
        m.d.sync += self.open.eq(self.free | Mux(take, following, here))
        return Mux(none, 0, kept.byte), final, kept.tag

    def _connect_memories(
        self, m: Module, written: Any, writes: Value, count: Value, read: Any, number: Value
    ) -> None:
        """Keep entries in memories of a byte, for which an ECP5 takes LUTs, and no block RAM; or ``wide``."""
        bits = 16 if self.wide else 8
        for first in range(0, len(written.as_value()), bits):
            part = slice(first, first + bits)
            written_part, read_part = written.as_value()[part], read.as_value()[part]
            memory = Memory(shape=len(read_part), depth=1 << group_bits(self.side), init=[])
            m.submodules[f"memory{first // bits}"] = memory
            write_port, read_port = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write_port.addr.eq(count),
                write_port.data.eq(written_part),
                write_port.en.eq(writes),
                read_port.addr.eq(number),
                read_part.eq(read_port.data),
            ]

    def _keep_groups(self, m: Module, room: Value, take: Value) -> tuple[Value, Value, Value]:
        """Keep the vector, and ``take`` a group when there is ``room``.

        Return it, whether it is the last, and nothing.

        The memory is read one group ahead. Bytes come at their own pace, so that ``bits.ready`` does not
        depend on ``row.ready``, which is timing-critical.
        """
        depth = 1 << len(self.row.payload.group)
        # Numbers of the group that comes next and of the group that is read next. They count from 1 if the
        # last group is full, and else from 0: so the last one has the number ``rows // 8`` in either case.
        written = Signal(range(-(-self.side // GROUP) + 1))
        number = Signal.like(written)
        full, last = ~self.rows[:OFFSET_BITS].any(), self.rows[OFFSET_BITS:]
        loading = Signal()
        fetch = Signal()
        fetched = Signal()
        fetched_final = Signal()
        m.submodules.memory = memory = Memory(shape=GROUP, depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        kept = read_register(GROUP)
        m.d.comb += [
            self.bits.ready.eq(loading),
            write.addr.eq(written),
            write.data.eq(self.bits.payload),
            write.en.eq(loading & self.bits.valid),
            take.eq(room & fetched),
            # A group is read that was written, and in a clock with a write only one whose lowest bit is
            # another one: so synthesis sees that no byte is read while it is written, and builds nothing for
            # that.
            fetch.eq(
                (~fetched | take) & (~loading | (number != written)) & (~write.en | (number[0] != written[0]))
            ),
            read.addr.eq(Cat(Mux(write.en, ~written[0], number[0]), number[1:])),
        ]
        with m.If(write.en):
            m.d.sync += [written.eq(written + 1), loading.eq(written != last)]
        with m.If(fetch):
            m.d.sync += [kept.eq(read.data), fetched_final.eq(number == last)]
        with m.If(fetch | take):
            m.d.sync += fetched.eq(fetch)
        with m.If(self.start | fetch):
            m.d.sync += number.eq(Mux(self.start | (number == last), full, number + 1))
        with m.If(self.start):
            m.d.sync += [written.eq(full), loading.eq(1), fetched.eq(0)]
        # Bits behind the last row are cleared before the walk sees them: in the walk that would be
        # timing-critical.
        behind = Cat(fetched_final & ~full & (self.rows[:OFFSET_BITS] <= n) for n in range(GROUP))
        return kept & ~behind, fetched_final, Const(0, 0)
