"""Connections of components: ports by name, streams that are lent or have registers, submodules by name."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


def drive(m: Module, sink: Any, source: Any, *names: str) -> None:
    """Connect input ports of component ``sink`` to the output ports of ``source`` with the same names."""
    m.d.comb += [getattr(sink, name).eq(getattr(source, name)) for name in names]


def lend(m: Module, sink: Any, borrower: Any, when: Any) -> None:
    """Let a second component feed a stream while ``when`` is high; another one feeds it otherwise."""
    m.d.comb += borrower.ready.eq(sink.ready)
    with m.If(when):
        m.d.comb += [sink.valid.eq(borrower.valid), sink.payload.eq(borrower.payload)]


def add_components(m: Module, owner: Any) -> None:
    """Add all components that are attributes of ``owner`` as submodules, under the attributes' names."""
    for name, component in vars(owner).items():
        if isinstance(component, wiring.Component):
            m.submodules[name] = component


class StreamStage(wiring.Component):
    """Registers in a stream: no path leads from one side to the other, neither forward nor back.

    Latency: a clock. Throughput: an item a clock. Back-pressure: on ``i``; a second item is kept while the
    first is not taken. Reset: empty. It is empty when ``o`` is not valid.

    Parameters
    ----------
    shape
        Shape of an item.
    """

    def __init__(self, shape: Any = 8) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @property
    def shape(self) -> Any:
        """Shape of an item."""
        return self._shape

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        second, kept = Signal(self._shape), Signal()
        m.d.comb += self.i.ready.eq(~kept)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | kept),
                self.o.payload.eq(Mux(kept, second, self.i.payload)),
                kept.eq(0),
            ]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [second.eq(self.i.payload), kept.eq(1)]
        return m
