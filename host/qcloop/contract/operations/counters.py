"""COUNTERS: what an engine has counted, and what follows from it."""

from dataclasses import dataclass
from enum import IntEnum

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.operations.devices import AGE_SAMPLES
from qcloop.contract.plan import MAX_PENALTY, TrainingResult
from qcloop.contract.types import ArraySettings, Counters, Positions
from qcloop.errors import ArrayError

#: Bytes of a counter; it wraps around.
COUNTER_BYTES = 6


class Counter(IntEnum):
    """Indices of the counters; those below ``SET`` are the attempts for each target level.

    The gateware keeps the counters in two halves of a memory: the attempts and the odd indices in one, the
    even indices in the other. Two events in successive clocks never count in the same half.
    """

    SET = MAX_STATES
    RESET = MAX_STATES + 1
    CLIPPED = MAX_STATES + 2
    #: Attempts that VERIFY added to the first: programmed cells = attempts - retries.
    RETRIES = MAX_STATES + 3
    UNVERIFIED = MAX_STATES + 4
    CYCLES = MAX_STATES + 5
    SATURATED = MAX_STATES + 6
    #: Images whose class was found before their training step, and the sum of their penalties.
    HITS = MAX_STATES + 7
    PENALTY = MAX_STATES + 8
    #: Words of stream 0 that the rule ``STOCHASTIC`` took.
    ROUNDINGS = MAX_STATES + 9
    #: Cells that AGE has aged.
    AGED = MAX_STATES + 10


#: Number of counters.
COUNTERS = MAX_STATES + len(Counter)


def _counts(results: bytes) -> list[int]:
    if len(results) != COUNTERS * COUNTER_BYTES:
        raise ArrayError(f"counters take {COUNTERS * COUNTER_BYTES} bytes, not {len(results)}")
    return [
        int.from_bytes(results[k : k + COUNTER_BYTES], "little")
        for k in range(0, len(results), COUNTER_BYTES)
    ]


def decode_counters(results: bytes) -> Counters:
    """Return the counters in the results of COUNTERS; ArrayError if their length is wrong."""
    count = _counts(results)
    attempts = count[:MAX_STATES]
    return Counters(
        set_pulses=count[Counter.SET],
        reset_pulses=count[Counter.RESET],
        programmed=sum(attempts) - count[Counter.RETRIES],
        unverified=count[Counter.UNVERIFIED],
        clipped=count[Counter.CLIPPED],
        saturated=count[Counter.SATURATED],
        cycles=count[Counter.CYCLES],
        attempts=tuple(attempts),
    )


@dataclass(frozen=True)
class TrainingCounts:
    """What the array has counted since it was configured, besides :class:`Counters`."""

    #: Images whose class was found before the step.
    hits: int = 0
    #: Sum of the penalties, in 1/256 (see :class:`qcloop.contract.plan.TrainingResult`).
    penalty: int = 0
    #: Words of stream 0 that the rule ``STOCHASTIC`` took.
    roundings: int = 0
    #: Cells that were aged.
    aged: int = 0

    @property
    def samples(self) -> int:
        """Samples of stream 0 that were not taken by programming."""
        return self.roundings + AGE_SAMPLES * self.aged


def decode_training(results: bytes) -> TrainingCounts:
    """Return what the results of COUNTERS say besides :class:`Counters`; ArrayError for a wrong length."""
    count = _counts(results)
    return TrainingCounts(
        count[Counter.HITS], count[Counter.PENALTY], count[Counter.ROUNDINGS], count[Counter.AGED]
    )


def training_result(
    before: tuple[Counters, TrainingCounts], after: tuple[Counters, TrainingCounts], images: int
) -> TrainingResult:
    """Return what the training of so many images has added to the counters.

    Raises ArrayError if it cannot be: more hits than images, a larger penalty than they can have, or fewer
    programmed cells than before.
    """
    hits, penalty = after[1].hits - before[1].hits, after[1].penalty - before[1].penalty
    programmed = after[0].programmed - before[0].programmed
    if not (0 <= hits <= images and 0 <= penalty <= images * MAX_PENALTY and programmed >= 0):
        raise ArrayError(
            f"{images} images have at most as many hits and a penalty of {images * MAX_PENALTY}, but the "
            f"counters rose by {hits} hits, a penalty of {penalty} and {programmed} programmed cells"
        )
    return TrainingResult(hits, programmed, penalty)


def positions_after(
    start: Positions, counters: Counters, settings: ArraySettings, lanes: int, others: int = 0
) -> Positions:
    """Return the positions now.

    An attempt takes one sample, and a word that is read with noise takes ``lanes``. ``others`` are
    :attr:`TrainingCounts.samples`.
    """
    read = counters.cycles * lanes if settings.read_spread else 0
    return Positions(start.programming + sum(counters.attempts) + others, start.read + read)
