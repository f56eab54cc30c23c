"""Connections of components: their ports by name, and submodules by the names of their attributes."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring


def drive(m: Module, sink: Any, source: Any, *names: str) -> None:
    """Connect input ports of component ``sink`` to the output ports of ``source`` with the same names."""
    m.d.comb += [getattr(sink, name).eq(getattr(source, name)) for name in names]


def add_components(m: Module, owner: Any) -> None:
    """Add all components that are attributes of ``owner`` as submodules, under the attributes' names."""
    for name, component in vars(owner).items():
        if isinstance(component, wiring.Component):
            m.submodules[name] = component
