"""Connections of components: ports by name, streams that are lent, submodules by the names of attributes."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring


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
