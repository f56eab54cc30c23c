"""The types of the array contract, for host and gateware: what is configured, addressed and counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.formats import (
    CELL,
    CODE_MAX,
    MAX_ADC_BITS,
    MAX_ADC_SHIFT,
    MAX_CELLS,
    MAX_SIDE,
    MAX_STATES,
    MAX_TRIES,
    MIN_ADC_BITS,
    MIN_STATES,
    SPREAD_MAX,
)
from qcloop.contract.learner import LearnerKind, PlanLimits
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, check_parts, describe_parts
from qcloop.errors import ArrayError, ConfigError

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]


class Policy(IntEnum):
    """How a cell gets to its level, and what that costs (see :func:`pulse_cost`)."""

    #: Idealised symmetric device: each pulse moves one level, up or down; one draw.
    DIRECT = 0
    #: Physical device: up only by SET to ON, then RESET pulses down to the level; one draw.
    RESET_ONLY = 1
    #: As ``RESET_ONLY``, but the cell is then read, and the attempt is repeated until the code is within a
    #: tolerance or the tries are used up.
    VERIFY = 2

    @property
    def label(self) -> str:
        """Spelling on the command line and in files, for example ``reset-only``."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def from_label(cls, label: str) -> "Policy":
        """Return the policy spelled ``label``; raises ConfigError if there is none."""
        for policy in cls:
            if policy.label == label:
                return policy
        known = ", ".join(policy.label for policy in cls)
        raise ConfigError(f"unknown policy '{label}': expected one of {known}")


@dataclass(frozen=True)
class ArrayConfig:
    """What is fixed when the array is built (in gateware: at synthesis).

    Raises ConfigError for an impossible combination.
    """

    #: Cells of one memory word, read in one cycle.
    lanes: int = 16
    #: Capacity in cells, a multiple of ``lanes``.
    cells: int = 1 << 19
    #: Most rows and most columns of a region: the length of the vector buffer.
    side: int = MAX_SIDE
    #: What it can do besides programming, loading, reading and multiplying.
    parts: ArrayPart = STANDARD_PARTS
    #: What makes the training step, if it has the part ``LEARNING``.
    learner: LearnerKind = field(default=LearnerKind.PIPELINED, repr=False)

    def __post_init__(self) -> None:
        if not (1 <= self.lanes <= 64 and self.lanes & (self.lanes - 1) == 0):
            raise ConfigError(f"lanes must be a power of two from 1 to 64, not {self.lanes}")
        if not self.lanes <= self.cells <= MAX_CELLS or self.cells % self.lanes:
            raise ConfigError(
                f"cells must be a multiple of {self.lanes} lanes up to {MAX_CELLS}, not {self.cells}"
            )
        if not 1 <= self.side <= MAX_SIDE:
            raise ConfigError(f"the side of a region must be 1..{MAX_SIDE}, not {self.side}")
        check_parts(self.parts)

    @property
    def words(self) -> int:
        """Number of memory words."""
        return self.cells // self.lanes

    @property
    def planes(self) -> int:
        """Planes of the memory: one for the cells, and one for the accumulators of the training step."""
        return 2 if ArrayPart.LEARNING in self.parts else 1

    @property
    def plan_limits(self) -> PlanLimits | None:
        """The limits of training plans that its learner has, if there are any."""
        return self.learner.limits if ArrayPart.LEARNING in self.parts else None

    def row_words(self, cols: int) -> int:
        """Return how many words one row of ``cols`` cells takes."""
        return -(-cols // self.lanes)

    def describe_parts(self) -> str:
        """Return in words which parts there are, and how large a plan may be if the learner limits it."""
        limits = self.plan_limits
        return describe_parts(self.parts) + (f", plans of up to {limits}" if limits else "")


@dataclass(frozen=True)
class Region:
    """A rectangle of cells.

    Cell (i, j) is lane ``j % lanes`` of word ``base + i * row_words + j // lanes``.
    """

    #: First memory word.
    base: int
    rows: int
    cols: int

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= MAX_SIDE and 1 <= self.cols <= MAX_SIDE):
            raise ArrayError(
                f"a region must have 1..{MAX_SIDE} rows and columns, not {self.rows} x {self.cols}"
            )
        if self.base < 0:
            raise ArrayError(f"a region must start at word 0 or above, not {self.base}")

    def end(self, config: ArrayConfig) -> int:
        """Return the first word after the region."""
        return self.base + self.rows * config.row_words(self.cols)


