"""Settling of weights against its twin, and the twin against the golden model."""

from random import Random
from types import SimpleNamespace

import pytest

from qcloop.array.step import reference
from qcloop.contract.operations import REACH
from qcloop.contract.plan import ACCUMULATOR_MAX, StepRule
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.settle import WeightSettler
from qcloop_hdl.learn.settlers import WeightSettlers

STUCK = 63


def gaps_of(states, random):
    """Even gaps, uneven ones, or ones with the extremes."""
    kind = random.randrange(3)
    extremes = [1, 2, 64, 1024, 32768, 65534]  # with powers of two, quotients are exact
    if kind == 0:
        return [random.choice([*extremes, random.randint(1, 2000)])] * (states - 1)
    if kind == 1:
        return [random.choice([*extremes, random.randint(1, 2000)]) for _ in range(states - 1)]
    return [random.randint(1, 9000) for _ in range(states - 1)]


def weights_of(gaps, count, random):
    """Random (accumulator, levels, word), many of them where a comparison is decided by little."""
    for _ in range(count):
        sign, near = random.choice([-1, 1]), random.randrange(4)
        first = random.randrange(len(gaps))
        size = [
            random.choice([0, 1, ACCUMULATOR_MAX]),
            gaps[first] // 2 + random.randint(-1, 1),
            sum(gaps[first : first + random.randrange(4)]) + random.randint(-1, 1),
            random.randint(0, ACCUMULATOR_MAX),
        ][near]
        size = min(max(size, 0), ACCUMULATOR_MAX)
        levels = tuple(
            random.choice([first, 0, len(gaps), STUCK, random.randint(0, len(gaps))]) for _ in range(2)
        )
        gap = gaps[first]
        # A word at which the quotient of size and gap is just more, or just less.
        word = min(max((size << 16) // gap + random.randint(-1, 1), 0), 65535)
        yield sign * size, levels, random.choice([word, random.randrange(65536)])


def golden(accumulator, levels, pairs, rule, gaps, word):
    """Return what the golden model makes of a weight."""
    step = object.__new__(reference._Step)
    taken = []

    def take_words(n):
        taken.append(n)
        return [word]

    step.memory = SimpleNamespace(cells=SimpleNamespace(levels=list(levels)), accumulators=[accumulator])
    step.devices = SimpleNamespace(gaps=gaps, mean=[0] * (len(gaps) + 1), reach=min(gaps) // 2)
    step.steps = SimpleNamespace(devices=2 if pairs else 1, rule=rule)
    step.programming = SimpleNamespace(take_words=take_words)
    step._program = step.memory.cells.levels.__setitem__
    step.settle(0)
    return twins.Settled(step.memory.accumulators[0], *step.memory.cells.levels, sum(taken))


def settings_of(seed):
    """Random (pairs, rule, gaps), all rules for one device and for two."""
    random = Random(seed)
    for rule in StepRule:
        for pairs in (False, True):
            yield pairs, rule, gaps_of(random.choice([2, 3, 16, 63, 64]), random)


def test_the_twin_equals_the_golden_model():
    random = Random(1)
    for seed in range(20):
        for pairs, rule, gaps in settings_of(seed):
            for accumulator, levels, word in weights_of(gaps, 50, random):
                arguments = (accumulator, levels, pairs, rule, gaps, word)
                assert twins.settle(*arguments) == golden(*arguments), arguments


async def configure(ctx, dut, pairs, rule, gaps):
    ctx.set(dut.pairs, pairs)
    ctx.set(dut.rule, rule)
    ctx.set(dut.top, len(gaps))
    ctx.set(dut.table_write, 1)
    for index, gap in [*enumerate(gaps), (REACH, min(gaps) // 2)]:
        ctx.set(dut.table_index, index)
        ctx.set(dut.table_entry, gap)
        await ctx.tick()
    ctx.set(dut.table_write, 0)


def weight(accumulator, levels):
    return {"accumulator": accumulator, "first": levels[0], "second": levels[1]}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("pauses", [False, True])
def test_equals_the_twin(seed, pauses, bench, simulate):
    dut = WeightSettler()
    random = Random(seed)
    senders, receivers, feeders = (Random(seed + k) if pauses else None for k in range(3))
    wanted = {"word": True}

    async def testbench(ctx):
        for pairs, rule, gaps in settings_of(seed):
            await configure(ctx, dut, pairs, rule, gaps)
            for accumulator, levels, word in weights_of(gaps, 60, random):
                ctx.set(dut.words.payload, word)
                wanted["word"] = True
                await bench.send(ctx, dut.i, [weight(accumulator, levels)], senders)
                (one,) = await bench.receive(ctx, dut.o, 1, receivers)
                expected = twins.settle(accumulator, levels, pairs, rule, gaps, word)
                said = (accumulator, levels, pairs, rule, gaps, word)
                assert (one.accumulator, one.first, one.second, one.words) == expected, said
                assert (one.first_changed, one.second_changed) == (
                    one.first != levels[0],
                    one.second != levels[1],
                ), said
                await ctx.tick()  # a word is taken in the clock in which the weight is offered
                assert wanted["word"] == (expected.words == 0), said

    async def words(ctx):
        while True:
            if wanted["word"] and (feeders is None or feeders.random() < 0.5):
                ctx.set(dut.words.valid, 1)
            _, _, valid, ready = await ctx.tick().sample(dut.words.valid, dut.words.ready)
            if valid and ready:
                wanted["word"] = False
                ctx.set(dut.words.valid, 0)

    simulate(dut, testbench, limit=100_000, background=[words, bench.contract(dut.o)])


@pytest.mark.parametrize(("levels", "n"), [((3, 0), 0), ((3, 0), 4), ((0, 9), 9)])
def test_clocks(levels, n, simulate, bench):
    """The clocks that the contract names, for n levels; and for a word, whose bits are compared."""
    dut, gaps = WeightSettler(), [100] * 15

    async def settle(ctx, accumulator, levels):
        await bench.send(ctx, dut.i, [weight(accumulator, levels)])
        clocks = 1
        while not ctx.get(dut.o.valid):
            clocks += 1
            await ctx.tick()
        await bench.receive(ctx, dut.o, 1)
        assert ctx.get(dut.i.ready)
        return clocks

    async def testbench(ctx):
        await configure(ctx, dut, True, StepRule.MIXED, gaps)
        assert await settle(ctx, 100 * n + 1, levels) == n + 3
        # The second device cannot be lowered, and the first is at the top after a level: the reach is left.
        assert await settle(ctx, 1000, (14, 0)) == 1 + 3 + 1
        ctx.set(dut.rule, StepRule.STOCHASTIC)
        ctx.set(dut.words.valid, 1)
        quotient = (50 << 16) // 100
        for equal in range(17):
            ctx.set(dut.words.payload, quotient ^ (0x8000 >> equal) if equal < 16 else quotient)
            assert await settle(ctx, 100 * n + 50, levels) == n + 3 + 1 + equal + 1

    simulate(dut, testbench, limit=1500)


@pytest.mark.parametrize("pauses", [False, True])
def test_settlers_side_by_side_keep_the_order(pauses, bench, simulate):
    dut, random, rule = WeightSettlers(), Random(3), StepRule.MIXED
    sender, receiver = (Random(k) if pauses else None for k in range(2))
    pairs, gaps = True, [random.randrange(1, 300) for _ in range(15)]
    weights = [(one, levels) for one, levels, _ in weights_of(gaps, 120, random)]

    async def give(ctx):
        await configure(ctx, dut, pairs, rule, gaps)
        await bench.send(ctx, dut.i, [weight(*one) for one in weights], sender)

    async def take(ctx):
        came = await bench.receive(ctx, dut.o, len(weights), receiver)
        wanted = [twins.settle(*one, pairs, rule, gaps, 0) for one in weights]
        assert [(one.accumulator, one.first, one.second, one.words) for one in came] == wanted

    simulate(dut, give, take, limit=20_000, background=[bench.contract(dut.o)])


def test_settlers_side_by_side_take_two_clocks_for_a_weight(simulate, bench):
    dut, gaps, count = WeightSettlers(), [100] * 15, 20

    async def give(ctx):
        await configure(ctx, dut, True, StepRule.MIXED, gaps)
        await bench.send(ctx, dut.i, [weight(101, (3, 3))] * count)

    async def take(ctx):
        await bench.receive(ctx, dut.o, 1)
        clocks, came = 0, 1
        ctx.set(dut.o.ready, 1)
        while came < count:
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            clocks, came = clocks + 1, came + valid
        assert clocks <= 2 * (count - 1)

    simulate(dut, give, take, limit=200)
