"""Registers that many components need: those of memories, and those that delay a value."""

from contextlib import nullcontext
from typing import Any

from amaranth import Module, Signal


def read_register(shape: Any) -> Any:
    """Return a register for what a memory's read port in domain ``comb`` reads.

    Synthesis maps it to the register inside a block RAM. That one has no value at power-up, so this one
    has none either: otherwise synthesis would add a gate for each bit to make one up.
    """
    return Signal(shape, reset_less=True, attrs={"init": ""})


def memory_style(lut_memory: bool) -> dict[str, str]:
    """Return the attributes of a memory: of one that is LUT memory, or of one that synthesis may choose."""
    return {"ram_style": "distributed"} if lut_memory else {}


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
