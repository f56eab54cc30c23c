"""Reads entries of a store one after the other, as a stream."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.learn.elements import element


class StoreReader(wiring.Component):
    """Reads ``count`` entries of a :class:`qcloop_hdl.learn.store.Store`, beginning with ``first``.

    Latency: the first entry is offered two clocks after ``start``, with ``registered`` three. Throughput: an
    entry a clock. Back-pressure: while an entry is offered and not taken nothing is read.

    An entry must not be written from the clock in which it is read on. While ``waits`` is high nothing is
    read. ``start`` drops what the reader was doing.

    Reset: idle.

    Parameters
    ----------
    shape
        Shape of an entry.
    depth : int
        Entries of the store.
    registered : bool
        A register stands behind the store.
    """

    def __init__(self, shape: Any, depth: int, *, registered: bool) -> None:
        self._registered = registered
        super().__init__(
            {
                "start": In(1),
                #: Index of the first entry, and number of entries, 1 or more.
                "first": In(range(depth)),
                "count": In(range(depth + 1)),
                #: The next entry cannot be read yet.
                "waits": In(1),
                #: To and from the store.
                "read": Out(1),
                "read_index": Out(range(depth)),
                "entry": In(shape),
                "o": Out(stream.Signature(element(shape))),
            }
        )

    @property
    def registered(self) -> bool:
        """Whether a register stands behind the store."""
        return self._registered

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        left = Signal.like(self.count)
        # The store holds an entry that was not handed on, and it is the last one.
        held, held_last = Signal(), Signal()
        room = Signal()
        o = self.o
        m.d.comb += self.read.eq(left.any() & ~self.waits & (~held | room))
        if self.registered:
            m.d.comb += room.eq(~o.valid | o.ready)
            with m.If(room):
                m.d.sync += [
                    o.valid.eq(held),
                    o.payload.value.eq(self.entry),
                    o.payload.last.eq(held_last),
                ]
        else:
            m.d.comb += [
                room.eq(o.ready),
                o.valid.eq(held),
                o.payload.value.eq(self.entry),
                o.payload.last.eq(held_last),
            ]
        with m.If(self.read):
            m.d.sync += [self.read_index.eq(self.read_index + 1), left.eq(left - 1)]
        with m.If(self.read | room):
            m.d.sync += [held.eq(self.read), held_last.eq(left == 1)]
        with m.If(self.start):
            m.d.sync += [self.read_index.eq(self.first), left.eq(self.count), held.eq(0)]
            if self.registered:
                m.d.sync += o.valid.eq(0)
        return m
