"""What many components need: registers of memories, delayed values, connections by name."""

from contextlib import nullcontext
from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


def read_register(shape: Any) -> Any:
    """Return a register for what a memory's read port in domain ``comb`` reads.

    Synthesis maps it to the register inside a block RAM. That one has no value at power-up, so this one
    has none either: otherwise synthesis would add a gate for each bit to make one up.
    """
    return Signal(shape, reset_less=True, attrs={"init": ""})


def delayed(m: Module, value: Any, clocks: int = 1, *, enable: Any = None) -> Any:
    """Return a value, delayed by ``clocks`` clocks; with 0 clocks, this is the value itself.

    With ``enable``, only clocks in which it is high are counted. The registers have no reset value.
    """
    for _ in range(clocks):
        register = Signal.like(value, reset_less=True)
        with m.If(enable) if enable is not None else nullcontext():
            m.d.sync += register.eq(value)
        value = register
    return value


def drive(m: Module, sink: Any, source: Any, *names: str) -> None:
    """Connect input ports of component ``sink`` to the output ports of ``source`` with the same names."""
    m.d.comb += [getattr(sink, name).eq(getattr(source, name)) for name in names]


def add_components(m: Module, owner: Any) -> None:
    """Add all components that are attributes of ``owner`` as submodules, under the attributes' names."""
    for name, component in vars(owner).items():
        if isinstance(component, wiring.Component):
            m.submodules[name] = component


class LastTwo(wiring.Component):
    """Holds the last two bytes that were shifted in, as 16 bits; the later byte is the high one.

    ``rotate`` rotates these bits left by one instead.
    """

    shift: In(1)
    byte: In(8)
    rotate: In(1)
    word: Out(16)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        with m.If(self.shift | self.rotate):
            m.d.sync += self.word.eq(
                Mux(self.rotate, self.word.rotate_left(1), Cat(self.word[8:], self.byte))
            )
        return m
