"""Layers that feed one another: a batch passes forward through them and its errors backward.

An array behind a link multiplies a *micro-batch*, a piece of the batch, while the host works on another. The
way of one micro-batch through the layers is a *pass*; several passes are interleaved.
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, U8
from qcloop.crossbar.crossbar import LayeredCrossbar, Scaled
from qcloop.crossbar.kernels import Sums
from qcloop.crossbar.layer import Layer
from qcloop.errors import DivergenceError
from qcloop.jit import kernel
from qcloop.training import compiled
from qcloop.training.convolution import PatchBatch
from qcloop.training.geometry import Convolution
from qcloop.training.kernels import F64, LayerKernels
from qcloop.training.settings import Activation


class Batch:
    """The numbers of a batch in each layer of a chain, one row for each vector or image.

    Parameters
    ----------
    layers : list of Layer
    x : (n, inputs) uint8, or int16 for signed inputs
        Inputs of the first layer.
    x_scale : (n,) float64, optional
        What one step of these inputs is worth. If it is left out, the largest input is worth 1.
    convolutions : sequence of Convolution or None
        What the layers convolve; may be left out where they all are plain.

    Attributes
    ----------
    inputs : list of (n, inputs) uint8, the first as ``x``
        Inputs of each layer.
    input_scales : list of (n,) float64
        What one step of these inputs is worth.
    slopes : list of (n, outputs) float64
        Slopes of the activations behind each layer but the last.
    deltas : list of (n, outputs) float64
        Errors of each layer: the derivative of the loss by its sums, of those that pooling lets through.
    patches : list of PatchBatch or None
        Patches of the layers that convolve.
    """

    def __init__(
        self,
        layers: list[Layer],
        x: U8 | I16,
        x_scale: F64 | None = None,
        convolutions: Sequence[Convolution | None] = (),
    ) -> None:
        n, kinds = len(x), convolutions or [None] * len(layers)
        outputs = [
            layer.cols if kind is None else kind.outputs for layer, kind in zip(layers, kinds, strict=True)
        ]
        self.inputs: list[npt.NDArray[Any]] = [
            x,
            *(np.empty((n, numbers), np.uint8) for numbers in outputs[:-1]),
        ]
        self.input_scales = [np.empty(n) for _ in layers]
        for layer, scale in zip(layers, self.input_scales, strict=True):
            scale.fill(1.0 / layer.input_top)
        if x_scale is not None:
            self.input_scales[0] = x_scale
        self.slopes = [np.empty((n, numbers)) for numbers in outputs[:-1]]
        self.deltas = [np.empty((n, numbers)) for numbers in outputs]
        self.patches = [None if kind is None else PatchBatch(kind, n) for kind in kinds]

    def view(self, rows: slice) -> "Batch":
        """Return some of the vectors as a batch; what is written to it is written to this one."""
        if rows == slice(0, len(self.inputs[0])):
            return self
        some = copy(self)
        for name in ("inputs", "input_scales", "slopes", "deltas"):
            setattr(some, name, [array[rows] for array in getattr(self, name)])
        some.patches = [None if patches is None else patches.view(rows) for patches in self.patches]
        return some

    def vectors(self, index: int) -> tuple[npt.NDArray[Any], F64, F64]:
        """Return the vectors that a layer has multiplied, their scales, and the errors of its products."""
        patches = self.patches[index]
        if patches is None:
            return self.inputs[index], self.input_scales[index], self.deltas[index]
        return patches.vectors


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
Pass = Generator[Scaled, tuple[Sums, F64], None]

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
    convolutions : sequence of Convolution or None
        What the layers convolve; may be left out where they all are plain.
    """

    def __init__(
        self,
        crossbar: LayeredCrossbar,
        layers: list[Layer],
        activation: Activation,
        kernels: LayerKernels = compiled,
        convolutions: Sequence[Convolution | None] = (),
    ) -> None:
        self._crossbar, self._layers, self._activation = crossbar, layers, activation
        self._kernels, self._convolutions = kernels, convolutions

    def batch(self, x: U8) -> Batch:
        """Return room for the numbers of a batch of (n, inputs) uint8 vectors."""
        return Batch(self._layers, x, convolutions=self._convolutions)

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        batch, classes = self.batch(x), np.empty(len(x), np.uint8)

        def classify(rows: slice) -> Pass:
            y, scale = yield from self._forward(batch.view(rows))
            logits: F64 = y * scale[:, None] + self._layers[-1].bias
            classes[rows] = logits.argmax(axis=1)

        interleave(map(classify, self._crossbar.array.micro_batches(len(x))))
        return classes

    def vectors(self, x: U8) -> list[tuple[npt.NDArray[Any], F64]]:
        """Return the vectors that each layer multiplies for (n, inputs) uint8 vectors, and their scales."""
        batch = self.batch(x)

        def forward(rows: slice) -> Pass:
            yield from self._forward(batch.view(rows))

        interleave(map(forward, self._crossbar.array.micro_batches(len(x))))
        return [batch.vectors(index)[:2] for index in range(len(self._layers))]

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
                layer, slope, patches = self._layers[index], some.slopes[index - 1], some.patches[index]
                if patches is not None:
                    delta = patches.route(kernels, delta)
                e, e_scale = yield self._crossbar.start_backward(layer, delta)
                check_finite("the scale of the errors", layer, e_scale)
                delta = some.deltas[index - 1]
                propagate = kernels.propagate if patches is None else partial(patches.scatter, kernels)
                propagate(e, e_scale, layer.weight_per_code, slope, delta)
            if some.patches[0] is not None:
                some.patches[0].route(kernels, delta)

        interleave(map(forward_and_backward, self._crossbar.array.micro_batches(len(labels))))
        return hits

    def _forward(self, some: Batch) -> Generator[Scaled, tuple[Sums, F64], tuple[Sums, F64]]:
        """Take vectors through the layers; return the last one's products and their scales."""
        kernels = self._kernels
        for index, layer in enumerate(self._layers):
            x, x_scale, bias = some.inputs[index], some.input_scales[index], layer.bias
            patches = some.patches[index]
            if patches is not None:
                x, x_scale = patches.gather(kernels, x, x_scale)
            y, scale = yield self._crossbar.start_forward(layer, x, x_scale)
            check_finite("the scale of the products", layer, scale)
            check_finite("the bias", layer, bias)
            if patches is not None:
                y, scale, bias = patches.pool(kernels, y, scale, bias)
            if layer is not self._layers[-1]:
                a, a_scale, slope = some.inputs[index + 1], some.input_scales[index + 1], some.slopes[index]
                if self._activation is Activation.SIGMOID:
                    kernels.sigmoid(y, scale, bias, a, slope)
                else:
                    kernels.relu(y, scale, bias, a, slope, a_scale)
        return y, scale
