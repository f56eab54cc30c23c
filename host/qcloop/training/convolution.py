"""The numbers of a batch in a layer that convolves images: its patches, and the errors of its products."""

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I32, U8
from qcloop.crossbar.kernels import Sums
from qcloop.training.geometry import Convolution
from qcloop.training.kernels import F64, LayerKernels


class PatchBatch:
    """Takes images to the vectors of a layer, its products to images, and errors the same way back.

    Parameters
    ----------
    convolution : Convolution
    n : int
        Images.

    Notes
    -----
    Each patch of an image is a vector. It has the scale of its image, so that products of one image can be
    compared as integers: pooling takes the largest of them, before the activation, which never falls.
    """

    def __init__(self, convolution: Convolution, n: int) -> None:
        self._shape = c = convolution
        self._patches: npt.NDArray[Any] = np.empty((n, *c.positions, c.size, c.size, c.channels), np.uint8)
        self._scales: F64 = np.empty((n, *c.positions))
        self._deltas: F64 = np.empty((n, c.vectors, c.kernels))
        self._top: I32 = np.empty((n, *c.pooled, c.kernels), np.int32)
        self._chosen: I32 = np.empty_like(self._top)

    def view(self, images: slice) -> "PatchBatch":
        """Return the numbers of some of the images; what is written to them is written to these."""
        some = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(some, name, value[images])
        return some

    @property
    def vectors(self) -> tuple[U8, F64, F64]:
        """Vectors (n * positions, rows), their scales, and errors (n * positions, cols) of their products."""
        c = self._shape
        x = self._patches.reshape(-1, c.size * c.size * c.channels)
        return x, self._scales.reshape(-1), self._deltas.reshape(-1, c.kernels)

    def gather(self, kernels: LayerKernels, x: U8, x_scale: F64) -> tuple[U8, F64]:
        """Return the vectors of images, and their scales.

        ``x`` (n, inputs) are the images, and ``x_scale`` (n,) what one step of them is worth.
        """
        c = self._shape
        kernels.gather(x.reshape(-1, c.height, c.width, c.channels), c.padding, self._patches)
        self._scales[:] = x_scale[:, None, None]
        return self.vectors[:2]

    def pool(self, kernels: LayerKernels, y: Sums, scale: F64, bias: F64) -> tuple[Sums, F64, F64]:
        """Return products, scales and biases of the images (n, outputs) that come out of the layer.

        ``y`` and ``scale`` are those of the vectors, and ``bias`` (cols,) is the layer's.
        """
        c, n = self._shape, len(self._top)
        if c.pool > 1:
            top = self._top if y.dtype == self._top.dtype else np.empty(self._top.shape, y.dtype)
            kernels.pool(y.reshape(n, *c.positions, c.kernels), c.pool, top, self._chosen)
            y = top
        return y.reshape(n, c.outputs), scale[:: c.vectors], np.tile(bias, c.outputs // c.kernels)

    def route(self, kernels: LayerKernels, errors: F64) -> F64:
        """Return the errors of the vectors' products for the (n, outputs) errors of what came out."""
        c, n = self._shape, len(self._top)
        squares = n, c.outputs // c.kernels, c.kernels
        if c.pool > 1:
            kernels.route(errors.reshape(squares), self._chosen.reshape(squares), self._deltas)
        else:
            self._deltas[:] = errors.reshape(squares)
        return self.vectors[2]

    def scatter(
        self, kernels: LayerKernels, e: Sums, e_scale: F64, gain: float, slope: F64, delta: F64
    ) -> None:
        """Fill the (n, inputs) errors of images from the backward products of their patches.

        See :meth:`LayerKernels.propagate`, which does it for a plain layer.
        """
        c = self._shape
        image = len(delta), c.height, c.width, c.channels
        e, e_scale = e.reshape(self._patches.shape), e_scale.reshape(self._scales.shape)
        kernels.scatter(e, e_scale, gain, c.padding, slope.reshape(image), delta.reshape(image))
