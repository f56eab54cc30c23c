"""The next image's product beside an update: bits are kept, rows are settled, words step aside."""

import sys
from itertools import count
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from amaranth import Signal
from engine_bench import tiny
from formal_tools import mutant
from test_mac import FORWARD1, MacWithMemory, codes_for, engine, job_for

from qcloop.contract.parts import LEARNING_PARTS
from qcloop_hdl.array import active_rows, walk
from qcloop_hdl.learn import kept_bits, settled_rows
from qcloop_hdl.learn.kept_bits import KeptBits
from qcloop_hdl.learn.settled_rows import SettledRows

CONFIG = tiny(4, cells=1024, side=100, parts=LEARNING_PARTS)


def compare_bits(dut, pauses, bench, simulate):
    random = Random(5)
    sender, receiver = (Random(k) if pauses else None for k in range(2))
    images = [
        (rows, [random.randrange(256) for _ in range(-(-rows // 8))]) for rows in (1, 100, 8, 9, 64, 99)
    ]
    begun = Signal(8)

    async def give(ctx):
        for number, (rows, vector) in enumerate(images):
            ctx.set(dut.rows, rows)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await bench.send(ctx, dut.i, vector, sender)
            ctx.set(dut.i.valid, 1)  # a byte more is not taken
            while ctx.get(begun) <= number:
                assert not ctx.get(dut.i.ready)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        for number, (_, vector) in enumerate(images):
            for _ in range(random.randrange(30)):  # the walk is in use
                await ctx.tick()
                assert not ctx.get(dut.begins) and not ctx.get(dut.o.valid)
            ctx.set(dut.free, 1)
            await ctx.tick().until(dut.begins)
            assert await bench.receive(ctx, dut.o, len(vector), receiver) == vector
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.o.valid)
            ctx.set(dut.free, 0)
            ctx.set(begun, number + 1)

    simulate(dut, give, take, limit=3000)


@pytest.mark.parametrize("pauses", [False, True])
def test_bits_wait_until_the_walk_is_free(pauses, bench, simulate):
    compare_bits(KeptBits(CONFIG), pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.begins.eq(waits & self.free)", "self.begins.eq(waits)"),
        ("~waits & (gone", "(gone"),
        ("(~self.o.valid | self.o.ready)", "1"),
        ("self.i.ready.eq(~complete)", "self.i.ready.eq(1)"),
        ("+ self.rows[:OFFSET_BITS].any()", "+ 1"),
        ("Mux(write.en, ~came[0], gone[0])", "~came[0]"),
    ],
)
def test_kept_bits_with_a_fault_are_found(old, new, fails, bench, simulate):
    faulty = mutant(kept_bits, {old: new}).KeptBits
    assert any(fails(compare_bits, faulty(CONFIG), pauses, bench, simulate) for pauses in (False, True))


def follow_rows(dut, simulate):
    """Change words and settle some, each clocks after it was taken; what is said of them must be true."""
    random = Random(11)

    async def testbench(ctx):
        said = set()
        for rate in (0.02, 0.1, 0.5) * 7:
            words, queue, in_work = list(range(40)), [], []
            through, further = 0, [250] * random.randrange(3)  # of another layer
            ctx.set(dut.begins, 1)
            await ctx.tick()
            ctx.set(dut.begins, 0)
            for clock in range(400):
                changes = bool(words) and random.random() < 0.7
                here = not words and not through
                flags = changes and random.random() < rate
                offers = bool(queue and (in_work or random.random() < 0.8))
                takes = offers and not in_work and random.random() < 0.3
                ends = bool(in_work) and random.random() < 0.3
                for name, value in {
                    "changed": changes,
                    "word": words[0] if changes else random.randrange(200),
                    "flagged": flags,
                    "through": here,
                    "any_through": here,
                    "waiting": len(queue),
                    "offered": offers,
                    "oldest": queue[0] if offers else random.randrange(200),
                    "taken": takes,
                    "busy": bool(in_work),
                    "writes": ends,
                    "address": in_work[0] if ends else random.randrange(200),
                }.items():
                    ctx.set(getattr(dut, name), value)
                await ctx.tick()
                if ends:
                    in_work.pop()
                if takes:
                    in_work.append(queue.pop(0))
                if changes:
                    word = words.pop(0)
                    queue += [word] * flags
                if here:
                    through = clock + 1
                    queue += further
                left = [one for one in [*in_work, *queue, *words] if one < 250]
                reached, everything = ctx.get(dut.reached), ctx.get(dut.all)
                assert all(reached <= one for one in left)
                assert not (everything and (left or not through))
                said |= {("reached", rate)} if 0 < reached < 40 else set()
                said |= {"all"} if everything else set()
            assert everything
        assert said == {("reached", 0.02), ("reached", 0.1), ("reached", 0.5), "all"}

    simulate(dut, testbench, limit=10_000)


def test_only_rows_that_are_settled_are_said_to_be(simulate):
    follow_rows(SettledRows(CONFIG), simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left.eq(left - 1)", "left.eq(0)"),
        ("counts & ~left.any() & ~self.busy", "counts & ~self.busy"),
        ("counts & ~left.any() & ~self.busy", "counts & ~left.any()"),
        ("counts & ~left.any() & ~self.busy", "~left.any() & ~self.busy"),
        ("~self.waiting.any() & ~self.busy & ~self.flagged", "~self.busy & ~self.flagged"),
        ("~self.waiting.any() & ~self.busy & ~self.flagged", "~self.waiting.any() & ~self.flagged"),
        ("~self.waiting.any() & ~self.busy & ~self.flagged", "~self.waiting.any() & ~self.busy"),
        ("[self.reached.eq(0), latest.eq(0)]", "self.reached.eq(0)"),
        ("self.all.eq(0), Cat(counts", "Cat(counts"),
        ("rests.eq(~self.busy & ~self.taken)", "rests.eq(~self.busy)"),
        ("rests.eq(~self.busy & ~self.taken)", "rests.eq(~self.taken)"),
        ("rests & self.offered", "rests"),
        ("Mux(self.changed, self.word, latest)", "self.word"),
    ],
)
def test_rows_with_a_fault_are_said_to_be_settled(old, new, fails, simulate):
    assert fails(follow_rows, mutant(settled_rows, {old: new}).SettledRows(CONFIG), simulate)


def step_aside(spread, simulate):
    """No word is in the memory's address two clocks after a pause, and none behind the first block.

    Nor is one of a group of rows that is not open.
    """
    config = engine(4, 2048, 60, LEARNING_PARTS)
    rng, random = np.random.default_rng(spread), Random(spread)
    codes = codes_for(config, rng)
    dut = MacWithMemory(config, codes)

    async def testbench(ctx):
        mac = dut.mac
        for cols, share in ((4, 0.2), (11, 0.5), (1, 1)):
            samples = 60 * -(-cols // config.lanes) * config.lanes if spread else 0
            noise = rng.integers(-132, 133, samples).astype(np.int16)
            job = job_for(rng, FORWARD1, 60, cols, read_spread=spread, noise=noise)
            ctx.set(mac.settings, job.settings())
            ctx.set(mac.command.payload, job.command())
            ctx.set(mac.first_block, 1)
            ctx.set(mac.command.valid, 1)
            await ctx.tick().until(mac.command.ready)
            ctx.set(mac.command.valid, 0)
            lanes, vector = config.lanes, job.bytes()
            noise = job.noise.reshape(-1, lanes).tolist() if spread else []
            ctx.set(mac.noise.valid, bool(noise))
            results, read, before, opened = [], 0, [0, 0], -random.randrange(50)
            blocks = -(-cols // lanes)
            # Where its group begins, of each row that is read.
            groups = [8 * blocks * (row // 8) for row in range(60) if spread or job.vector[row]]
            for clock in count():
                pause = random.random() < share if cols > 1 else clock % 2
                ctx.set(mac.pause, pause)
                ctx.set(mac.first_block, clock < 300)
                ctx.set(mac.open_words, opened)
                ctx.set(mac.all_open, clock > 150)
                ctx.set(mac.vector.valid, bool(vector))
                ctx.set(mac.vector.payload, vector[0] if vector else 0)
                if noise:
                    ctx.set(mac.noise.payload, noise[0])
                ctx.set(mac.result.ready, clock > 200)
                if mac_reads := ctx.get(mac.word_read):
                    read += 1
                    assert not before[0], "a word was stepped over in a pause"
                    assert clock > 150 or (not spread and groups[read - 1] <= opened)
                before = [pause]
                assert not (mac_reads and clock <= 300 and read > job.words(lanes) // -(-cols // lanes))
                fed = vector and ctx.get(mac.vector.ready)
                used = noise and ctx.get(mac.noise.ready)
                if ctx.get(mac.result.valid) and clock > 200:
                    results.append(ctx.get(mac.result.payload))
                await ctx.tick()
                vector, noise = vector[bool(fed) :], noise[bool(used) :]
                opened += random.randrange(2)
                if len(results) == job.results:
                    break
            assert results == job.golden(codes, lanes)[0]
            assert read == job.words(lanes)
            ctx.set(mac.pause, 0)
            await ctx.tick().repeat(4)

    simulate(dut, testbench, limit=4000)


@pytest.mark.parametrize("spread", [0, 40])
def test_a_product_steps_aside(spread, simulate):
    step_aside(spread, simulate)


@pytest.mark.parametrize(
    ("owner", "name", "old", "new"),
    [
        (active_rows.ActiveRows, "_keep_tagged", "Mux(take, following, here)", "here"),
        (walk.Walk, "_permit", "may_jump & ~stops & self.rows.open", "may_jump & ~stops"),
        (walk.Walk, "_permit", "may_read & ~stops & opens", "may_read & ~stops"),
        (walk.Walk, "_permit", "may_read & ~stops & opens", "may_read & opens"),
    ],
)
def test_a_product_that_does_not_is_found(owner, name, old, new, fails, simulate):
    module = sys.modules[owner.__module__]
    faulty = getattr(mutant(module, {old: new}), owner.__name__)
    with patch.object(owner, name, getattr(faulty, name)):
        assert any(fails(step_aside, spread, simulate) for spread in (0, 40))
