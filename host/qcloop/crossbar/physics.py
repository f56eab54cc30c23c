"""Physical units: settings become the array's integers, and counted events become pulses, time and energy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, log2
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import CODE_MAX, MAX_ADC_SHIFT, SPREAD_FRACTION_BITS, SPREAD_MAX
from qcloop.contract.types import AdcStage, ArraySettings, Counters, Policy, pulse_cost
from qcloop.crossbar.ledger import UNKNOWN, WriteLedger
from qcloop.crossbar.moves import Moves
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.device import DeviceProfile, PulseTrain
from qcloop.errors import ConfigError

F64 = npt.NDArray[np.float64]


def array_settings(settings: CrossbarSettings, profile: DeviceProfile) -> ArraySettings:
    """Return the settings of an array of such devices: physical values become codes.

    Raises
    ------
    ConfigError
        If a physical value does not fit its number format.
    """
    steps = settings.read_noise / profile.lsb * 2**SPREAD_FRACTION_BITS
    if steps >= SPREAD_MAX + 0.5:
        most = SPREAD_MAX * profile.lsb / 2**SPREAD_FRACTION_BITS
        raise ConfigError(
            f"read-noise must be at most {most:g} {profile.unit} for this device, not {settings.read_noise:g}"
        )
    adc = AdcStage(settings.adc_bits, _adc_shift(settings, profile)) if settings.adc_bits else None
    return profile.array_settings(
        settings.seed,
        policy=Policy.from_label(settings.policy),
        adc=adc,
        read_spread=round(steps),
        verify_tolerance=round(min(settings.verify_tolerance / profile.lsb, CODE_MAX)),
        verify_tries=settings.verify_tries,
    )


def _adc_shift(settings: CrossbarSettings, profile: DeviceProfile) -> int:
    """Return the smallest shift with which the ADC has the full scale that is asked for."""
    finest = 2.0 ** (settings.adc_bits - 1)
    codes = settings.adc_range / profile.lsb
    if codes > finest * 2**MAX_ADC_SHIFT:
        raise ConfigError(
            f"adc-range must be at most {finest * 2**MAX_ADC_SHIFT * profile.lsb:g} {profile.unit} for "
            f"{settings.adc_bits} bits and this device, not {settings.adc_range:g}"
        )
    return ceil(log2(max(codes / finest, 1.0)))


@dataclass(frozen=True)
class Cost:
    """What a run cost: writes, pulses, time and energy; and what its network costs in use.

    Time and write energy are None where the profile states no pulses. An array that trains by itself does
    not tell the most-written cell, and the write energy only as far as
    :class:`qcloop.crossbar.moves.LevelCounts` finds it.
    """

    #: Programming requests, initial programming included, and those of the most-written cell.
    writes: int
    most_writes: int | None
    #: Layer, row and column of the most-written cell.
    most_written_layer: int | None
    most_written_row: int | None
    most_written_column: int | None
    set_pulses: int
    reset_pulses: int
    #: Seconds that all pulses take one after another.
    programming_time_s: float | None
    write_energy_j: float | None
    #: Mean energy that reading the cells takes when an image is classified; None where the profile does not
    #: tell the pulse that reads a cell, or where no run was asked.
    image_read_energy_j: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file, without those that are None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def pulse_energies(profile: DeviceProfile, pulses: PulseTrain) -> tuple[float, F64]:
    """Return the energy of a SET pulse and of each RESET pulse n = 1..states, in joules.

    A RESET pulse dissipates V(n)^2 G t, where G is the mean conductance that the pulse meets: the ON
    conductance for n = 1, and the mean of stage n - 1 otherwise. SET is a sweep from 0 to V at compliance I
    and dissipates V / 2 * I * t. That is an upper bound, since the current reaches compliance only when the
    filament forms. Amplitudes: Micromachines 2020, 11, 427, section 3.
    """
    volts = np.array(pulses.reset_volts)
    met = np.concatenate([[pulses.on_siemens], profile.mean_siemens()[::-1][:-1]])
    reset = volts**2 * met * pulses.width_s
    return pulses.set_volts / 2 * pulses.set_compliance_a * pulses.width_s, reset


def write_energy(
    profile: DeviceProfile, policy: Policy, ledger: WriteLedger, counters: Counters
) -> float | None:
    """Return the write energy of all pulses in joules, None where the profile states no pulses.

    The sum runs over all pairs (old level, new level) of the ledger, with the pulses that
    :func:`qcloop.contract.types.pulse_cost` counts. An upward pulse of the idealised ``direct`` device is
    taken to cost what the RESET pulse between the same stages costs. Each attempt beyond the first
    (``verify``) is a whole sequence of SET and RESET pulses.
    """
    if profile.pulses is None:
        return None
    states = profile.states
    sequence, down_to, reset = _level_energies(profile, profile.pulses)
    first = ledger.transitions[:, :states]
    retries = np.array(counters.attempts[:states]) - first.sum(axis=0)
    total = float(retries @ sequence)
    for old, new in np.argwhere(first):
        sets, resets = pulse_cost(None if old == UNKNOWN else int(old), int(new), states, policy)
        if old == UNKNOWN or (sets and resets):
            energy = sequence[new]
        elif old == new:
            energy = reset[states - new - 1]
        else:
            energy = abs(down_to[new] - down_to[old])
        total += float(first[old, new] * energy)
    return total


def _level_energies(profile: DeviceProfile, pulses: PulseTrain) -> tuple[F64, F64, F64]:
    """Return the energies of SET and RESET to each level, of the RESET pulses from ON to it, and of each."""
    set_energy, reset = pulse_energies(profile, pulses)
    down_to = np.concatenate([np.cumsum(reset)[::-1], [0.0]])  # to ON itself: nothing
    return set_energy + down_to[: profile.states], down_to, reset


def cost_of_moves(
    profile: DeviceProfile,
    policy: Policy,
    moves: Moves | None,
    counters: Counters,
    writes: Sequence[npt.NDArray[np.uint32]] = (),
) -> Cost:
    """Return the cost of a run that the array trained by itself.

    The write energy is that of :func:`write_energy`, which the moves tell for policy ``direct``. ``writes``
    are those of the cells of each layer, (rows, cols), if they are known.
    """
    pulses, energy = counters.set_pulses + counters.reset_pulses, None
    if profile.pulses is not None and moves is not None and policy is Policy.DIRECT:
        sequence, down_to, _ = _level_energies(profile, profile.pulses)
        steps = np.abs(np.diff(down_to[: profile.states]))
        energy = float(moves.initial @ sequence + moves.between @ steps)
    return Cost(
        writes=counters.programmed,
        **(_most_written(writes) if writes else _NOWHERE),
        set_pulses=counters.set_pulses,
        reset_pulses=counters.reset_pulses,
        programming_time_s=profile.pulses.width_s * pulses if profile.pulses else None,
        write_energy_j=energy,
    )


def cost(profile: DeviceProfile, policy: Policy, ledger: WriteLedger, counters: Counters) -> Cost:
    """Return the cost of a run so far."""
    writes = [each.reshape(ledger.shape(index)) for index, each in enumerate(ledger.writes)]
    pulses = counters.set_pulses + counters.reset_pulses
    return Cost(
        writes=int(ledger.transitions.sum()),
        **_most_written(writes),
        set_pulses=counters.set_pulses,
        reset_pulses=counters.reset_pulses,
        programming_time_s=profile.pulses.width_s * pulses if profile.pulses else None,
        write_energy_j=write_energy(profile, policy, ledger, counters),
    )


_NOWHERE: dict[str, int | None] = dict.fromkeys(
    ("most_writes", "most_written_layer", "most_written_row", "most_written_column")
)


def _most_written(writes: Sequence[npt.NDArray[np.uint32]]) -> dict[str, int | None]:
    """Return the most-written cell and its writes, from those of each layer, (rows, cols)."""
    peaks = [int(each.max()) for each in writes]
    layer = int(np.argmax(peaks))
    row, column = divmod(int(writes[layer].argmax()), writes[layer].shape[1])
    return dict(zip(_NOWHERE, (peaks[layer], layer, row, column), strict=True))
