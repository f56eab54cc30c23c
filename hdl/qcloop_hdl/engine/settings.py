"""The settings of the array: they are checked as they come, and kept when CONFIGURE is executed."""

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.fields import Field
from qcloop.contract.formats import TABLE_ENTRY
from qcloop.contract.operations import TABLE_START
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.seeding import SEED_BYTES
from qcloop.contract.types import SETTINGS
from qcloop.errors import ConfigError
from qcloop_hdl.engine.decoding import above
from qcloop_hdl.layouts import MAC_SETTINGS, PROGRAMMER_SETTINGS, TABLE_ENTRY_LAYOUT

_SEEDS = range(TABLE_START - 2 * SEED_BYTES, TABLE_START, SEED_BYTES)
#: Limit of the last byte of a table entry: the bits that the entry leaves over must be 0.
_ENTRY_LIMIT = Field("table", 8, limit=((1 << TABLE_ENTRY.bits) - 1) >> 8 * (TABLE_ENTRY.size - 1))


def _breaks(field: Field, byte: Any) -> Any:
    """Return a signal that is high if a byte breaks the limits of a field."""
    wrong = above(byte, field.most)
    for value in range(1 if field.zero_is_off else 0, field.least):
        wrong = wrong | (byte == value)
    return wrong


class Settings(wiring.Component):
    """Checks and keeps what CONFIGURE carries, as :data:`qcloop.contract.types.SETTINGS` lays it out.

    While the operands come, ``byte`` is the byte ``index`` of them. ``out_of_range`` says in the same clock
    whether it breaks a limit, and ``lacking`` whether it needs a part that was left out. When the operands
    are replayed with ``load``, ``operand`` is the byte ``index``, and the two bytes before it are in
    ``last_two``. A setting is kept with its last byte, bytes of the seeds are handed over, and an entry of
    the table is written at its ``entry_end``. ``restart`` empties the table.

    Reset: the settings are undefined until they are loaded.

    Parameters
    ----------
    index_bits : int
        Bits of ``index``.
    parts : ArrayPart
        The parts that there are.
    """

    def __init__(self, index_bits: int, parts: ArrayPart = STANDARD_PARTS) -> None:
        self._parts = parts
        super().__init__(
            {
                "index": In(index_bits),
                "entry_end": In(1),
                "byte": In(8),
                "out_of_range": Out(1),
                "lacking": Out(1),
                "restart": In(1),
                "load": In(1),
                "operand": In(8),
                "last_two": In(16),
                "programming": Out(PROGRAMMER_SETTINGS),
                #: The reference is kept as its complement, so that subtracting it takes no inverters.
                "multiplying": Out(MAC_SETTINGS),
                #: Strobes: ``operand`` is a byte of the seed of programming; it is one of the seed of read
                #: noise.
                "seed_programming": Out(1),
                "seed_read_noise": Out(1),
                #: Write ``table_entry`` for the level ``programming.states``.
                "table_write": Out(1),
                "table_entry": Out(TABLE_ENTRY_LAYOUT),
            }
        )

    @property
    def parts(self) -> ArrayPart:
        """The parts that there are."""
        return self._parts

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        with m.Switch(self.index):
            for offset, field in SETTINGS.byte_limits().items():
                with m.Case(offset):
                    m.d.comb += self.out_of_range.eq(_breaks(field, self.byte))
        needs = {offset: field for offset, field in SETTINGS.byte_needs().items() if self._lacks(field)}
        with m.Switch(self.index):
            for offset, field in needs.items():
                with m.Case(offset):
                    m.d.comb += self.lacking.eq(above(self.byte, field.most_without))
        with m.If(self.entry_end):
            m.d.comb += self.out_of_range.eq(_breaks(_ENTRY_LIMIT, self.byte))

        kept_products = Signal(MAC_SETTINGS)
        with m.If(self.load), m.Switch(self.index):
            for field in SETTINGS:
                with m.Case(SETTINGS.last(field.name)):
                    m.d.sync += self._register(field.name, kept_products).eq(self._value(field))
        m.d.comb += [
            self.multiplying.eq(kept_products),
            self.multiplying.reference.eq(~kept_products.reference),
        ]

        after_programming, after_seeds = above(self.index, _SEEDS[1] - 1), above(self.index, TABLE_START - 1)
        seeds = self.load & above(self.index, _SEEDS[0] - 1) & ~after_seeds
        m.d.comb += [
            self.seed_programming.eq(seeds & ~after_programming),
            self.seed_read_noise.eq(seeds & after_programming),
            self.table_write.eq(self.load & self.entry_end),
            self.table_entry.eq(Cat(self.last_two, self.operand)),
        ]
        with m.If(self.restart):
            m.d.sync += self.programming.states.eq(0)
        with m.Elif(self.table_write):
            m.d.sync += self.programming.states.eq(self.programming.states + 1)
        return m

    def _lacks(self, field: Field) -> bool:
        return field.part is not None and field.part not in self.parts

    def _register(self, name: str, products: Any) -> Any:
        """Return the register of a setting: a field of that name of one of the two structures."""
        for registers in (self.programming, products):
            if name in dict(data.Layout.cast(registers.shape())):
                return registers[name]
        raise ConfigError(f"setting {name} has no register: PROGRAMMER_SETTINGS or MAC_SETTINGS must name it")

    def _value(self, field: Field) -> Any:
        value = self.operand if field.bits == 8 else Cat(self.last_two[8:], self.operand)
        return ~value if field.name == "reference" else value
