"""Interface of the training step's inner loops, which two modules have: ``compiled`` and ``reference``."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from qcloop.array.generator import Grng16
from qcloop.array.kernels import Cells
from qcloop.contract.plan import TABLE_ENTRIES, TrainingPlan
from qcloop.contract.types import I16, U8, ArrayConfig, ArraySettings, Policy

I64 = npt.NDArray[np.int64]


class Memory(NamedTuple):
    """The planes of an array, flat; a cell has the same address in all of them."""

    cells: Cells
    accumulators: I16


class Devices(NamedTuple):
    """What programming and reading need to know of the devices."""

    #: Mean code and spread of each level, (states,).
    mean: I64
    spread: I64
    #: What an accumulator needs from each level to the next, (states - 1,), and beyond what it is settled.
    gaps: I64
    reach: int
    reference: int
    policy: int
    tolerance: int
    #: Most attempts at a cell: 1 unless the policy verifies.
    tries: int
    read_spread: int
    lanes: int
    #: Shift and largest output of the converter for 1-bit inputs; the shift is -1 where there is none.
    adc_shift: int
    adc_top: int


class Steps(NamedTuple):
    """A training plan as flat arrays, with one entry for each layer."""

    #: Address of the first cell and distance of the rows, as in :meth:`qcloop.array.planes.Planes`.
    start: I64
    stride: I64
    rows: I64
    #: Columns of cells.
    cols: I64
    shift: I64
    rate: I64
    exponent: I64
    #: (layers, 256) uint8; those of the last layer are not used.
    activations: U8
    slopes: U8
    #: (256,) int64.
    exponential: I64
    input_bits: int
    devices: int
    biases: int
    rule: int
    batch: int


class Tally(NamedTuple):
    """What is counted while the images are trained."""

    #: int64, indexed by :class:`qcloop.array.events.EventIndex`.
    events: I64
    #: (64,) int64: attempts for each target level.
    attempts: I64
    #: (3,) int64: see :data:`HITS`, :data:`PENALTY` and :data:`WORDS`.
    totals: I64


#: Indices of :attr:`Tally.totals`: images that were classified correctly, the sum of the penalties, and
#: memory words that products have read.
HITS, PENALTY, WORDS = range(3)


class StepKernels(Protocol):
    """What :class:`qcloop.array.GoldenArray` trains with; a module of functions has it."""

    def train(
        self,
        memory: Memory,
        devices: Devices,
        steps: Steps,
        programming: Grng16,
        reading: Grng16,
        x: U8,
        labels: U8,
        tally: Tally,
    ) -> None:
        """Train on (n, inputs) images with (n,) labels, one after the other."""

    def classify(
        self,
        memory: Memory,
        devices: Devices,
        steps: Steps,
        reading: Grng16,
        x: U8,
        classes: U8,
        tally: Tally,
    ) -> None:
        """Fill the (n,) classes of (n, inputs) images."""


def devices_of(settings: ArraySettings, config: ArrayConfig, plan: TrainingPlan) -> Devices:
    """Return what the kernels need of an array's settings, with the gaps of a plan."""
    adc = settings.adc
    return Devices(
        mean=np.array(settings.mean, np.int64),
        spread=np.array(settings.spread, np.int64),
        gaps=np.array(plan.gaps(settings), np.int64),
        reach=plan.reach(settings),
        reference=settings.reference,
        policy=int(settings.policy),
        tolerance=settings.verify_tolerance,
        tries=settings.verify_tries if settings.policy is Policy.VERIFY else 1,
        read_spread=settings.read_spread,
        lanes=config.lanes,
        adc_shift=adc.shift if adc else -1,
        adc_top=adc.top if adc else 0,
    )


def steps_of(plan: TrainingPlan, config: ArrayConfig) -> Steps:
    """Return a plan as flat arrays, with the addresses that its regions have in an array."""
    regions = [layer.region for layer in plan.layers]
    tables = np.zeros((2, len(regions), TABLE_ENTRIES), np.uint8)
    for index, layer in enumerate(plan.layers[:-1]):
        tables[:, index] = np.frombuffer(layer.activations + layer.slopes, np.uint8).reshape(2, -1)

    def each(values: list[int]) -> I64:
        return np.array(values, np.int64)

    return Steps(
        start=each([region.base * config.lanes for region in regions]),
        stride=each([config.row_words(region.cols) * config.lanes for region in regions]),
        rows=each([region.rows for region in regions]),
        cols=each([region.cols for region in regions]),
        shift=each([layer.shift for layer in plan.layers]),
        rate=each([layer.rate for layer in plan.layers]),
        exponent=each([layer.exponent for layer in plan.layers]),
        activations=tables[0],
        slopes=tables[1],
        exponential=each(list(plan.exponential)),
        input_bits=plan.input_bits,
        devices=plan.devices,
        biases=int(plan.biases),
        rule=int(plan.rule),
        batch=plan.batch,
    )


if TYPE_CHECKING:
    import qcloop.array.step.reference as reference
    from qcloop.array.step import compiled

    _IMPLEMENTATIONS: tuple[StepKernels, ...] = (compiled, reference)