@dataclass(frozen=True)
class AdcStage:
    """Column converter behind a forward product.

    ``y`` becomes ``clip(round(y / 2^shift), -top, top)`` with ``top = 2^(bits-1) - 1``; halves are
    rounded away from zero, so the converter is unbiased about zero. With 8-bit inputs, whose full
    scale is 256 steps of the input DAC, the shift is 8 more: the converter sees the same current.
    """

    bits: int
    shift: int

    def __post_init__(self) -> None:
        if not MIN_ADC_BITS <= self.bits <= MAX_ADC_BITS:
            raise ConfigError(f"the ADC must have {MIN_ADC_BITS}..{MAX_ADC_BITS} bits, not {self.bits}")
        if not 0 <= self.shift <= MAX_ADC_SHIFT:
            raise ConfigError(
                f"the ADC shift must be 0..{MAX_ADC_SHIFT}, not {self.shift}: choose another range"
            )

    @property
    def top(self) -> int:
        """Largest output; the smallest is its negative."""
        return (1 << (self.bits - 1)) - 1

    def total_shift(self, input_bits: int) -> int:
        """Return the shift for inputs of 1 or 8 bits."""
        return self.shift + (8 if input_bits == 8 else 0)


#: The settings as CONFIGURE carries them; the seeds and the table of the levels follow.
SETTINGS = ByteLayout(
    Field("policy", 8, limit=max(Policy), part=ArrayPart.VERIFY, most_without=Policy.RESET_ONLY),
    Field("tries", 8, least=1, limit=MAX_TRIES),
    Field("adc_bits", 8, least=MIN_ADC_BITS, limit=MAX_ADC_BITS, zero_is_off=True, part=ArrayPart.CONVERTER),
    Field("adc_shift", 8, limit=MAX_ADC_SHIFT),
    Field("tolerance", 16, limit=CODE_MAX),
    Field("reference", 16, limit=CODE_MAX),
    Field("read_spread", 16, limit=SPREAD_MAX, part=ArrayPart.READ_NOISE),
)


@dataclass(frozen=True)
class ArraySettings:
    """What :meth:`Array.configure` loads at run time. Raises ConfigError if a value is out of range."""

    seed: int
    #: Mean conductance code of each level, lowest level first, 0..1023.
    mean: tuple[int, ...]
    #: Spread of each level, 12 bits of which 4 are fraction (LSB = 1/16 code), 0..4095.
    spread: tuple[int, ...]
    #: Code that is subtracted from every cell in a product, 0..1023.
    reference: int
    policy: Policy = Policy.DIRECT
    adc: AdcStage | None = None
    #: Spread of the noise that a product adds to each code it reads, in the format of ``spread``; 0 is off.
    read_spread: int = 0
    #: ``VERIFY``: largest distance from the mean, in codes, that is accepted.
    verify_tolerance: int = 8
    #: ``VERIFY``: largest number of attempts for a cell.
    verify_tries: int = 8

    def __post_init__(self) -> None:
        if not MIN_STATES <= len(self.mean) <= MAX_STATES:
            raise ConfigError(f"conductance states must be {MIN_STATES}..{MAX_STATES}, not {len(self.mean)}")
        if len(self.mean) != len(self.spread):
            raise ConfigError(f"{len(self.mean)} means but {len(self.spread)} spreads")
        _check_range("seed", self.seed, 0, (1 << 64) - 1)
        for level, (mean, spread) in enumerate(zip(self.mean, self.spread, strict=True)):
            _check_range(f"mean code of level {level}", mean, 0, CODE_MAX)
            _check_range(f"spread of level {level}", spread, 0, SPREAD_MAX)
        for what, name, value in (
            ("reference code", "reference", self.reference),
            ("read spread", "read_spread", self.read_spread),
            ("verify tolerance (codes)", "tolerance", self.verify_tolerance),
            ("verify tries", "tries", self.verify_tries),
        ):
            _check_range(what, value, SETTINGS[name].least, SETTINGS[name].most)

    @property
    def states(self) -> int:
        """Number of conductance states."""
        return len(self.mean)

    def fields(self) -> dict[str, int]:
        """Return a value for each field of :data:`SETTINGS`, by its name."""
        return {
            "policy": self.policy,
            "tries": self.verify_tries,
            "adc_bits": self.adc.bits if self.adc else 0,
            "adc_shift": self.adc.shift if self.adc else 0,
            "tolerance": self.verify_tolerance,
            "reference": self.reference,
            "read_spread": self.read_spread,
        }

    def needs(self) -> ArrayPart:
        """Return the parts that an array must have for these settings."""
        return reduce(or_, (SETTINGS[name].needs(value) for name, value in self.fields().items()))


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{what} must be {low}..{high}, not {value}")


