"""Number formats of the array contract, for host and gateware alike."""

from qcloop.contract.fields import Field, Layout

#: Level: unsigned; rises with conductance, level 0 is the lowest state.
LEVEL_BITS = 6
LEVEL_MAX = (1 << LEVEL_BITS) - 1
#: Conductance code: unsigned; one LSB is the profile's ``lsb``, 1/32 G0 for the built-in devices.
CODE_BITS = 10
CODE_MAX = (1 << CODE_BITS) - 1
#: Spread of a level, one standard deviation: unsigned, the low 4 bits are fractions of a code.
SPREAD_BITS = 12
SPREAD_FRACTION_BITS = 4
SPREAD_MAX = (1 << SPREAD_BITS) - 1
#: Smallest and largest number of conductance states.
MIN_STATES, MAX_STATES = 2, 1 << LEVEL_BITS

#: A cell as the memory holds it, in 16 bits.
CELL = Layout(Field("code", CODE_BITS), Field("level", LEVEL_BITS))
CELL_BITS = CELL.bits
#: How a cell deviates from the tables of its levels, both signed: its gain in 1/256, its offset in codes.
DEVIATION = Layout(Field("gain", 8), Field("offset", 8))
GAIN_FRACTION_BITS = 8
#: Smallest and largest deviation.
DEVIATION_MIN, DEVIATION_MAX = -128, 127
#: Fraction bits of the drift of a level by ageing, which is signed and has 16 bits.
DRIFT_FRACTION_BITS = 6
#: Most writes that a cell can have left; 0 stands for no limit.
ENDURANCE_MAX = (1 << 16) - 1
#: Mean and spread of a level; an entry of a table takes 3 bytes.
TABLE_ENTRY = Layout(Field("mean", CODE_BITS), Field("spread", SPREAD_BITS))

#: Largest number of rows and of columns of a region. With it no 32-bit sum can overflow:
#: 8192 * 255 * 1023 and 8192 * 128 * 1023 are below 2^31.
MAX_SIDE = 8192
#: Largest capacity of an array in cells. The golden model takes 3 bytes for each, so 3 GiB; 16 of the largest
#: regions fit.
MAX_CELLS = 1 << 30
#: Most boards whose arrays are one.
MAX_BOARDS = 16
#: Narrowest and widest converter, and its largest shift.
MIN_ADC_BITS, MAX_ADC_BITS, MAX_ADC_SHIFT = 2, 16, 22
#: Most attempts of a cell with policy ``VERIFY``.
MAX_TRIES = 255
#: Level field of a cell that was made stuck. Arrays with stuck cells have at most so many states, so that no
#: other cell has this level.
STUCK_LEVEL = LEVEL_MAX
