"""Layers that feed one another: a batch on its way through them and back, in parts that take turns."""

from collections import deque
from collections.abc import Generator, Iterable
from copy import copy

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I32, U8
from qcloop.crossbar.crossbar import F64, Crossbar, Layer, Scaled
from qcloop.training.settings import Activation


class Batch:
    """What a batch leaves in each layer of a chain: one row for each vector.

    Parameters
    ----------
    layers : list of Layer
    x : (n, rows) uint8
        Inputs of the first.
    x_scale : (n,) float64, optional
        What one step of them is worth; the largest is 1 otherwise.

    Attributes
    ----------
    inputs : list of (n, rows) uint8
    input_scales : list of (n,) float64
        What one step of them is worth.
    slopes : list of (n, cols) float64
        Slopes of the activations, of all layers but the last.
    deltas : list of (n, cols) float64
        Errors.
    """

    def __init__(self, layers: list[Layer], x: U8, x_scale: F64 | None = None) -> None:
        n = len(x)
        self.inputs = [x, *(np.empty((n, layer.rows), np.uint8) for layer in layers[1:])]
        self.input_scales = [np.empty(n) for _ in layers]
        for layer, scale in zip(layers, self.input_scales, strict=True):
            scale.fill(1.0 / layer.input_top)
        if x_scale is not None:
            self.input_scales[0] = x_scale
        self.slopes = [np.empty((n, layer.cols)) for layer in layers[:-1]]
        self.deltas = [np.empty((n, layer.cols)) for layer in layers]

    def part(self, part: slice) -> "Batch":
        """Return some of the vectors: what is filled there is filled here."""
        if part == slice(0, len(self.inputs[0])):
            return self
        some = copy(self)
        for name, arrays in vars(self).items():
            setattr(some, name, [array[part] for array in arrays])
        return some


#: A part of a batch on its way: it yields what fetches its next products, and is sent them.
Course = Generator[Scaled, tuple[I32, F64], None]

#: Steps of those under way for each course that begins: one leaves the way back idle while vectors of the
#: first layer go out, three the way out (``python benchmarks/bench_link.py``).
_STEPS = 2


def in_turn(courses: Iterable[Course]) -> None:
    """Bring courses to their end, each going a step in its turn: the array is at one, the host at another.

    They begin one after the other. So the vectors of the first layer, most of what goes to the array,
    travel while the products of deeper layers come back.
    """
    running = deque[tuple[Course, Scaled]]()
    for course in courses:
        running.append((course, next(course)))
        for _ in range(_STEPS):
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


class Chain:
    """Layers that feed one another: forward and backward passes of batches through the array's products.

    Parameters
    ----------
    crossbar : Crossbar
        Array of all layers.
    layers : list of Layer
        In their order; filled before the first pass.
    activation : Activation
        Between each two of them.
    """

    def __init__(self, crossbar: Crossbar, layers: list[Layer], activation: Activation) -> None:
        self._crossbar, self._layers, self._activation = crossbar, layers, activation

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        batch, classes = Batch(self._layers, x), np.empty(len(x), np.uint8)

        def classify(part: slice) -> Course:
            y, scale = yield from self._forward(batch.part(part))
            logits: F64 = y * scale[:, None] + self._layers[-1].bias
            classes[part] = logits.argmax(axis=1)

        in_turn(map(classify, self._crossbar.array.parts(len(x))))
        return classes

    def propagate(
        self, batch: Batch, labels: npt.NDArray[np.integer], picked: F64, share: float = 1.0
    ) -> int:
        """Take a batch forward and its errors back; fills what the batch leaves.

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
        kernels, hits = self._crossbar.kernels, 0

        def course(part: slice) -> Course:
            nonlocal hits
            some = batch.part(part)
            y, scale = yield from self._forward(some)
            delta = some.deltas[-1]
            hits += kernels.softmax(y, scale, self._layers[-1].bias, labels[part], delta, picked[part])
            if share != 1.0:
                delta *= share
            for place in range(len(self._layers) - 1, 0, -1):
                layer, slope = self._layers[place], some.slopes[place - 1]
                e, e_scale = yield self._crossbar.start_backward(layer, delta)
                delta = some.deltas[place - 1]
                kernels.propagate(e, e_scale, layer.weight_per_code, slope, delta)

        in_turn(map(course, self._crossbar.array.parts(len(labels))))
        return hits

    def _forward(self, some: Batch) -> Generator[Scaled, tuple[I32, F64], tuple[I32, F64]]:
        """Take vectors through the layers; return the last one's products and their scales."""
        kernels = self._crossbar.kernels
        for place, layer in enumerate(self._layers):
            y, scale = yield self._crossbar.start_forward(layer, some.inputs[place], some.input_scales[place])
            if layer is not self._layers[-1]:
                a, a_scale, slope = some.inputs[place + 1], some.input_scales[place + 1], some.slopes[place]
                if self._activation is Activation.SIGMOID:
                    kernels.sigmoid(y, scale, layer.bias, a, slope)
                else:
                    kernels.relu(y, scale, layer.bias, a, slope, a_scale)
        return y, scale
