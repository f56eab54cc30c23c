"""Layers that feed one another: a batch passes forward through them and its errors backward.

An array behind a link multiplies a *micro-batch*, a piece of the batch, while the host works on another. The
way of one micro-batch through the layers is a *pass*; several passes are interleaved.
"""

from collections import deque
from collections.abc import Generator, Iterable
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, I32, U8
from qcloop.crossbar.crossbar import Layer, LayeredCrossbar, Scaled
from qcloop.errors import DivergenceError
from qcloop.jit import kernel
from qcloop.training import compiled
from qcloop.training.kernels import F64, LayerKernels
from qcloop.training.settings import Activation


class Batch:
    """The numbers of a batch in each layer of a chain, one row for each vector.

    Parameters
    ----------
    layers : list of Layer
    x : (n, rows) uint8, or int16 for signed inputs
        Inputs of the first layer.
    x_scale : (n,) float64, optional
        What one step of these inputs is worth. If it is left out, the largest input is worth 1.

    Attributes
    ----------
    inputs : list of (n, rows) uint8, the first as ``x``
        Inputs of each layer.
    input_scales : list of (n,) float64
        What one step of these inputs is worth.
    slopes : list of (n, cols) float64
        Slopes of the activations behind each layer but the last.
    deltas : list of (n, cols) float64
        Errors of each layer: the derivative of the loss by its sums.
    """

    def __init__(self, layers: list[Layer], x: U8 | I16, x_scale: F64 | None = None) -> None:
        n = len(x)
        self.inputs: list[npt.NDArray[Any]] = [
            x,
            *(np.empty((n, layer.rows), np.uint8) for layer in layers[1:]),
        ]
        self.input_scales = [np.empty(n) for _ in layers]
        for layer, scale in zip(layers, self.input_scales, strict=True):
            scale.fill(1.0 / layer.input_top)
        if x_scale is not None:
            self.input_scales[0] = x_scale
        self.slopes = [np.empty((n, layer.cols)) for layer in layers[:-1]]
        self.deltas = [np.empty((n, layer.cols)) for layer in layers]

    def view(self, rows: slice) -> "Batch":
        """Return some of the vectors as a batch; what is written to it is written to this one."""
        if rows == slice(0, len(self.inputs[0])):
            return self
        some = copy(self)
        for name, arrays in vars(self).items():
            setattr(some, name, [array[rows] for array in arrays])
        return some


#: Scales and biases stay below this, so that sums and products of two of them are finite. Beyond it the
#: exponential would look up what is not in its table.
_MOST = 1e150


@kernel
def _within(values: F64, most: float) -> bool:
    for k in range(len(values)):  # noqa: SIM110  # numba has no generators as arguments
        if not abs(values[k]) < most:  # NaN, too
            return False
    return True


def check_finite(what: str, layer: Layer, values: F64) -> None:
    """Raise DivergenceError, which names a quantity and its layer, unless all values are finite."""
    if not _within(values, _MOST):
        worst = float(values[np.argmax(np.nan_to_num(np.abs(values), nan=np.inf))])
        raise DivergenceError(f"{what} of layer {layer.index + 1} is {worst:g}")


#: The way of a micro-batch through the layers. It yields what waits for its next products, and is sent them.
Pass = Generator[Scaled, tuple[I32, F64], None]

#: Steps that running passes make before a further one begins. With one step, the line from the array is
#: idle while vectors of the first layer are sent; with three, the line to the array is idle
#: (``python benchmarks/bench_link.py``).
_STEPS = 2


def interleave(passes: Iterable[Pass]) -> None:
    """Run passes to their end, a step of each after another, so that array and host work at the same time.

    The passes begin one after another. So the vectors of the first layer, most of what is sent to the array,
    travel while the products of deeper layers come back.
    """
    running = deque[tuple[Pass, Scaled]]()
    for begun in passes:
        running.append((begun, next(begun)))
        for _ in range(_STEPS):
            if len(running) > 1:
                _step(running)
    while running:
        _step(running)


def _step(running: deque[tuple[Pass, Scaled]]) -> None:
    """Take the pass that has waited longest a step further; remove it when it has ended."""
    oldest, products = running.popleft()
    try:
        following = oldest.send(products())
    except StopIteration:
        return
    running.append((oldest, following))


class Chain:
    """Layers that feed one another: forward and backward passes of batches, multiplied by the array.

    Parameters
    ----------
    crossbar : LayeredCrossbar
        Has all of the layers.
    layers : list of Layer
        In their order.
    activation : Activation
        Function between each two of them.
    kernels : LayerKernels
        Module ``qcloop.training.compiled`` (default) or ``qcloop.training.reference``. Both give the same
        bits.
    """

    def __init__(
        self,
        crossbar: LayeredCrossbar,
        layers: list[Layer],
        activation: Activation,
        kernels: LayerKernels = compiled,
    ) -> None:
        self._crossbar, self._layers, self._activation = crossbar, layers, activation
        self._kernels = kernels

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        batch, classes = Batch(self._layers, x), np.empty(len(x), np.uint8)

        def classify(rows: slice) -> Pass:
            y, scale = yield from self._forward(batch.view(rows))
            logits: F64 = y * scale[:, None] + self._layers[-1].bias
            classes[rows] = logits.argmax(axis=1)

        interleave(map(classify, self._crossbar.array.micro_batches(len(x))))
        return classes

    def propagate(
        self, batch: Batch, labels: npt.NDArray[np.integer], picked: F64, share: float = 1.0
    ) -> int:
        """Take a batch forward and its errors backward; fills inputs, slopes and errors of the batch.

        Parameters
        ----------
        batch : Batch
        labels : (n,) integers
            Classes.
        picked : (n,) float64
            Filled with the probability given to each label.
        share : float
            Factor of each vector's cross-entropy in the loss.

        Returns
        -------
        int
            Vectors that were classified correctly.
        """
        kernels, hits = self._kernels, 0

        def forward_and_backward(rows: slice) -> Pass:
            nonlocal hits
            some = batch.view(rows)
            y, scale = yield from self._forward(some)
            delta = some.deltas[-1]
            hits += kernels.softmax(y, scale, self._layers[-1].bias, labels[rows], delta, picked[rows])
            if share != 1.0:
                delta *= share
            for index in range(len(self._layers) - 1, 0, -1):
                layer, slope = self._layers[index], some.slopes[index - 1]
                e, e_scale = yield self._crossbar.start_backward(layer, delta)
                check_finite("the scale of the errors", layer, e_scale)
                delta = some.deltas[index - 1]
                kernels.propagate(e, e_scale, layer.weight_per_code, slope, delta)

        interleave(map(forward_and_backward, self._crossbar.array.micro_batches(len(labels))))
        return hits

    def _forward(self, some: Batch) -> Generator[Scaled, tuple[I32, F64], tuple[I32, F64]]:
        """Take vectors through the layers; return the last one's products and their scales."""
        kernels = self._kernels
        for index, layer in enumerate(self._layers):
            y, scale = yield self._crossbar.start_forward(layer, some.inputs[index], some.input_scales[index])
            check_finite("the scale of the products", layer, scale)
            check_finite("the bias", layer, layer.bias)
            if layer is not self._layers[-1]:
                a, a_scale, slope = some.inputs[index + 1], some.input_scales[index + 1], some.slopes[index]
                if self._activation is Activation.SIGMOID:
                    kernels.sigmoid(y, scale, layer.bias, a, slope)
                else:
                    kernels.relu(y, scale, layer.bias, a, slope, a_scale)
        return y, scale
