"""The wires of a crossbar, and what they leave of the codes of a layer."""

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, Region
from qcloop.crossbar.cells import LayerCells
from qcloop.crossbar.kernels import F64
from qcloop.crossbar.settings import CrossbarSettings, WireModel
from qcloop.crossbar.weights import Scheme, WeightMap
from qcloop.crossbar.wires import effective_codes, transfer
from qcloop.device import DeviceProfile

#: Weights from whose levels the conductance that cells have at first is found.
_WEIGHTS = 255


@dataclass(frozen=True)
class Wires:
    """The wires of a crossbar.

    Attributes
    ----------
    ohm : float
        Resistance of a piece of wire, above 0.
    lsb : float
        Siemens of one code.
    known : bool
        Whether training knows them.
    together : int
        Neighbouring columns that share a reference, as for :func:`effective_codes`.
    """

    ohm: float
    lsb: float
    known: bool
    together: int
    #: The codes of each tile when it was last analysed, and its transfer.
    _analysed: dict[Region, tuple[I16, F64]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, settings: CrossbarSettings, profile: DeviceProfile) -> "Wires | None":
        """Return the wires that settings ask for, or None if they have no resistance."""
        if settings.wire_resistance == 0:
            return None
        together = 2 if settings.scheme is Scheme.DIFFERENTIAL else 1
        lsb = profile.lsb * profile.siemens_per_unit
        return cls(settings.wire_resistance, lsb, settings.wire_model is WireModel.GAINS, together)

    def codes(self, cells: LayerCells, codes: I16, reference: int) -> I16:
        """Return the (rows, cols) codes with which a plain product is one behind wires."""
        found = np.empty_like(codes)
        for tile in cells.tiles:
            here = tile.rows, tile.cols
            h = self.transfer(tile.region, codes[here])
            found[here] = effective_codes(h, self.lsb, self.ohm, reference, self.together)
        return found

    def transfer(self, region: Region, codes: I16) -> F64:
        """Return the transfer of the tile on a region, whose cells have these codes.

        It is kept: after an epoch the classification needs it, and the gains that training goes on with.
        """
        if region not in self._analysed or not np.array_equal(self._analysed[region][0], codes):
            self._analysed[region] = codes.copy(), transfer(codes.astype(np.float64) * self.lsb, self.ohm)
        return self._analysed[region][1]


def first_code(weights: WeightMap, means: npt.NDArray[np.integer]) -> float:
    """Return the mean code of the cells of random initial weights, from the (levels,) means of the device."""
    shares = (np.arange(_WEIGHTS) + 0.5) / _WEIGHTS
    normal = np.array([NormalDist().inv_cdf(share) for share in shares]) / 3.0
    return float(means[weights.block(weights.quantise(normal[:, None])[0])].mean())
