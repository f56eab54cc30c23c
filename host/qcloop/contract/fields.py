"""Layouts of what host and board exchange: the name, width, offset and limits of each field, stated once.

The encoder and the decoder on the host, the gateware and the tests of the documentation all read them. To add
a field, add a row to its layout.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError

_CODES = {8: "B", 16: "H", 32: "I"}


@dataclass(frozen=True)
class Field:
    """An unsigned integer of so many bits. Raises ConfigError if its limits do not fit into them."""

    name: str
    bits: int
    #: Smallest value.
    least: int = 0
    #: Largest value; with None, the largest that the bits hold.
    limit: int | None = None
    #: 0 is allowed even if ``least`` is larger, and switches off what the field sets.
    zero_is_off: bool = False
    #: The part that values above ``most_without`` need; with None, no value needs one.
    part: ArrayPart | None = None
    most_without: int = 0

    def __post_init__(self) -> None:
        if self.bits < 1 or not 0 <= self.least <= self.most < 1 << self.bits:
            raise ConfigError(
                f"field {self.name} must have limits within its {self.bits} bits, not "
                f"{self.least}..{self.most}"
            )

    @property
    def most(self) -> int:
        """Largest value."""
        return (1 << self.bits) - 1 if self.limit is None else self.limit

    def holds(self, value: int) -> bool:
        """Return whether a value is within the limits."""
        return self.least <= value <= self.most or (value == 0 and self.zero_is_off)

    def needs(self, value: int) -> ArrayPart:
        """Return the part that a value needs; none is ``ArrayPart(0)``."""
        return ArrayPart(0) if self.part is None or value <= self.most_without else self.part


class Layout:
    """Fields that follow one another without gaps, the first in the lowest bits; bytes are little-endian.

    Parameters
    ----------
    *fields : Field
        The fields, in order. ConfigError if two of them have the same name.
    """

    def __init__(self, *fields: Field) -> None:
        self._fields = {field.name: field for field in fields}
        if len(self._fields) != len(fields):
            raise ConfigError(f"fields must have different names, not {[field.name for field in fields]}")
        ends = list(accumulate(field.bits for field in fields))
        self._shifts = dict(zip(self._fields, [0, *ends], strict=False))
        #: Bits of all fields.
        self.bits = ends[-1]
        #: Bytes that hold the fields; the bits left over are 0.
        self.size = -(-self.bits // 8)

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields.values())

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    def shift(self, name: str) -> int:
        """Return the lowest bit of a field."""
        return self._shifts[name]

    def join(self, **values: Any) -> Any:
        """Return the integer that holds a value for each field; arrays of unsigned integers work as well."""
        if values.keys() != self._fields.keys():
            raise KeyError(f"values are needed for {list(self._fields)}, not for {list(values)}")
        joined: Any = 0
        for name, value in values.items():
            joined = joined | value << self._shifts[name]
        return joined

    def extract(self, name: str, joined: Any) -> Any:
        """Return the value of a field in an integer that :meth:`join` made, or in an array of them."""
        return joined >> self._shifts[name] & (1 << self._fields[name].bits) - 1


class ByteLayout(Layout):
    """A layout whose fields are whole bytes: integers of 8, 16 or 32 bits, byte strings of other sizes."""

    def __init__(self, *fields: Field) -> None:
        super().__init__(*fields)
        if odd := [field.name for field in fields if field.bits % 8]:
            raise ConfigError(f"fields must be whole bytes, but {', '.join(odd)} are not")
        self._struct = struct.Struct("<" + "".join(_CODES.get(f.bits, f"{f.bits // 8}s") for f in fields))

    def offset(self, name: str) -> int:
        """Return the first byte of a field."""
        return self.shift(name) // 8

    def last(self, name: str) -> int:
        """Return the last byte of a field."""
        return self.offset(name) + self[name].bits // 8 - 1

    def pack(self, *values: int | bytes) -> bytes:
        """Return the bytes of values, one for each field, in the order of the fields."""
        return self._struct.pack(*values)

    def pack_named(self, **values: int | bytes) -> bytes:
        """Return the bytes of a value for each field; KeyError unless exactly these are given."""
        if values.keys() != self._fields.keys():
            raise KeyError(f"values are needed for {list(self._fields)}, not for {list(values)}")
        return self._struct.pack(*(values[name] for name in self._fields))

    def unpack(self, content: bytes, start: int = 0) -> tuple[Any, ...]:
        """Return the values of the fields, in their order, from the bytes that begin at ``start``."""
        return self._struct.unpack_from(content, start)

    def byte_limits(self) -> dict[int, Field]:
        """Return limits for single bytes, by offset: all fields are within their limits if these bytes are.

        The gateware checks each byte when it comes, so the high byte of a field of several bytes must decide
        alone. The limits of such a field must therefore be 0 and a multiple of ``2^(bits - 8)`` less one;
        ConfigError is raised if they are not.
        """
        found = {}
        for field in self:
            unit = 1 << (field.bits - 8)
            if (field.least, field.most) == (0, (1 << field.bits) - 1):
                continue
            if unit > 1 and (field.least or (field.most + 1) % unit):
                raise ConfigError(
                    f"field {field.name} is checked by its high byte: its limits must be 0 and a multiple of "
                    f"{unit} less one, not {field.least} and {field.most}"
                )
            found[self.last(field.name)] = Field(
                field.name, 8, field.least, field.most // unit, field.zero_is_off
            )
        return found

    def byte_needs(self) -> dict[int, Field]:
        """Return the parts that single bytes need, by offset, as fields of 8 bits.

        If a field has several bytes, all values but 0 must need its part, so that each byte decides alone;
        ConfigError is raised if they do not.
        """
        found = {}
        for field in self:
            if field.part is None:
                continue
            if field.bits > 8 and field.most_without:
                raise ConfigError(
                    f"field {field.name} has several bytes: all its values but 0 must need a part, not those "
                    f"above {field.most_without}"
                )
            for offset in range(self.offset(field.name), self.last(field.name) + 1):
                found[offset] = Field(field.name, 8, part=field.part, most_without=field.most_without)
        return found
