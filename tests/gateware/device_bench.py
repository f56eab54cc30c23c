"""Random programs with devices that differ and wear out, for an engine beside the golden model."""

import numpy as np
from engine_bench import Pair
from learner_bench import LearningPair

from qcloop.array import STUCK_LEVEL, Region
from qcloop.contract import operations
from qcloop.contract.formats import DEVIATION_MAX, DEVIATION_MIN, ENDURANCE_MAX
from qcloop.contract.operations import Operation, Status

LOADS = Operation.LOAD_VARIATION, Operation.LOAD_ENDURANCE
READS = Operation.READ_VARIATION, Operation.READ_ENDURANCE


class DevicePair(Pair):
    """An engine and its golden model with the parts ``variation`` and ``endurance``."""

    KINDS = (*Pair.KINDS, *("variation", "endurance") * 3, "bad_devices")

    def state(self):
        super().state()
        lanes, side, words = self.config.lanes, self.config.side, self.config.words
        for base in range(0, words, side):
            self._read_devices(Region(base, min(side, words - base), lanes))

    def variation(self, draw):
        """Load and read deviations anywhere in the memory."""
        region, random = self._anywhere(draw), np.random.default_rng(draw.getrandbits(64))
        shape = region.rows, region.cols
        gains, offsets = (
            np.where(
                random.random(shape) < 0.2,
                random.choice([DEVIATION_MIN, 0, DEVIATION_MAX], shape),
                random.integers(DEVIATION_MIN, DEVIATION_MAX, shape, endpoint=True),
            ).astype(np.int8)
            for _ in range(2)
        )
        for array in (self.golden, self.array):
            array.load_variation(region, gains, offsets)
        self._read_devices(self._anywhere(draw))

    def endurance(self, draw):
        """Load and read writes left, of which most are few."""
        region, random = self._anywhere(draw), np.random.default_rng(draw.getrandbits(64))
        if self.golden.settings.states > STUCK_LEVEL:
            return
        shape = region.rows, region.cols
        left = np.where(
            random.random(shape) < 0.1,
            ENDURANCE_MAX - random.integers(0, 2, shape),
            random.integers(0, 4, shape),
        ).astype(np.uint16)
        for array in (self.golden, self.array):
            array.load_endurance(region, left)
        self._read_devices(self._anywhere(draw))

    def _read_devices(self, region):
        for name in ("read_variation", "read_endurance"):
            ours, theirs = (getattr(array, name)(region) for array in (self.array, self.golden))
            np.testing.assert_array_equal(ours, theirs, f"{name} of {region}")

    def bad_devices(self, draw):
        """A wrong length; and a region outside the memory, though it need not have been programmed."""
        region, operation = self._anywhere(draw), draw.choice((*LOADS, *READS))
        good = operation in LOADS and 2 * region.rows * region.cols
        head = operations.encode_region(region)
        length = draw.choice(
            [wrong for wrong in (0, 1, good - 1, good + 1, good + 2) if wrong not in (good, -1)]
        )
        self.refused(operations.request(operation, head + bytes(length)), Status.LENGTH)
        outside = Region(self.config.words - region.rows + 1, region.rows, self.config.lanes)
        self.refused(operations.request(operation, operations.encode_region(outside)), Status.REGION)

    def _anywhere(self, draw):
        return self._region(draw, draw.randrange(self.config.words), self.config.words)


class LearningDevicePair(DevicePair, LearningPair):
    """The same where the engine trains as well."""

    KINDS = (*LearningPair.KINDS, *("variation", "endurance") * 3, "bad_devices")
