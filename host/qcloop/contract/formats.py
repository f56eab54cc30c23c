"""Number formats of the array contract, for host and gateware alike.

A cell is one 16-bit word: the level in the high 6 bits, the conductance code in the low 10.
"""

#: Level: unsigned; rises with conductance, level 0 is the lowest state.
LEVEL_BITS = 6
LEVEL_MAX = (1 << LEVEL_BITS) - 1
#: Conductance code: unsigned; one LSB is the profile's ``lsb``, 1/32 G0 for the built-in devices.
CODE_BITS = 10
CODE_MAX = (1 << CODE_BITS) - 1
CELL_BITS = LEVEL_BITS + CODE_BITS
#: Spread of a level, one standard deviation: unsigned, the low 4 bits are fractions of a code.
SPREAD_BITS = 12
SPREAD_FRACTION_BITS = 4
SPREAD_MAX = (1 << SPREAD_BITS) - 1
#: Number of conductance states.
MIN_STATES, MAX_STATES = 2, 1 << LEVEL_BITS
