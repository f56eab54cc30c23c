"""An exponential that gives the same bits on every machine.

Exponentials of libraries differ in the last bit between processors and versions. One such bit can change
how an activation is rounded, and then a training run cannot be repeated. This exponential uses only
additions, multiplications and a table of powers of two, which IEEE 754 defines exactly:
e^x = 2^k e^r with k = floor(x log2(e) + 1/2) and |r| <= ln(2)/2, and e^r is summed as its Taylor series.
"""

from math import factorial

import numpy as np
import numpy.typing as npt

LOG2_E = 1.4426950408889634
#: ln 2 as a sum of two numbers. The high one ends in 21 zero bits, so that k * LN2_HIGH is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
#: Coefficients 1/n!, highest first.
TAYLOR = tuple(1.0 / factorial(n) for n in range(13, -1, -1))
#: 2^k for k = -1022 .. 1022.
POWERS_OF_TWO = np.ldexp(1.0, np.arange(-1022, 1023))


def exponential(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return e^x elementwise for |x| <= 700, within two units in the last place."""
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    total = np.full_like(r, TAYLOR[0])
    for c in TAYLOR[1:]:
        total = total * r + c
    scaled: npt.NDArray[np.float64] = total * POWERS_OF_TWO[k.astype(np.int64) + len(POWERS_OF_TWO) // 2]
    return scaled
