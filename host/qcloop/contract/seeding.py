"""How a generator in gateware is brought to a state; host and gateware share this definition.

The gateware holds GRNG16's state as a window of the bit stream u and of a companion sequence w
(``qcloop_hdl.array.generator``). The host sends a state as bytes: one a step, each bit of which flips a new
bit of w.
"""

from functools import lru_cache

from qcloop.contract.generator import LFSR_A, LFSR_B, SAMPLE_BITS
from qcloop.errors import ConfigError

#: Bits of a generator's state.
STATE_BITS = LFSR_A.degree + LFSR_B.degree
#: Bytes that bring a cleared generator to a state. They have exactly as many bits as the state.
SEED_BYTES = STATE_BITS // 8

#: The eight bits of a seed byte flip eight bits of w. This is the distance between them, by lanes. Up to 8
#: lanes it is 16 * lanes / 8, which spreads them evenly and makes the seed bits independent. After the last
#: byte no flip may lie behind the 216 bits of the state, as it would with that distance for 16 and 32 lanes:
#: their distances were found by trial. All of them have full rank (tested).
_FLIP_DISTANCE = {1: 2, 2: 4, 4: 8, 8: 16, 16: 13, 32: 17}
#: Numbers of lanes with which a generator can be built.
GENERATOR_LANES = tuple(_FLIP_DISTANCE)
_STATE_MASK = (1 << STATE_BITS) - 1


def seed_bytes(a: int, b: int, lanes: int) -> bytes:
    """Return the seed bytes that let a gateware generator continue from registers A and B.

    The generator is :class:`qcloop_hdl.array.generator.GaussianGenerator`.

    Parameters
    ----------
    a, b
        Registers of :func:`qcloop.contract.generator.seed_state`, 127 and 89 bits, neither of them zero.
    lanes
        Lanes of the generator: the bytes depend on them.

    Returns
    -------
    bytes
        27 bytes, to be sent in this order after a restart.

    Raises
    ------
    ConfigError
        If a register is zero or too wide, or ``lanes`` is not one of 1, 2, 4, 8, 16, 32.

    Notes
    -----
    A state is the next 216 bits of u. The generator starts from zero, and each seed bit that is 1 flips one
    new bit of w. The state after the last byte is therefore the XOR of windows of the impulse response, one
    for each of these seed bits. The 216 windows are linearly independent.
    """
    check_lanes(lanes)
    for name, lfsr, state in (("A", LFSR_A, a), ("B", LFSR_B, b)):
        if not 0 < state < 1 << lfsr.degree:
            raise ConfigError(
                f"generator register {name} must be 1 to 2^{lfsr.degree}-1, not {state}: "
                "take both from seed_state"
            )
    state, bits = LFSR_A.expand(a, STATE_BITS) ^ LFSR_B.expand(b, STATE_BITS), 0
    for pivot, window, sent in _windows(lanes):
        if state >> pivot & 1:
            state ^= window
            bits ^= sent
    return bits.to_bytes(SEED_BYTES, "little")


@lru_cache
def _windows(lanes: int) -> tuple[tuple[int, int, int], ...]:
    """Return the effects of the seed bits in echelon form: (highest bit of effect, effect, seed bits)."""
    leap = SAMPLE_BITS * lanes
    response = _impulse_response(SEED_BYTES * leap)
    echelon: dict[int, tuple[int, int]] = {}
    for number in range(STATE_BITS):
        byte, bit = divmod(number, 8)
        first = flip_positions(lanes)[bit] + u_bits(lanes) + LFSR_B.degree - leap * (SEED_BYTES - byte)
        effect, sent = (response << first if first >= 0 else response >> -first) & _STATE_MASK, 1 << number
        while (pivot := effect.bit_length() - 1) in echelon:
            effect ^= echelon[pivot][0]
            sent ^= echelon[pivot][1]
        echelon[pivot] = effect, sent
    return tuple((pivot, *echelon[pivot]) for pivot in sorted(echelon, reverse=True))


def u_bits(lanes: int) -> int:
    """Return how many bits of u a generator holds: what the lanes read and what the recurrence needs."""
    return max(LFSR_A.degree, SAMPLE_BITS * lanes)


def flip_positions(lanes: int) -> range:
    """Return which new bits of w, counted from the oldest, the eight bits of a seed byte flip."""
    return range(0, 8 * _FLIP_DISTANCE[lanes], _FLIP_DISTANCE[lanes])


def _impulse_response(bits: int) -> int:
    """Return u after a single one in w: the power series 1 / (f_A f_B), as 1 / f = f^(2^n - 1) / f^(2^n)."""
    response = 1
    for lfsr in (LFSR_A, LFSR_B):
        scale = 1
        while lfsr.lag * scale < bits:
            response ^= response << lfsr.lag * scale ^ response << lfsr.degree * scale
            scale *= 2
    return response & ((1 << bits) - 1)


def check_lanes(lanes: int) -> None:
    """Raise ConfigError unless a generator is built with so many lanes."""
    if lanes not in GENERATOR_LANES:
        raise ConfigError(
            f"generator lanes must be one of {', '.join(map(str, GENERATOR_LANES))}, not {lanes!r}"
        )
