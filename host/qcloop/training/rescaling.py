"""One factor for all products of a layer, which makes up for what time has done to its devices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from qcloop.contract.types import U8
from qcloop.training.array_network import ArrayNetwork
from qcloop.training.network import Network

#: Smallest and largest factor. Sums that have nothing left of what they were would ask for any.
LEAST_RESCALING, MOST_RESCALING = 1 / 8, 8.0


class Rescaling:
    """Remembers how large the sums of each layer are now, and later finds the factors that restore it.

    The factor of a layer is the mean magnitude of its sums now over that of its sums later, for the same
    vectors: those that the layer multiplies now for some images. It is the global drift compensation of
    Joshi et al., Nat. Commun. 11, 2473 (2020), for sums with a sign.

    Parameters
    ----------
    network : Network or ArrayNetwork
        As it was trained.
    x : (n, inputs) uint8
        The images.
    """

    def __init__(self, network: Network | ArrayNetwork, x: U8) -> None:
        self._network = network
        with network.crossbar.behind_wires():
            self._vectors = network.vectors(x)
        self._then = self._magnitudes()

    def _magnitudes(self) -> list[float]:
        """Return the mean magnitude of the sums of each layer."""
        crossbar, found = self._network.crossbar, []
        with crossbar.behind_wires():
            for layer, (x, x_scale) in zip(self._network.layers, self._vectors, strict=True):
                products, scale = crossbar.start_forward(layer, x, x_scale)()
                found.append(float(np.abs(products * scale[:, None]).mean()))
        return found

    def factors(self) -> tuple[float, ...]:
        """Return the factor of each layer for the devices as they are now, 1/8 to 8."""
        return tuple(
            min(max(then / now, LEAST_RESCALING), MOST_RESCALING) if now else 1.0
            for then, now in zip(self._then, self._magnitudes(), strict=True)
        )

    @contextmanager
    def applied(self, factors: Sequence[float]) -> Iterator[None]:
        """Multiply all products of each layer by its factor, until the end of a ``with`` block."""
        layers = self._network.layers
        before = [layer.weight_per_code for layer in layers]
        for layer, factor in zip(layers, factors, strict=True):
            layer.weight_per_code *= factor
        try:
            self._network.refresh()
            yield
        finally:
            for layer, value in zip(layers, before, strict=True):
                layer.weight_per_code = value
            self._network.refresh()
