"""How measured.csv was made: from a model of a device, not from a measured one.

The model has 24 states, 1180 uS down to 30 uS, and its spread shrinks from 42 uS to 6 uS. The array draws ten
cycles of it. They are rounded as an instrument would do it, and one value is replaced by an overflow.
"""

import sys

import numpy as np

from qcloop.device import DeviceProfile, simulate_cycles

STATES, CYCLES, SEED = 24, 10, 7
#: What many source meters write if their range is exceeded.
OVERFLOW = "9.91E37"


def device() -> DeviceProfile:
    """Return the device behind the data."""
    return DeviceProfile(
        name="model",
        source="made up",
        unit="uS",
        lsb=1.25,
        mean=tuple(np.linspace(30, 1180, STATES).tolist()),
        spread=tuple(np.linspace(6, 42, STATES).tolist()),
    )


def measured() -> str:
    """Return the file: a row for each pulse, a column for each cycle."""
    cycles = simulate_cycles(device(), CYCLES, SEED)
    lines = [",".join(["pulse", *(f"G{cycle} (uS)" for cycle in range(1, CYCLES + 1))])]
    for pulse, values in enumerate(cycles.T, 1):
        cells = [f"{value:.1f}" for value in values]
        if pulse == 11:
            cells[3] = OVERFLOW
        lines.append(",".join([str(pulse), *cells]))
    return "# Pt/oxide/Pt, RESET ramp, read at 0.1 V; made by make_measured.py\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(measured())
