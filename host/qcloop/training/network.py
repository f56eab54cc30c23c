"""A network whose weights are devices of an array: products from the array, the rest on the host."""

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy.typing as npt

from qcloop.array import Array
from qcloop.contract.types import U8, Region
from qcloop.crossbar.crossbar import F64, Crossbar
from qcloop.errors import ConfigError
from qcloop.training.chain import Batch, Chain
from qcloop.training.settings import Bias, RunSettings


class Network(Crossbar):
    """Layers that feed one another, trained by back-propagation through the array's own products.

    Parameters
    ----------
    settings : RunSettings
    array : Array
        Configured; the layers are laid out from word 0 on.
    kernels : module
        ``qcloop.training.compiled`` or ``qcloop.training.reference``.

    Raises
    ------
    ConfigError
        If the layers do not fit the array.
    """

    def __init__(self, settings: RunSettings, array: Array, kernels: ModuleType) -> None:
        super().__init__(settings, array, kernels)
        self._chain = Chain(self, self.layers, settings.activation)
        shapes, config = list(pairwise(settings.layer_sizes())), array.config
        words = sum(Region(0, rows, cols * self.weights.devices).end(config) for rows, cols in shapes)
        if words > config.words:
            raise ConfigError(
                f"network {settings.network} needs {words * config.lanes} cells ({settings.scheme}, "
                f"{config.lanes} lanes), but the array has {config.cells}: "
                "use a smaller network or more cells"
            )
        for index, (rows, cols) in enumerate(shapes):
            self.add_layer(rows, cols, settings.input_bits if index == 0 else 8)

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        return self._chain.predict(x)

    def train_batch(self, x: U8, labels: U8, rate: float, picked: F64) -> int:
        """Do one step of gradient descent on a batch.

        Parameters
        ----------
        x, labels : (n, inputs) uint8 and (n,) uint8
        rate : float
            Learning rate; the gradient is that of the mean cross-entropy of the batch.
        picked : (n,) float64
            Filled with the probability the network gave to each label before the step.

        Returns
        -------
        int
            Images that were classified correctly before the step.
        """
        batch, n = Batch(self.layers, x), len(x)
        hits = self._chain.propagate(batch, labels, picked)
        for layer in reversed(self.layers):  # only now: all errors came from the cells of the forward pass
            delta = batch.deltas[layer.index]
            self.update(layer, batch.inputs[layer.index], batch.input_scales[layer.index], delta, rate / n)
            if self.settings.bias is Bias.FLOAT:
                self.kernels.descend_bias(layer.bias, delta, rate / n)
        return hits

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything a checkpoint needs about layers, cells and writes, by name."""
        state = self.ledger.state()
        for layer in self.layers:
            state |= {f"layer{layer.index}.{name}": v for name, v in self.layer_state(layer).items()}
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put layers, cells and writes back to a :meth:`state`."""
        self.ledger.restore(state)
        for layer in self.layers:
            prefix = f"layer{layer.index}."
            own = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
            self.restore_layer(layer, own)
