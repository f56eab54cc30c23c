"""Layouts of words that components exchange; they follow from the tables of fields of the contract."""

from amaranth.lib.data import StructLayout

from qcloop.contract.fields import Layout
from qcloop.contract.formats import CELL, LEVEL_BITS, TABLE_ENTRY
from qcloop.contract.types import SETTINGS


def layout_of(fields: Layout) -> StructLayout:
    """Return the layout of a word, field by field."""
    return StructLayout({field.name: field.bits for field in fields})


def _settings(*names: str) -> dict[str, int]:
    """Return the bits of settings: as many as their largest values have."""
    return {name: SETTINGS[name].most.bit_length() for name in names}


#: A cell as the memory holds it: its code and its level.
CELL_LAYOUT = layout_of(CELL)
#: Mean code and spread of a level.
TABLE_ENTRY_LAYOUT = layout_of(TABLE_ENTRY)
#: The settings that act on programming, and the number of states; stable while the programmer is busy.
PROGRAMMER_SETTINGS = StructLayout(_settings("policy", "tolerance", "tries") | {"states": LEVEL_BITS + 1})
#: The settings that act on products; stable while a product is in work. A read spread of 0 is no read noise,
#: and 0 bits of the ADC are no ADC.
MAC_SETTINGS = StructLayout(_settings("reference", "read_spread", "adc_bits", "adc_shift"))
