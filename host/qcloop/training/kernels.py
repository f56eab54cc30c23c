"""The interface of the layers' inner loops, which two modules have: ``compiled`` and ``reference``."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I32, U8
from qcloop.crossbar.kernels import Sums

F64 = npt.NDArray[np.float64]


class LayerKernels(Protocol):
    """What a network computes between the products of its layers; a module of functions has it.

    Notes
    -----
    These arguments are common:

    y, scale : (n, cols) int32, (n,) float64
        Products of a layer, and what one step of them is worth.
    bias : (cols,) float64
    x : (n, cols) uint8
        Filled with the activations, which are the inputs of the next layer.
    slope : (n, cols) float64
        Filled with the slopes of the activations.
    delta : (n, cols) float64
        Errors: the derivative of the loss by the layer's sums.
    """

    def sigmoid(self, y: Sums, scale: F64, bias: F64, x: U8, slope: F64) -> None:
        """Fill activations a on 255 steps and slopes a (1 - a) of a sigmoid layer."""

    def relu(self, y: Sums, scale: F64, bias: F64, x: U8, slope: F64, x_scale: F64) -> None:
        """Fill activations, slopes and scales of a ReLU layer, each vector scaled to its largest value."""

    def softmax(
        self, y: Sums, scale: F64, bias: F64, labels: npt.NDArray[Any], delta: F64, picked: F64
    ) -> int:
        """Fill the errors p - onehot(label) and the (n,) probabilities of the labels.

        The number of vectors that were classified correctly is returned.
        """

    def propagate(self, e: Sums, e_scale: F64, gain: float, slope: F64, delta: F64) -> None:
        """Fill delta = e * (e_scale * gain) * slope, with the backward products ``e`` of the next layer."""

    def descend_bias(self, bias: F64, delta: F64, rate: float) -> None:
        """Subtract rate times the sum of ``delta`` over the batch, which is added vector by vector."""

    # -- images ---------------------------------------------------------------------------------
    # They are (n, height, width, channels). Patches of them, and errors of patches, are (n, positions down,
    # positions to the right, kernel height, kernel width, channels).

    def gather(self, x: U8, padding: int, patches: U8) -> None:
        """Fill the patches of images that have ``padding`` zeros on each side."""

    def pool(self, y: Sums, size: int, top: Sums, chosen: I32) -> None:
        """Fill the largest products of squares of ``size`` positions, and the positions that have them.

        ``y`` and ``top`` are images. ``chosen`` is as large as ``top``, and holds the index of a position
        among all of its image; the first of equal products wins.
        """

    def scatter(self, e: Sums, e_scale: F64, gain: float, padding: int, slope: F64, delta: F64) -> None:
        """Fill images ``delta`` = slope times the sum of e * (e_scale * gain) over the patches of a pixel.

        ``e`` are the backward products of patches, and ``e_scale`` (n, positions down, positions to the
        right) what one step of them is worth. They are added in the order of the positions.
        """

    def route(self, errors: F64, chosen: I32, delta: F64) -> None:
        """Fill (n, positions, channels) ``delta`` with the errors (n, squares, channels) of pooled products.

        Each goes to the position that was ``chosen``, (n, squares, channels); the others are 0.
        """


if TYPE_CHECKING:
    from qcloop.training import compiled, reference

    _IMPLEMENTATIONS: tuple[LayerKernels, ...] = (compiled, reference)
