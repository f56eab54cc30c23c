# amaranth: UnusedElaboratable=no
# The component that a constructor refuses is never elaborated.

"""The walk over active rows against its twin: rows, ends, clocks, random back-pressure."""

from random import Random

import pytest

from qcloop.errors import ConfigError
from qcloop_hdl.array.active_rows import GROUP, ActiveRows, WalkRow, active_rows, group_bits, walk_clocks

WALKS = 3


def vector_of(random, rows, share, *, clean):
    """Return the bytes of a vector whose bits are 1 with a probability; unless ``clean``, also behind it."""
    count = -(-rows // GROUP)
    bits = [random.random() < share for _ in range(GROUP * count)]
    if clean:
        bits[rows:] = [False] * (len(bits) - rows)
    return bytes(sum(bit << n for n, bit in enumerate(bits[GROUP * k :][:GROUP])) for k in range(count))


def clustered(random, rows):
    """Return a vector of runs of ones with long gaps between them, as images have them."""
    bits, value = [], 0
    while len(bits) < rows:
        bits += [value] * random.randrange(1, 30)
        value ^= 1
    bits[rows:] = [0] * (-rows % GROUP)
    return bytes(sum(bits[GROUP * k + n] << n for n in range(GROUP)) for k in range(len(bits) // GROUP))


def row_of(payload):
    return WalkRow(GROUP * payload.group + payload.offset, bool(payload.active), bool(payload.last))


class Feeder:
    """Plays vectors, each with several walks, and notes what is given and in which clock."""

    def __init__(self, dut, vectors, pauses=None):
        self.dut, self.vectors, self.pauses = dut, vectors, pauses
        #: For each vector its walks, each a list of rows; and the clock of each walk's end.
        self.walks, self.ends = [], []

    def go(self):
        return self.pauses is None or self.pauses.random() < 0.6

    async def run(self, ctx):
        dut = self.dut
        for bits, rows in self.vectors:
            ctx.set(dut.rows, rows)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await self.play(ctx, bits)

    async def play(self, ctx, bits):
        dut, sent, clock, offered = self.dut, 0, 0, False
        walks, ends, entered, opening = [[]], [], 0, []
        while len(ends) < WALKS:
            offered = offered or (sent < len(bits) and self.go())
            ready = self.go()
            ctx.set(dut.bits.valid, offered)
            ctx.set(dut.bits.payload, bits[sent] if offered else 0)
            ctx.set(dut.tag, sent)
            ctx.set(dut.row.ready, ready)
            watched = (dut.bits.ready, dut.row.valid, dut.row.payload, dut.enters, dut.opening)
            _, _, taken, valid, payload, enters, first = await ctx.tick().sample(*watched)
            if offered and taken:
                sent, offered = sent + 1, False
            assert ready or not enters
            if enters:
                entered += 1
                opening.append(first)
            if valid and ready:
                # Who keeps an address of the group knows the group from what it entered, or from its tag.
                assert not payload.active or dut.tag_bits or payload.group == entered - 1
                walks[-1].append(row_of(payload))
                if payload.last:
                    groups = len(bits)
                    if dut.tag_bits:
                        rows = active_rows(bits, ctx.get(dut.rows), tagged=True)
                        groups = len({row.index // GROUP for row in rows})
                    assert entered == groups
                    assert opening == [1] + [0] * (groups - 1)
                    ends.append(clock)
                    walks.append([])
                    entered, opening = 0, []
            clock += 1
        assert sent == len(bits)
        self.walks.append(walks[:WALKS])
        self.ends.append(ends)


@pytest.fixture
def play(simulate, bench):
    """Play vectors, compare with the twin, return the feeder."""

    def run(side, vectors, seed=None, *, tagged=False):
        dut = ActiveRows(side, group_bits(side) if tagged else 0)
        feeder = Feeder(dut, vectors, None if seed is None else Random(seed))
        limit = sum(20 + WALKS * (rows + len(bits)) for bits, rows in vectors) * (1 if seed is None else 5)
        contract = bench.contract(dut.row, withdrawn=dut.start)
        simulate(dut, feeder.run, limit=limit, background=[contract])
        for (bits, rows), walks in zip(vectors, feeder.walks, strict=True):
            expected = list(active_rows(bits, rows, tagged=tagged))
            for walk in walks:
                assert [known(row) for row in walk] == expected, f"seed {seed}, {rows} rows: {bits.hex()}"
        return feeder

    return run


def known(row):
    """Return a row without the index that an end has that is no active row."""
    return row if row.active else WalkRow(0, row.active, row.last)


def vectors_for(random, side, count, *, clean):
    for _ in range(count):
        rows = random.choice([side, random.randrange(1, side + 1)])
        share = random.choice([0, 0.05, 0.13, 0.5, 1])
        yield vector_of(random, rows, share, clean=clean), rows


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("paused", [False, True], ids=["freely", "under back-pressure"])
@pytest.mark.parametrize("side", [1, 2, 8, 9, 20, 128])
def test_rows_are_those_of_the_twin(side, paused, tagged, play):
    seed = side + 1000 * paused
    vectors = list(vectors_for(Random(seed), side, 40, clean=False))
    play(side, vectors, seed=seed if paused else None, tagged=tagged)


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("side", [3, 8, 17, 100])
def test_a_walk_takes_a_clock_for_each_row_and_without_tags_for_each_empty_group(side, tagged, play):
    vectors = list(vectors_for(Random(side), side, 30, clean=False))
    feeder = play(side, vectors, tagged=tagged)
    for (bits, rows), ends in zip(vectors, feeder.ends, strict=True):
        clocks = walk_clocks(bits, rows, tagged=tagged)
        # The first byte is taken in clock 0, and its rows are offered from clock 3 on. With tags they may
        # wait for the last byte.
        waits = len(bits) if tagged else len(bits) // 2
        assert clocks <= ends[0] - 2 <= clocks + waits
        assert ends[1] - ends[0] == ends[2] - ends[1] == clocks


def test_an_image_like_vector_takes_little_more_than_its_ones(play):
    bits = clustered(Random(11), 784)
    feeder = play(784, [(bits, 784)])
    ones = sum(byte.bit_count() for byte in bits)
    empty = bits.count(0)
    assert walk_clocks(bits, 784) == feeder.ends[0][1] - feeder.ends[0][0] == ones + empty


def test_the_twin_gives_the_rows_of_a_vector_and_its_end():
    assert list(active_rows(bytes([0b1001, 0b10]), 10)) == [
        WalkRow(0, True, False),
        WalkRow(3, True, False),
        WalkRow(9, True, True),
    ]
    # Without an active row in the last group the end comes alone. A bit behind the vector is no row.
    end = WalkRow(0, False, True)
    assert list(active_rows(bytes([1, 0]), 10)) == [WalkRow(0, True, False), end]
    assert list(active_rows(bytes([0, 0b101]), 10)) == [WalkRow(8, True, True)]
    assert list(active_rows(bytes([0]), 5)) == [end]
    assert walk_clocks(bytes([1, 0]), 10) == 2
    assert walk_clocks(bytes([0, 0b101]), 10) == 2
    # With tags it comes with the last active row.
    assert list(active_rows(bytes([1, 0]), 10, tagged=True)) == [WalkRow(0, True, True)]
    assert list(active_rows(bytes([0]), 5, tagged=True)) == [end]
    assert walk_clocks(bytes([1, 0]), 10, tagged=True) == walk_clocks(bytes([0]), 5, tagged=True) == 1


def test_a_walk_without_rows_is_refused():
    with pytest.raises(ConfigError, match="1 row or more, not 0"):
        ActiveRows(0)
