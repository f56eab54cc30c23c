"""A network whose weights are devices of an array: products from the array, the rest on the host."""

from collections import deque
from collections.abc import Generator, Iterable
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, Region
from qcloop.array.contract import I32, U8
from qcloop.errors import ConfigError
from qcloop.training.crossbar import F64, Crossbar, Layer, Scaled
from qcloop.training.settings import Activation, Bias, RunSettings


class Batch:
    """What a batch leaves in each layer: one row for each vector.

    Attributes
    ----------
    inputs : list of (n, rows) uint8
    input_scales : list of (n,) float64
        What one step of them is worth.
    slopes : list of (n, cols) float64
        Slopes of the activations, of all layers but the last.
    deltas : list of (n, cols) float64
        Errors.
    hits : int
        Vectors that were classified correctly.
    """

    def __init__(self, layers: list[Layer], x: U8) -> None:
        n = len(x)
        self.inputs = [x, *(np.empty((n, layer.rows), np.uint8) for layer in layers[1:])]
        self.input_scales = [np.full(n, 1.0 / layer.input_top) for layer in layers]
        self.slopes = [np.empty((n, layer.cols)) for layer in layers[:-1]]
        self.deltas = [np.empty((n, layer.cols)) for layer in layers]
        self.hits = 0


#: A part of a batch on its way: it yields what fetches its next products, and is sent them.
Course = Generator[Scaled, tuple[I32, F64], None]


def in_turn(courses: Iterable[Course]) -> None:
    """Bring courses to their end, each going a step in its turn: the array is at one, the host at another.

    They begin one after the other. So the vectors of the first layer, most of what goes to the array,
    travel while the products of deeper layers come back.
    """
    running = deque[tuple[Course, Scaled]]()
    for course in courses:
        running.append((course, next(course)))
        if len(running) > 1:
            _go_on(running)
    while running:
        _go_on(running)


def _go_on(running: deque[tuple[Course, Scaled]]) -> None:
    """Bring the course that has waited longest a step further."""
    course, fetch = running.popleft()
    try:
        following = course.send(fetch())
    except StopIteration:
        return  # it has come to its end
    running.append((course, following))


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

    def _forward(self, batch: Batch, part: slice) -> Generator[Scaled, tuple[I32, F64], tuple[I32, F64]]:
        """Take a part of a batch through the layers; return the last one's products and their scales."""
        for layer in self.layers:
            x, x_scale = batch.inputs[layer.index][part], batch.input_scales[layer.index][part]
            y, scale = yield self.start_forward(layer, x, x_scale)
            if layer is not self.layers[-1]:
                a, a_scale = batch.inputs[layer.index + 1][part], batch.input_scales[layer.index + 1][part]
                slope = batch.slopes[layer.index][part]
                if self.settings.activation is Activation.SIGMOID:
                    self.kernels.sigmoid(y, scale, layer.bias, a, slope)
                else:
                    self.kernels.relu(y, scale, layer.bias, a, slope, a_scale)
        return y, scale

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        batch, classes = Batch(self.layers, x), np.empty(len(x), np.uint8)

        def classify(part: slice) -> Course:
            y, scale = yield from self._forward(batch, part)
            logits: F64 = y * scale[:, None] + self.layers[-1].bias
            classes[part] = logits.argmax(axis=1)

        in_turn(map(classify, self.array.parts(len(x))))
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
        batch, n = Batch(self.layers, x), len(x)

        def propagate(part: slice) -> Course:
            y, scale = yield from self._forward(batch, part)
            last = self.layers[-1]
            delta = batch.deltas[-1][part]
            batch.hits += self.kernels.softmax(y, scale, last.bias, labels[part], delta, picked[part])
            for layer, below in pairwise(reversed(self.layers)):
                e, e_scale = yield self.start_backward(layer, delta)
                slope, delta = batch.slopes[below.index][part], batch.deltas[below.index][part]
                self.kernels.propagate(e, e_scale, layer.weight_per_code, slope, delta)

        in_turn(map(propagate, self.array.parts(n)))
        for layer in reversed(self.layers):  # only now: all errors came from the cells of the forward pass
            delta = batch.deltas[layer.index]
            self.update(layer, batch.inputs[layer.index], batch.input_scales[layer.index], delta, rate / n)
            if self.settings.bias is Bias.FLOAT:
                self.kernels.descend_bias(layer.bias, delta, rate / n)
        return batch.hits

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
