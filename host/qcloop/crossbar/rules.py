"""Update rules: how the gradient of a batch becomes new levels of a layer's weights.

A further rule is one class here and its line in :class:`Update`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np

from qcloop.array.generator import Grng16
from qcloop.contract.types import I16, I32, U8
from qcloop.crossbar.kernels import F32, I64, CrossbarKernels, Levels
from qcloop.crossbar.weights import MAX_SLICES, WeightMap


class UpdateRule(ABC):
    """The update rule of one layer, with all that it remembers between two batches.

    Parameters
    ----------
    weights : WeightMap
        Codes of the weight levels.
    cols : int
        Columns of weights in the layer.
    kernels : CrossbarKernels
    words : Grng16
        Random words, which all layers of a crossbar draw from in the order of their updates.

    Attributes
    ----------
    memory : (rows, cols) float32
        What the rule remembers of each weight, as a checkpoint keeps it; (0, cols) for a rule that remembers
        nothing.
    """

    #: Settings that suit the rule, by name: they apply where a user leaves a setting open.
    defaults: ClassVar[Mapping[str, Any]] = {}
    #: Whether :attr:`memory` has a number for each weight.
    remembers: ClassVar[bool] = False
    #: Fewest and most slices of a weight that the rule programs.
    slices: ClassVar[tuple[int, int]] = (1, 1)

    def __init__(self, weights: WeightMap, cols: int, kernels: CrossbarKernels, words: Grng16) -> None:
        self.weights, self.kernels, self.words = weights, kernels, words
        self.memory: F32 = np.zeros((0, cols), np.float32)

    def start(self, remainders: F32) -> None:  # noqa: B027  # most rules remember nothing of it
        """Begin with initial weights.

        ``remainders`` (rows, cols) are what the rounding to levels took from each weight, in codes.
        """

    @abstractmethod
    def descend(self, x: U8 | I16, d: I32 | I64, factor: np.float32, levels: Levels, changes: I64) -> int:
        """Descend along a gradient, and return how many weights change their level.

        Parameters
        ----------
        x, d : (n, rows) uint8 or int16, (n, cols) int32 or int64
            Inputs and integer errors of a batch. The gradient is ``x^T d``.
        factor : float32
            Codes for one unit of that gradient.
        levels : (rows, cols) uint8 or uint16
            Level of each weight; brought up to date here.
        changes : (3, rows * cols) int64
            Filled with (weight, old level, new level) for each change.
        """


class NearestRule(UpdateRule):
    """Nearest level of (mean of the level - rate * gradient)."""

    # Without a float copy of the weights, a step must be about a level wide to have an effect: that takes a
    # larger rate on a narrower grid.
    defaults: ClassVar[Mapping[str, Any]] = {"rate": 1.284, "decay": 0.909, "weight_range": 9.29, "batch": 36}

    def descend(self, x: U8 | I16, d: I32 | I64, factor: np.float32, levels: Levels, changes: I64) -> int:
        """See :meth:`UpdateRule.descend`."""
        weights = self.weights
        return self.kernels.update_nearest(x, d, factor, weights.means, weights.reach, levels, changes)


class StochasticRule(UpdateRule):
    """One of the two levels next to (mean of the level - rate * gradient), at random."""

    def descend(self, x: U8 | I16, d: I32 | I64, factor: np.float32, levels: Levels, changes: I64) -> int:
        """See :meth:`UpdateRule.descend`."""
        most = int(np.count_nonzero(x.any(axis=0))) * levels.shape[1]
        words = self.words.peek_words(most)
        n, used = self.kernels.update_stochastic(x, d, factor, self.weights.means, levels, changes, words)
        self.words.skip(used)
        return n


class MixedRule(UpdateRule):
    """A float accumulator for each weight; its :attr:`memory` is their distances from the levels' means."""

    remembers = True
    slices = 1, MAX_SLICES

    def start(self, remainders: F32) -> None:
        """Let the accumulators begin at the weights that were asked for."""
        self.memory = remainders

    def descend(self, x: U8 | I16, d: I32 | I64, factor: np.float32, levels: Levels, changes: I64) -> int:
        """See :meth:`UpdateRule.descend`."""
        weights = self.weights
        if weights.slices > 1:
            self.kernels.lower_offsets(x, d, factor, self.memory)
            return self._settle(levels, changes)
        return self.kernels.update_mixed(
            x, d, factor, weights.means, weights.reach, levels, changes, self.memory
        )

    def move(self, step: F32, levels: Levels, changes: I64) -> int:
        """Lower the accumulators by (rows, cols) float32 codes; return how many weights change their level.

        ``levels`` and ``changes`` are those of :meth:`UpdateRule.descend`.
        """
        weights = self.weights
        if weights.slices > 1:
            self.memory -= step
            return self._settle(levels, changes)
        return self.kernels.move_mixed(step, weights.means, weights.reach, levels, changes, self.memory)

    def _settle(self, levels: Levels, changes: I64) -> int:
        """Let the slices of each weight follow its accumulator; return how many weights change."""
        weights = self.weights
        return self.kernels.settle_slices(
            weights.ladder, weights.reach, weights.ratio, weights.slices, levels, changes, self.memory
        )


class CarryRule(UpdateRule):
    """The last slice moves as weights do in ``stochastic``; what passes its ends is carried to the others.

    Nothing but the devices remembers a step: the last slice is the accumulator.
    """

    slices = 2, MAX_SLICES

    def descend(self, x: U8 | I16, d: I32 | I64, factor: np.float32, levels: Levels, changes: I64) -> int:
        """See :meth:`UpdateRule.descend`."""
        weights = self.weights
        most = int(np.count_nonzero(x.any(axis=0))) * levels.shape[1]
        words = self.words.peek_words(most)
        n, used = self.kernels.update_carry(
            x, d, factor, weights.ladder, weights.ratio, weights.slices, levels, changes, words
        )
        self.words.skip(used)
        return n


class Update(StrEnum):
    """Update rules by the name that a user writes."""

    #: Class of the rule.
    rule: type[UpdateRule]

    # The default lets type checkers accept Update("mixed"), which looks a member up and makes none.
    def __new__(cls, name: str, rule: type[UpdateRule] = UpdateRule) -> Self:
        """Make the member that a user calls ``name``."""
        member = str.__new__(cls, name)
        member._value_, member.rule = name, rule
        return member

    #: Nearest level of (level - rate * gradient); no float copy of the weights (the paper).
    NEAREST = "nearest", NearestRule
    #: One of the two neighbouring levels at random, so that the expectation is exact; no float copy.
    STOCHASTIC = "stochastic", StochasticRule
    #: Float accumulators on the host; a cell is programmed when a level boundary is crossed.
    MIXED = "mixed", MixedRule
    #: The finest cell moves at random, so that the expectation is exact; what passes its ends is carried.
    CARRY = "carry", CarryRule
