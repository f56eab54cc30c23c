"""Random programs that age cells between other operations, for an engine beside the golden model."""

import numpy as np
from engine_bench import Pair
from learner_bench import LearningPair

from qcloop.contract import operations
from qcloop.contract.formats import MAX_STATES, SPREAD_MAX
from qcloop.contract.operations import AGE_ENTRY, Operation, Status

#: Operand bytes behind the region.
TABLE_BYTES = AGE_ENTRY.size * MAX_STATES


def random_tables(draw, states):
    """Return drifts and spreads, some of them the largest that there are."""
    random = np.random.default_rng(draw.getrandbits(64))
    drift = random.integers(-(1 << 15), 1 << 15, states) >> draw.randrange(12)
    spread = random.integers(0, SPREAD_MAX, states, endpoint=True) >> draw.randrange(8)
    for table, ends in ((drift, (-(1 << 15), (1 << 15) - 1)), (spread, (0, SPREAD_MAX))):
        table[draw.randrange(states)] = draw.choice(ends)
    return drift.astype(np.int16), spread.astype(np.uint16)


class Ages:
    """What a pair needs besides, to age cells."""

    def age(self, draw):
        region = self._programmed(draw)
        if region is None:
            return
        tables = random_tables(draw, self.golden.settings.states)
        for array in (self.golden, self.array):
            array.age(region, *tables)

    def bad_age(self, draw):
        """Refuse a spread that is too large wherever it is, wrong lengths, and what was never programmed."""
        marked, words = self.golden._programmed_words, self.config.words
        region = self._programmed(draw)
        good = bytearray(draw.randbytes(TABLE_BYTES))
        for last in range(3, TABLE_BYTES, 4):
            good[last] &= SPREAD_MAX >> 8
        if region is None or draw.random() < 0.2:
            if marked < words:
                body = marked.to_bytes(2, "little") + bytes([1, 0, 1, 0]) + good
                self.refused(operations.request(Operation.AGE, body), Status.PROGRAMMED)
            return
        head = operations.encode_region(region)
        if draw.random() < 0.4:
            body = (head + good + b"\0")[: draw.choice((5, 6, 7, len(head + good) - 1, len(head + good) + 1))]
            self.refused(operations.request(Operation.AGE, body), Status.LENGTH)
            return
        for entry in draw.sample(range(MAX_STATES), draw.choice((1, 1, 2, MAX_STATES))):
            good[4 * entry + 3] |= 16 << draw.randrange(4)
        self.refused(operations.request(Operation.AGE, head + good), Status.SETTING)


_KINDS = (*("age",) * 5, *("bad_age",) * 2)


class AgeingPair(Ages, Pair):
    """An engine and its golden model, which age between the operations of any program."""

    KINDS = (*Pair.KINDS, *_KINDS)


class AgeingLearner(Ages, LearningPair):
    """The same where they train, too."""

    KINDS = (*LearningPair.KINDS, *_KINDS)
