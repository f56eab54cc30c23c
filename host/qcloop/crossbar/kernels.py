"""The interface of the crossbar's inner loops, which two modules have: ``compiled`` and ``reference``."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I8, I16, I32, U8

#: Numbers whose largest is smaller than this count as zero: the factor that scales it up to the largest
#: integer would not be finite.
SMALLEST = 1e-300

I64 = npt.NDArray[np.int64]
U16 = npt.NDArray[np.uint16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
#: Weight levels: 8 bits where a weight is one slice, otherwise 16.
Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
#: Products of weights: 32 bits where a weight is one slice, otherwise 64.
Sums = I32 | I64


class CrossbarKernels(Protocol):
    """What a crossbar and its update rules compute with; a module of functions has it.

    Notes
    -----
    The update kernels have these arguments in common:

    x, d : (n, rows) uint8 or int16, (n, cols) int32 or int64
        Inputs and integer errors of a batch. Their product ``x^T d`` is the gradient, whose sums have the
        bits of ``d``.
    factor : float32
        Codes for one unit of that gradient.
    means : (weight levels,) float32
        Code of each weight level, strictly rising.
    reach : float32
        How far a weight may be off its level's mean before it moves; at least half the smallest gap between
        two means, within which no other level is nearer.
    levels : (rows, cols) uint8 or uint16
        Level of each weight; brought up to date here.
    changes : (3, rows * cols) int64
        Filled with (weight, old level, new level) for each change. The number of changes is returned.
    """

    def quantise_vectors(self, delta: F64, d: I8, d_scale: F64) -> None:
        """Fill the signed 8-bit vectors ``d``, each scaled to its own largest value, and their scales."""

    def quantise_batch(self, delta: F64, x_scale: F64, d: I32 | I64, top: float) -> float:
        """Fill the integers ``d`` with delta * x_scale, the largest scaled to ``top``; return the largest."""

    def update_nearest(
        self,
        x: U8 | I16,
        d: I32 | I64,
        factor: np.float32,
        means: F32,
        reach: np.float32,
        levels: Levels,
        changes: I64,
    ) -> int:
        """Move each weight to the level nearest to (its level's mean - factor * gradient)."""

    def update_stochastic(
        self,
        x: U8 | I16,
        d: I32 | I64,
        factor: np.float32,
        means: F32,
        levels: Levels,
        changes: I64,
        words: U16,
    ) -> tuple[int, int]:
        """Round (its level's mean - factor * gradient) to one of the two neighbouring levels, at random.

        The expectation is exact. ``words`` (uint16) has a random number for each weight whose gradient is not
        zero. The number of changes is returned, and that of the random numbers that were used.
        """

    def update_mixed(
        self,
        x: U8 | I16,
        d: I32 | I64,
        factor: np.float32,
        means: F32,
        reach: np.float32,
        levels: Levels,
        changes: I64,
        offsets: F32,
    ) -> int:
        """Descend an accumulator for each weight; list the weights that have crossed a level boundary.

        ``offsets`` (rows, cols) float32 are the accumulators, each as its distance in codes from the mean of
        its level. Beyond the first and the last level an accumulator is held at ``reach``.
        """

    def sum_gradient(self, x: U8 | I16, d: I32 | I64, gradient: I32 | I64) -> None:
        """Fill the (rows, cols) gradient x^T d, which is exact."""

    def move_mixed(
        self, step: F32, means: F32, reach: np.float32, levels: Levels, changes: I64, offsets: F32
    ) -> int:
        """Lower each accumulator by its own ``step``, and go on as :meth:`update_mixed` does.

        ``step`` (rows, cols) float32 is in codes.
        """

    def lower_offsets(self, x: U8 | I16, d: I32 | I64, factor: np.float32, offsets: F32) -> None:
        """Lower the (rows, cols) accumulators ``offsets`` by ``factor`` times the gradient."""

    def settle_slices(
        self,
        means: F32,
        reach: np.float32,
        ratio: np.float32,
        slices: int,
        levels: Levels,
        changes: I64,
        offsets: F32,
    ) -> int:
        """Give each accumulator, as :meth:`update_mixed` has it, the levels of ``slices`` slices.

        ``means`` are those of the levels of a slice, and ``levels`` (rows, cols) uint16 have those of the
        slices as their digits. The last slice moves. Where it would pass an end by ``reach``, it goes back to
        the middle of its range, and the slice before it moves instead; likewise further ones. A code of a
        slice is worth ``ratio`` codes of the next one.
        """

    def update_carry(
        self,
        x: U8 | I16,
        d: I32 | I64,
        factor: np.float32,
        means: F32,
        ratio: np.float32,
        slices: int,
        levels: Levels,
        changes: I64,
        words: U16,
    ) -> tuple[int, int]:
        """Move the last slice of each weight as :meth:`update_stochastic` moves a weight.

        Slices are those of :meth:`settle_slices`. A step that leads past an end of the last one is carried to
        the others before it is rounded.
        """


if TYPE_CHECKING:
    from qcloop.crossbar import compiled, reference

    _IMPLEMENTATIONS: tuple[CrossbarKernels, ...] = (compiled, reference)
