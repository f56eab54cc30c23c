"""The array contract: what every backend computes, to the last integer.

An *array* is a memory of emulated devices. Each cell holds a level (the state it was programmed to)
and a conductance code ``g`` (what it really became). The golden model, the simulated gateware and a
board implement :class:`Array`; for one configuration, one seed and one sequence of operations they
return the same integers. ``docs/array.md`` states the contract in prose, for people who implement it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array.compiled import largest  # many times as fast as NumPy for the few cells of a step
from qcloop.device import DeviceProfile
from qcloop.errors import ArrayError, ConfigError
from qcloop.formats import CODE_BITS, CODE_MAX, LEVEL_MAX, MAX_STATES, MIN_STATES, SPREAD_MAX

U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]

#: Fetches products that were asked for.
Products = Callable[[], I32]

#: Largest number of rows and of columns of a region. With it no 32-bit sum can overflow:
#: 8192 * 255 * 1023 and 8192 * 128 * 1023 are below 2^31.
MAX_SIDE = 8192

#: Narrowest and widest converter, and its largest shift.
MIN_ADC_BITS, MAX_ADC_BITS, MAX_ADC_SHIFT = 2, 16, 22

#: Level field of a cell that :func:`stuck_cells` made stuck: never below the number of states.
STUCK_LEVEL = LEVEL_MAX


class Policy(IntEnum):
    """How a cell gets to its level, and what that costs (see :func:`pulse_cost`)."""

    #: Idealised symmetric device: each pulse moves one level, up or down; one draw.
    DIRECT = 0
    #: Physical device: up only by SET to ON, then RESET pulses down to the level; one draw.
    RESET_ONLY = 1
    #: As ``RESET_ONLY``, then read and repeated until within a tolerance or out of tries.
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

    def __post_init__(self) -> None:
        if not (1 <= self.lanes <= 64 and self.lanes & (self.lanes - 1) == 0):
            raise ConfigError(f"lanes must be a power of two from 1 to 64, not {self.lanes}")
        if self.cells < self.lanes or self.cells % self.lanes:
            raise ConfigError(f"capacity must be a multiple of {self.lanes} lanes, not {self.cells} cells")
        if not 1 <= self.side <= MAX_SIDE:
            raise ConfigError(f"the side of a region must be 1..{MAX_SIDE}, not {self.side}")

    @property
    def words(self) -> int:
        """Number of memory words."""
        return self.cells // self.lanes

    def row_words(self, cols: int) -> int:
        """Return how many words one row of ``cols`` cells takes."""
        return -(-cols // self.lanes)


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


@dataclass(frozen=True)
class ArraySettings:
    """What :meth:`Array.configure` loads at run time. Raises ConfigError when out of range."""

    seed: int
    #: Mean conductance code of each level, lowest level first, 0..1023.
    mean: tuple[int, ...]
    #: Spread of each level, 12 bits of which 4 are fraction (LSB = 1/16 code), 0..4095.
    spread: tuple[int, ...]
    #: Code that is subtracted from every cell in a product, 0..1023.
    reference: int
    policy: Policy = Policy.DIRECT
    adc: AdcStage | None = None
    #: Spread of the noise added to a cell at each read of a product; format of ``spread``; 0 is off.
    read_spread: int = 0
    #: ``VERIFY``: accepted distance from the mean, in codes.
    verify_tolerance: int = 8
    #: ``VERIFY``: most attempts a cell.
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
        _check_range("reference code", self.reference, 0, CODE_MAX)
        _check_range("read spread", self.read_spread, 0, SPREAD_MAX)
        _check_range("verify tolerance (codes)", self.verify_tolerance, 0, CODE_MAX)
        _check_range("verify tries", self.verify_tries, 1, 255)

    @property
    def states(self) -> int:
        """Number of conductance states."""
        return len(self.mean)

    @classmethod
    def from_profile(cls, profile: DeviceProfile, seed: int, **others: object) -> "ArraySettings":
        """Return the settings for a device; the reference is the middle of its range."""
        mean = tuple(int(code) for code in profile.mean_codes)
        settings = cls(
            seed=seed,
            mean=mean,
            spread=tuple(int(code) for code in profile.spread_codes),
            reference=(min(mean) + max(mean)) // 2,
        )
        return replace(settings, **others)  # type: ignore[arg-type]


def _check_range(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{what} must be {low}..{high}, not {value}")


@dataclass(frozen=True)
class Counters:
    """What the array counted since it was configured."""

    #: SET pulses and RESET pulses, as the policy needs them (see :func:`pulse_cost`).
    set_pulses: int = 0
    reset_pulses: int = 0
    #: Cells programmed (requests), and those that ``VERIFY`` gave up on.
    programmed: int = 0
    unverified: int = 0
    #: Draws below 0 or above the largest code.
    clipped: int = 0
    #: Products that the ADC stage saturated.
    saturated: int = 0
    #: Memory words read by forward and backward: rows * row_words for each vector.
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
    """Next sample of each generator of the array: with the cells, its whole state."""

    programming: int = 0
    read: int = 0


def pulse_cost(old: int | None, new: int, states: int, policy: Policy) -> tuple[int, int]:
    """Return the (SET, RESET) pulses of one attempt to bring a cell from level ``old`` to ``new``.

    ``old`` is None where the state is unknown: never programmed, or a level field that is not below
    the number of states (a stuck cell). Pulse stage n = states - level is reached from ON by n RESET
    pulses (paper/facts: mu(n) = 16.5 - 0.5 n after n pulses). A rewrite of the same level costs one
    RESET pulse in ``DIRECT`` and a whole SET and RESET sequence otherwise.
    """
    if old is None or old >= states:
        return 1, states - new
    if policy is Policy.DIRECT:
        return (new - old, 0) if new > old else (0, max(1, old - new))
    return (1, states - new) if new >= old else (0, old - new)


class Array(ABC):
    """A crossbar of emulated devices.

    The public methods check their arguments, raise ArrayError and change nothing where they are
    wrong, and hand over to one protected method each; a backend implements only those. Words are
    programmed contiguously from word 0; a product or a read of a word that was never programmed is
    an error. A lane that was never programmed inside a programmed word is level 0, code 0.
    """

    #: Most vectors of a part of a batch (see :meth:`parts`); 0 where nothing is won by cutting.
    part_size = 0

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self._settings: ArraySettings | None = None
        self._programmed_words = 0
        self._readable: set[Region] = set()

    # -- the operations -------------------------------------------------------------------------

    @property
    def settings(self) -> ArraySettings:
        """Settings in force; ArrayError before the first :meth:`configure`."""
        if self._settings is None:
            raise ArrayError("the array is not configured: call configure() first")
        return self._settings

    def configure(self, settings: ArraySettings, positions: Positions | None = None) -> None:
        """Load settings, put both generators at ``positions`` (default: the start), zero the counters.

        The cells keep their levels and codes.
        """
        self._configure(settings, positions or Positions())
        self._settings = settings

    def program(self, region: Region, cells: npt.NDArray[np.integer], levels: U8) -> None:
        """Program a list of cells, in its order.

        Each attempt draws ``g = clip(mean[l] + ((spread[l] * z + 2^8) >> 9), 0, 1023)`` with the
        next sample ``z`` of stream 0. A cell whose level field is not below the number of states is
        stuck: it keeps level and code; its samples are consumed, its attempts and pulses counted.

        Parameters
        ----------
        region : Region
            Must have been programmed as a block before.
        cells : (n,) integers
            ``i * cols + j`` of each cell.
        levels : (n,) uint8
            Target levels, below the number of states.
        """
        self._check_programmed(region)
        if cells.ndim != 1 or cells.shape != levels.shape:
            raise ArrayError(f"a list of cells needs as many levels: {cells.shape} and {levels.shape} came")
        if len(cells) == 0:
            return
        places: npt.NDArray[np.int64] = cells.astype(np.int64, copy=False)
        if largest(places.view(np.uint64)) >= region.rows * region.cols:  # below zero is huge there
            low = int(places.min())
            raise ArrayError(
                f"cells must be 0..{region.rows * region.cols - 1} in a region of {region.rows} x "
                f"{region.cols}, not {low if low < 0 else int(places.max())}"
            )
        self._check_levels(levels)
        self._program(region, places, levels)

    def program_block(self, region: Region, levels: U8) -> None:
        """Program every cell of a region, row by row; ``levels`` is (rows, cols) uint8."""
        self._check_writable(region)
        self._check_block("levels", levels, region)
        self._check_levels(levels)
        self._program_block(region, levels)
        self._programmed_words = max(self._programmed_words, region.end(self.config))

    def load(self, region: Region, levels: U8, codes: I16) -> None:
        """Write raw cells: no sample is drawn, nothing is counted.

        For restoring a checkpoint, and for making cells stuck (a level field of ``STUCK_LEVEL``).
        ``levels`` and ``codes`` are (rows, cols), uint8 and int16.
        """
        self._check_writable(region)
        self._check_block("levels", levels, region)
        self._check_block("codes", codes, region)
        if levels.max() > LEVEL_MAX or codes.min() < 0 or codes.max() > CODE_MAX:
            raise ArrayError(
                f"raw cells must have levels 0..{LEVEL_MAX} and codes 0..{CODE_MAX}, not level "
                f"{levels.max()}, codes {codes.min()}..{codes.max()}"
            )
        self._load(region, levels, codes)
        self._programmed_words = max(self._programmed_words, region.end(self.config))

    def forward(self, region: Region, x: U8, bits: int) -> I32:
        """Return ``y[b, j] = sum_i x[b, i] * (g[i, j] - reference)``, through the ADC stage if set.

        Parameters
        ----------
        region : Region
        x : (n, rows) uint8
            Input vectors; 0 or 1 where ``bits`` is 1.
        bits : {1, 8}

        Returns
        -------
        (n, cols) int32

        Notes
        -----
        With read noise, ``g`` is replaced for each vector by ``clip(g + ((read_spread * z + 2^8) >> 9),
        0, 1023)``. One sample of stream 1 is consumed for each lane of each word read, unused lanes
        included: vector by vector, then column block by column block, then row by row.
        """
        return self.start_forward(region, x, bits)()

    def start_forward(self, region: Region, x: U8, bits: int) -> Products:
        """As :meth:`forward`, but the products are only asked for: calling what is returned fetches them.

        They are those of the cells as they are now, whatever is programmed before they are fetched; they need
        not be fetched, nor in the order in which they were asked for.
        """
        self._check_programmed(region)
        if bits not in (1, 8):
            raise ArrayError(f"inputs must have 1 or 8 bits, not {bits}")
        if x.ndim != 2 or x.shape[1] != region.rows or x.dtype != np.uint8:
            raise ArrayError(
                f"forward needs uint8 vectors of {region.rows} rows, not {x.dtype} of shape {x.shape}"
            )
        x = np.ascontiguousarray(x)
        if bits == 1 and largest(x.reshape(-1)) > 1:
            raise ArrayError(f"1-bit inputs must be 0 or 1, not {x.max()}")
        return self._start_forward(region, x, bits)

    def backward(self, region: Region, d: I8) -> I32:
        """Return ``e[b, i] = sum_j d[b, j] * (g[i, j] - reference)``.

        ``d`` is (n, cols) int8, the result (n, rows) int32. The ADC stage does not act here. Read noise
        acts as in :meth:`forward`, but the words are read vector by vector, then row by row, then column
        block by column block.
        """
        return self.start_backward(region, d)()

    def start_backward(self, region: Region, d: I8) -> Products:
        """As :meth:`backward`, but the products are only asked for (see :meth:`start_forward`)."""
        self._check_programmed(region)
        if d.ndim != 2 or d.shape[1] != region.cols or d.dtype != np.int8:
            raise ArrayError(
                f"backward needs int8 vectors of {region.cols} columns, not {d.dtype} of shape {d.shape}"
            )
        return self._start_backward(region, np.ascontiguousarray(d))

    def parts(self, n: int) -> list[slice]:
        """Return how a batch of ``n`` vectors is best cut: one part's products come as another's are used.

        However it is cut, the products are the same; but not with read noise, whose samples go by the order
        of the vectors: it is one part then.
        """
        whole = self.part_size == 0 or self.settings.read_spread > 0
        count = 1 if whole else max(1, -(-n // self.part_size))
        return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]

    def read(self, region: Region) -> tuple[U8, I16]:
        """Return the (rows, cols) levels (uint8) and codes (int16) of a region; draws no noise."""
        self._check_programmed(region)
        return self._read(region)

    @abstractmethod
    def counters(self) -> Counters:
        """Return what was counted since :meth:`configure`."""

    @abstractmethod
    def positions(self) -> Positions:
        """Return the next sample of each generator."""

    # -- what a backend implements; arguments are checked ---------------------------------------

    @abstractmethod
    def _configure(self, settings: ArraySettings, positions: Positions) -> None: ...

    @abstractmethod
    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None: ...

    @abstractmethod
    def _program_block(self, region: Region, levels: U8) -> None: ...

    @abstractmethod
    def _load(self, region: Region, levels: U8, codes: I16) -> None: ...

    @abstractmethod
    def _start_forward(self, region: Region, x: U8, bits: int) -> Products: ...

    @abstractmethod
    def _start_backward(self, region: Region, d: I8) -> Products: ...

    @abstractmethod
    def _read(self, region: Region) -> tuple[U8, I16]: ...

    # -- checks ---------------------------------------------------------------------------------

    def _check_inside(self, region: Region) -> None:
        _ = self.settings
        if max(region.rows, region.cols) > self.config.side:
            raise ArrayError(
                f"this array takes regions of at most {self.config.side} rows and columns, not "
                f"{region.rows} x {region.cols}"
            )
        end = region.end(self.config)
        if end > self.config.words:
            raise ArrayError(
                f"region {region.rows} x {region.cols} at word {region.base} ends at word {end}, but the "
                f"array has {self.config.words} words of {self.config.lanes} cells"
            )

    def _check_writable(self, region: Region) -> None:
        self._check_inside(region)
        if region.base > self._programmed_words:
            raise ArrayError(
                f"blocks must be programmed contiguously: the region starts at word {region.base}, but "
                f"words are programmed only up to {self._programmed_words}"
            )

    def _check_programmed(self, region: Region) -> None:
        if region in self._readable:  # once readable it stays so, and this is called for every product
            return
        self._check_inside(region)
        if region.end(self.config) > self._programmed_words:
            raise ArrayError(
                f"region {region.rows} x {region.cols} at word {region.base} was never programmed: words "
                f"are programmed only up to {self._programmed_words}; program it as a block first"
            )
        self._readable.add(region)

    def _check_levels(self, levels: U8) -> None:
        if largest(levels.reshape(-1)) >= self.settings.states:
            raise ArrayError(
                f"levels must be 0..{self.settings.states - 1} for {self.settings.states} states, "
                f"not {levels.max()}"
            )

    def _check_block(self, what: str, block: npt.NDArray[np.generic], region: Region) -> None:
        if block.shape != (region.rows, region.cols):
            raise ArrayError(f"{what} must have shape {(region.rows, region.cols)}, not {block.shape}")


def stuck_cells(array: Array, region: Region, mask: npt.NDArray[np.bool_], codes: I16) -> None:
    """Make the cells of ``mask`` (rows, cols) stuck at ``codes`` (rows, cols).

    Raises ArrayError when the number of states leaves no level field for stuck cells (64 states).
    """
    if array.settings.states > STUCK_LEVEL:
        raise ArrayError(
            f"{array.settings.states} states leave no room for stuck cells: use at most {STUCK_LEVEL} states"
        )
    levels, kept = array.read(region)
    levels[mask] = STUCK_LEVEL
    array.load(region, levels, np.where(mask, codes, kept).astype(np.int16))


def cell_words(levels: U8, codes: I16) -> npt.NDArray[np.uint16]:
    """Return cells as they are stored: ``level << 10 | code``, little-endian, in the shape of both."""
    words: npt.NDArray[np.uint16] = levels.astype("<u2") << CODE_BITS | codes.astype("<u2")
    return words.astype("<u2", copy=False)  # an operation returns the machine's byte order


def array_digest(array: Array, regions: list[Region]) -> str:
    """Return the SHA-256 of every level and code of the regions.

    The digest runs over the :func:`cell_words`, region by region, row by row.
    """
    digest = sha256()
    for region in regions:
        levels, codes = array.read(region)
        digest.update(cell_words(levels, codes).tobytes())
    return digest.hexdigest()
