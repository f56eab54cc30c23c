"""Random programs with training steps between other operations, for an engine beside the golden model."""

from dataclasses import replace

import numpy as np
from engine_bench import Pair, allowed, tiny
from random_plans import prepare, random_case

from qcloop.array import Region
from qcloop.contract import operations
from qcloop.contract.operations import COUNT, PLAN, PLAN_BYTES, RATES_BYTES, Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.microcode.program import MAX_COLS, MAX_UNITS

#: Most units of a layer: three layers are then within what an array of :func:`learning` keeps.
WIDEST = 21


def learning(lanes, memory=MemoryKind.BLOCK, parts=LEARNING_PARTS):
    """Return a configuration that learns, whose reset is short, and which holds all random plans."""
    return tiny(lanes, cells=1 << 12, side=128, memory=memory, parts=parts)


def case_of(seed, config):
    """Return a random plan for an engine, every third one with larger layers."""
    case = random_case(seed, config.lanes, WIDEST if seed % 3 == 0 else 11)
    return replace(case, config=config.array)


class LearningPair(Pair):
    """An engine and its golden model, which train between the operations of any program."""

    FIRST = "plan"
    KINDS = (
        *("train", "classify") * 4,
        *("plan", "configure", "accumulators", "rates") * 2,
        *("block", "program", "forward", "backward", "load", "read", "counters"),
        *("bad_plan", "bad_images", "bad_length", "bad_setting"),
    )
    #: Draws plans.
    new_case = staticmethod(case_of)
    #: What the plan in force belongs to, if there is one.
    case = None

    def state(self):
        super().state()
        lanes, words = self.config.lanes, self.golden._programmed_words
        for base in range(0, words, self.config.side):
            self._read_accumulators(Region(base, min(self.config.side, words - base), lanes))

    def configure(self, draw):
        super().configure(draw)
        self.case = None

    def plan(self, draw):
        """Take a new plan, and settings and cells for it; or the same plan again."""
        if self.case is not None and draw.random() < 0.3:
            for array in (self.golden, self.array):
                array.load_plan(self.case.plan)
            return
        self.case = self.new_case(draw.getrandbits(24), self.config)
        for array in (self.golden, self.array):
            prepare(array, self.case)

    def rates(self, draw):
        """Change the rates of the plan, after a request that must change none."""
        if self.case is None:
            self.refused(operations.request(Operation.RATES, bytes(RATES_BYTES)), Status.PLAN)
            return
        wrong = bytearray(draw.randrange(64) for _ in range(RATES_BYTES))
        wrong[draw.randrange(1, RATES_BYTES, 2)] = draw.randrange(64, 193)
        self.refused(operations.request(Operation.RATES, bytes(wrong)), Status.SETTING)
        length = draw.choice([0, 2, 15, 17])
        self.refused(operations.request(Operation.RATES, bytes(length)), Status.LENGTH)
        layers = [
            replace(layer, rate=draw.randrange(256), exponent=layer.exponent + draw.randint(-2, 2))
            for layer in self.case.plan.layers
        ]
        self.case = replace(self.case, plan=replace(self.case.plan, layers=tuple(layers)))
        for array in (self.golden, self.array):
            array.change_rates(self.case.plan)

    def train(self, draw):
        if self.case is None:
            self.refused(operations.request(Operation.TRAIN, bytes(2)), Status.PLAN)
            return
        images = draw.sample(range(len(self.case.x)), draw.randint(0, min(5, len(self.case.x))))
        x, labels = self.case.x[images], self.case.labels[images]
        assert self.array.train(x, labels) == self.golden.train(x, labels)

    def classify(self, draw):
        if self.case is None:
            self.refused(operations.request(Operation.CLASSIFY, bytes(2)), Status.PLAN)
            return
        x = self.case.x[: draw.randint(0, 5)]
        np.testing.assert_array_equal(self.array.classify(x), self.golden.classify(x), "classes")

    def accumulators(self, draw):
        region = self._programmed(draw)
        if region is None:
            return
        values = np.array(
            [draw.randint(-32767, 32767) >> draw.randrange(16) for _ in range(region.rows * region.cols)]
        )
        for array in (self.golden, self.array):
            array.load_accumulators(region, values.reshape(region.rows, region.cols).astype(np.int16))
        self._read_accumulators(self._programmed(draw))

    def _read_accumulators(self, region):
        ours, theirs = self.array.read_accumulators(region), self.golden.read_accumulators(region)
        np.testing.assert_array_equal(ours, theirs, f"accumulators of {region}")

    # Requests that must be refused; the plan stays.

    def bad_plan(self, draw):
        good = PLAN.pack_named(layers=1, flags=0, batch=1) + bytes(PLAN_BYTES - PLAN.size)
        wrong = bytearray(good)
        offset, value = draw.choice(
            (
                (0, 0),
                (0, draw.randint(9, 255)),
                (1, 24 | draw.randrange(8)),
                (1, draw.randint(32, 255)),
                (2, 0),
            )
        )
        wrong[offset] = value
        self.refused(operations.request(Operation.PLAN, bytes(wrong)), Status.SETTING)
        self.refused(operations.request(Operation.PLAN, good + bytes(draw.randint(1, 9))), Status.LENGTH)
        self.refused(operations.request(Operation.PLAN, good[: draw.randrange(PLAN_BYTES)]), Status.LENGTH)

    def bad_images(self, draw):
        operation = draw.choice((Operation.TRAIN, Operation.CLASSIFY))
        if self.case is None:
            body = draw.randbytes(draw.randint(0, 40))
            self.refused(operations.request(operation, body), Status.PLAN)
            return
        count = draw.randint(1, 60)
        size = image_bytes(self.case.plan) + (operation is Operation.TRAIN)
        lengths = {0, 1, count * size - 1, count * size + 1, (count + 1) * size} - {count * size}
        length = draw.choice(sorted(lengths))
        self.refused(operations.request(operation, COUNT.pack(count) + draw.randbytes(length)), Status.LENGTH)
        self.refused(operations.request(operation, bytes(draw.choice((0, 1, 3, 7)))), Status.LENGTH)


def microprogrammed(parts=ArrayPart.LEARNING):
    """Return a configuration with the microprogrammed learner, whose reset is short."""
    return replace(
        tiny(2, cells=1 << 12, side=128, memory=MemoryKind.SPRAM, parts=parts), microprogrammed=True
    )


def microprogrammed_case(seed, config):
    """Return a random plan that the learner has room for, and whose settings need no missing part."""
    for other in range(seed, seed + 1000):
        case = case_of(other, config)
        plan = replace(case.plan, input_bits=1)
        if plan.units <= MAX_UNITS and all(layer.region.cols <= MAX_COLS for layer in plan.layers):
            settings = allowed(case.settings, config.array.parts)
            return replace(case, plan=plan, settings=settings, x=(case.x > 0).astype(np.uint8))
    raise AssertionError(f"no plan from seed {seed} on")


class MicroprogrammedPair(LearningPair):
    """An engine with the microprogrammed learner and its golden model."""

    new_case = staticmethod(microprogrammed_case)


def image_bytes(plan):
    """Return the bytes of an image."""
    rows = plan.layers[0].region.rows
    return -(-rows // 8) if plan.input_bits == 1 else rows