@dataclass(frozen=True)
class Counters:
    """What the array has counted since it was configured."""

    #: SET pulses and RESET pulses, as the policy needs them (see :func:`pulse_cost`).
    set_pulses: int = 0
    reset_pulses: int = 0
    #: Cells that were to be programmed, and those of them that ``VERIFY`` gave up on.
    programmed: int = 0
    unverified: int = 0
    #: Draws below 0 or above the largest code.
    clipped: int = 0
    #: Products that the ADC stage saturated.
    saturated: int = 0
    #: Memory words read by forward and backward. For each vector they are row_words for each row that is
    #: read: every row, or for 1-bit inputs without read noise those whose input is 1.
    cycles: int = 0
    #: Attempts (draws) for each target level.
    attempts: tuple[int, ...] = field(default=(0,) * MAX_STATES)

    def __add__(self, other: "Counters") -> "Counters":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        sums["attempts"] = tuple(a + b for a, b in zip(self.attempts, other.attempts, strict=True))
        return Counters(**sums)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Counters":
        """Return the counters in a mapping, as ``dataclasses.asdict`` or a file has them."""
        return cls(**{**values, "attempts": tuple(values["attempts"])})


@dataclass(frozen=True)
class Positions:
    """Next sample of each generator of the array. With the cells, this is the array's whole state."""

    programming: int = 0
    read: int = 0
    #: The same of boards 1, 2, ..., where several boards are one array.
    further: tuple["Positions", ...] = ()

    @property
    def boards(self) -> int:
        """Boards whose generators these are."""
        return 1 + len(self.further)

    def each(self) -> tuple["Positions", ...]:
        """Return the positions of each board."""
        return replace(self, further=()), *self.further

    def on(self, boards: int) -> "Positions":
        """Return the positions for so many boards: a board that is new begins at 0."""
        kept = self.further[: boards - 1]
        return replace(self, further=kept + (Positions(),) * (boards - 1 - len(kept)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file. Those of one board have no entry ``further``."""
        own = {"programming": self.programming, "read": self.read}
        return own | ({"further": [one.to_dict() for one in self.further]} if self.further else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Positions":
        """Return the positions in :meth:`to_dict`. Raises TypeError for another name."""
        further = tuple(cls(**one) for one in values.get("further", ()))
        return cls(**{**values, "further": further})


def pulse_cost(old: int | None, new: int, states: int, policy: Policy) -> tuple[int, int]:
    """Return the (SET, RESET) pulses of one attempt to bring a cell from level ``old`` to ``new``.

    ``old`` is None for a cell that was never programmed, as its state is unknown. The state of a stuck cell,
    whose level field is not below the number of states, is unknown, too. Pulse stage n = states - level is
    reached from ON by n RESET pulses (paper/facts: mu(n) = 16.5 - 0.5 n after n pulses). A rewrite of the
    same level costs one RESET pulse in ``DIRECT`` and a whole SET and RESET sequence otherwise.
    """
    if old is None or old >= states:
        return 1, states - new
    if policy is Policy.DIRECT:
        return (new - old, 0) if new > old else (0, max(1, old - new))
    return (1, states - new) if new >= old else (0, old - new)


def cell_words(levels: U8, codes: I16) -> npt.NDArray[np.uint16]:
    """Return cells as they are stored (see :data:`CELL`), little-endian, in the shape of the arguments."""
    words: npt.NDArray[np.uint16] = CELL.join(code=codes.astype("<u2"), level=levels.astype("<u2"))
    return words.astype("<u2", copy=False)  # NumPy's operators return the machine's byte order
