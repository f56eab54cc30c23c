"""The training step on the array: operations of an array that has the part ``LEARNING``."""

import numpy as np
import numpy.typing as npt

from qcloop.array.checks import ArrayChecks, check_type, checked_bits
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import ACCUMULATOR_MAX, TrainingPlan, TrainingResult, check_labels
from qcloop.contract.types import I16, U8, Region
from qcloop.errors import ArrayError


class LearningOperations(ArrayChecks):
    """What an :class:`~qcloop.array.interface.Array` with the part ``LEARNING`` does."""

    @property
    def plan(self) -> TrainingPlan:
        """Training plan in force; ArrayError before :meth:`load_plan`."""
        if self._plan is None:
            raise ArrayError("the array has no training plan: call load_plan() after configure()")
        return self._plan

    def load_plan(self, plan: TrainingPlan) -> None:
        """Take a training plan, in place of the one before. Cells and accumulators stay as they are.

        Raises
        ------
        ArrayError
            If the array cannot carry the plan out (see :meth:`check_plan`), or a region was never programmed.
        """
        self.check_plan(plan)
        for layer in plan.layers:
            self._check_programmed(layer.region)
        self._plan = None  # a board that refuses a layer has forgotten the plan before
        self._load_plan(plan)
        self._plan = plan

    def change_rates(self, plan: TrainingPlan) -> None:
        """Take the rates of a plan that is else equal to the one in force. A batch goes on as it is.

        Raises ArrayError if the plans differ in anything but mantissas and exponents of rates.
        """
        if plan.without_rates() != self.plan.without_rates():
            raise ArrayError("only rates may change in the plan in force: call load_plan() for another plan")
        self._change_rates(plan)
        self._plan = plan

    def check_plan(self, plan: TrainingPlan) -> None:
        """Raise ArrayError unless this array, configured as it is, can carry a plan out.

        See :meth:`TrainingPlan.check_array`. Its regions need not have been programmed yet.
        """
        self._check_parts(ArrayPart.LEARNING)
        for layer in plan.layers:
            self._check_inside(layer.region)
        plan.check_array(self.config, self.settings)

    def train(self, x: U8, labels: npt.NDArray[np.integer]) -> TrainingResult:
        """Train on images, one after the other, by the step that ``docs/array.md`` defines.

        With batches of several images, devices are programmed after each ``plan.batch`` images, and after the
        last image. So a call should have a whole number of batches, unless it is the last of an epoch.

        Parameters
        ----------
        x : (n, inputs) uint8
            Images; 0 or 1 where the plan has 1-bit inputs.
        labels : (n,) integers
            Classes, below the classes of the plan.
        """
        x = self._check_images(x)
        checked = check_labels(labels, self.plan)
        if len(checked) != len(x):
            raise ArrayError(f"{len(x)} images need as many labels, not {len(checked)}")
        return self._train(x, checked)

    def classify(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 images; the first of equal sums wins."""
        return self._classify(self._check_images(x))

    def read_accumulators(self, region: Region) -> I16:
        """Return the (rows, cols) int16 accumulators of a region's cells.

        An accumulator is 0 until it is trained or loaded; programming, loading cells and configuring leave it
        as it is. A weight of two devices has its accumulator at the first one.
        """
        self._check_parts(ArrayPart.LEARNING)
        self._check_programmed(region)
        return self._read_accumulators(region)

    def load_accumulators(self, region: Region, values: I16) -> None:
        """Write the accumulators of a region's cells: (rows, cols) int16 of -32767..32767."""
        self._check_parts(ArrayPart.LEARNING)
        self._check_programmed(region)
        self._check_block("accumulators", values, region)
        check_type("accumulators", values, np.int16)
        if values.min() < -ACCUMULATOR_MAX:
            raise ArrayError(
                f"accumulators must be -{ACCUMULATOR_MAX}..{ACCUMULATOR_MAX}, not {values.min()}"
            )
        self._load_accumulators(region, values)

    def _check_images(self, x: U8) -> U8:
        plan = self.plan
        if x.ndim != 2 or x.shape[1] != plan.inputs or x.dtype != np.uint8:
            raise ArrayError(
                f"the plan takes uint8 images of {plan.inputs} inputs, not {x.dtype} of shape {x.shape}"
            )
        return checked_bits(x, plan.input_bits)

    # -- what a backend with the part implements; the arguments have been checked -----------------

    def _load_plan(self, plan: TrainingPlan) -> None:
        raise NotImplementedError

    def _change_rates(self, plan: TrainingPlan) -> None:
        raise NotImplementedError

    def _train(self, x: U8, labels: U8) -> TrainingResult:
        raise NotImplementedError

    def _classify(self, x: U8) -> U8:
        raise NotImplementedError

    def _read_accumulators(self, region: Region) -> I16:
        raise NotImplementedError

    def _load_accumulators(self, region: Region, values: I16) -> None:
        raise NotImplementedError
