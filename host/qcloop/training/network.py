"""A network whose weights are devices of an array: products from the array, the rest on the host."""

from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, Region
from qcloop.array.contract import I32, U8
from qcloop.errors import ConfigError
from qcloop.training.crossbar import F64, Crossbar
from qcloop.training.settings import Activation, Bias, RunSettings


@dataclass
class Pass:
    """What a forward pass leaves for the backward pass, layer by layer."""

    inputs: list[U8]
    input_scales: list[F64]
    slopes: list[F64]
    product: I32
    scale: F64


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

    # -- products -------------------------------------------------------------------------------

    def run(self, x: U8) -> Pass:
        """Run (n, inputs) uint8 vectors through the network."""
        inputs, slopes = [x], list[F64]()
        scales = [np.full(len(x), 1.0 / self.layers[0].input_top)]
        for layer in self.layers:
            y, scale = self.forward(layer, inputs[-1], scales[-1])
            if layer is self.layers[-1]:
                return Pass(inputs, scales, slopes, y, scale)
            a, slope, a_scale = np.empty(y.shape, np.uint8), np.empty(y.shape), np.full(len(x), 1.0 / 255.0)
            if self.settings.activation is Activation.SIGMOID:
                self.kernels.sigmoid(y, scale, layer.bias, a, slope)
            else:
                self.kernels.relu(y, scale, layer.bias, a, slope, a_scale)
            inputs.append(a)
            scales.append(a_scale)
            slopes.append(slope)
        raise AssertionError  # a network has layers: RunSettings sees to it

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        done = self.run(x)
        logits: F64 = done.product * done.scale[:, None] + self.layers[-1].bias
        classes: U8 = logits.argmax(axis=1).astype(np.uint8)
        return classes

    # -- training -------------------------------------------------------------------------------

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
        kernels, n = self.kernels, len(x)
        done = self.run(x)
        delta = np.empty(done.product.shape)
        hits = kernels.softmax(done.product, done.scale, self.layers[-1].bias, labels, delta, picked)
        for layer in reversed(self.layers):
            index, ahead = layer.index, None
            if index > 0:  # the error below comes from the cells as they were in the forward pass
                e, e_scale = self.backward(layer, delta)
                ahead = np.empty(e.shape)
                kernels.propagate(e, e_scale, layer.weight_per_code, done.slopes[index - 1], ahead)
            self.update(layer, done.inputs[index], done.input_scales[index], delta, rate / n)
            if self.settings.bias is Bias.FLOAT:
                kernels.descend_bias(layer.bias, delta, rate / n)
            if ahead is not None:
                delta = ahead
        return int(hits)

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
