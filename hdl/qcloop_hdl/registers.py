"""What many blocks need: registers of memories, values of a few clocks ago, connections by name."""

from contextlib import nullcontext
from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


def read_register(shape: Any) -> Any:
    """Return a register for what a memory's read port in domain ``comb`` reads: a block RAM's own register.

    It has no value at power-up, as a block RAM's has none. Synthesis would make one up, a gate for each bit.
    """
    return Signal(shape, reset_less=True, attrs={"init": ""})


def delayed(m: Module, value: Any, clocks: int = 1, *, enable: Any = None) -> Any:
    """Return what a value was ``clocks`` clocks before; with 0 clocks, the value itself.

    With ``enable``, only the clocks in which it was high count. The registers have no reset value.
    """
    for _ in range(clocks):
        register = Signal.like(value, reset_less=True)
        with m.If(enable) if enable is not None else nullcontext():
            m.d.sync += register.eq(value)
        value = register
    return value


def drive(m: Module, sink: Any, source: Any, *names: str) -> None:
    """Connect input ports of a component to the output ports that have the same names in another one."""
    m.d.comb += [getattr(sink, name).eq(getattr(source, name)) for name in names]


def add_components(m: Module, owner: Any) -> None:
    """Make submodules of all components that are attributes of a component, by the attributes' names."""
    for name, component in vars(owner).items():
        if isinstance(component, wiring.Component):
            m.submodules[name] = component


class LastTwo(wiring.Component):
    """The last two bytes of what passes by, as a word; the later byte is the high one.

    ``rotate`` rotates the word left by a bit instead.
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
