"""One matrix of weights of a crossbar."""

import numpy as np

from qcloop.contract.types import U16, Region
from qcloop.crossbar.cells import LayerCells
from qcloop.crossbar.gains import WiredCells
from qcloop.crossbar.kernels import F64, I64, Levels
from qcloop.crossbar.rules import UpdateRule
from qcloop.crossbar.weights import WeightMap
from qcloop.errors import DivergenceError

#: Most codes for one unit of the gradient. A gradient is up to 2^31, and their product must fit a float32.
_STEP_MOST = 1e28
#: The same where sums of a gradient have 64 bits; they stay below 2^53.
_STEP_MOST_WIDE = 1e21


class Layer:
    """One matrix of weights: its cells on the array, and what the host keeps about it.

    Attributes
    ----------
    index : int
        Index among the layers of its crossbar.
    bits : int
        Bits of an input, 1 or 8.
    cells : LayerCells
        The devices: a matrix of (rows, cols * devices of a weight) cells.
    weight_per_code : float
        Weight of one code: wmax / half range, where wmax is the largest weight.
    rule : UpdateRule
        Has all that the update rule remembers of the layer.
    wide : bool
        Whether sums of the gradient have 64 bits. With 32 bits, errors have fewer bits in a batch of many
        vectors (see :meth:`LayeredCrossbar.errors`).
    levels : (rows, cols) uint8 or uint16
        Weight level last asked of each weight.
    bias : (cols,) float64
    limits : (rows, cols of cells) uint16
        Writes after which each cell is stuck; (0, 0) where they are not limited.
    """

    def __init__(
        self,
        index: int,
        bits: int,
        cells: LayerCells,
        weights: WeightMap,
        weight_max: float,
        rule: UpdateRule,
        wide: bool = False,
    ) -> None:
        self.index, self.bits, self.cells, self.rule, self.wide = index, bits, cells, rule, wide
        self.rows, self.cols = cells.rows, cells.cols // weights.devices
        self.weight_per_code = weight_max / weights.half_range
        self.levels: Levels = weights.zeros(self.rows, self.cols)
        self.bias: F64 = np.zeros(self.cols)
        self.limits: U16 = np.zeros((0, 0), np.uint16)
        #: The cells with the gains of their wires, where training knows these.
        self.wired: WiredCells | None = None
        #: Where the update rule lists what changes; kept, so that it need not be made for each batch.
        self.changes: I64 = np.empty((3, self.rows * self.cols), np.int64)

    @property
    def region(self) -> Region:
        """Region of a layer that is not cut into tiles; of another one, that of its first tile."""
        return self.cells.tiles[0].region

    @property
    def input_top(self) -> int:
        """Largest input."""
        return 1 if self.bits == 1 else 255

    def step(self, codes: float) -> np.float32:
        """Return the codes for one unit of the gradient; raises DivergenceError if they are too many."""
        if not abs(codes) <= (_STEP_MOST_WIDE if self.wide else _STEP_MOST):
            raise DivergenceError(f"the learning step of layer {self.index + 1} is {codes:g} codes")
        return np.float32(codes)
