"""The order of the training step: layers are told before they come, whatever the step waits for."""

from random import Random

import pytest
from engine_bench import CLOCK_LIMIT
from formal_tools import mutant

from qcloop_hdl.learn import sequencer
from qcloop_hdl.learn.sequencer import StepSequencer, StepState

#: What the states wait for.
ANSWERS = ("label_taken", "asked", "passed", "resulted", "summed", "errors_end", "changed", "settled")


def look_ahead(dut, simulate):
    """Train, and let all answers come at any time: a layer is told in the clock before it comes, too."""
    random = Random(3)

    async def testbench(ctx):
        ctx.set(dut.complete, 1)
        ctx.set(dut.trains, 1)
        visits = set()
        for _ in range(12):
            ctx.set(dut.numbers.last, random.randrange(4))
            ctx.set(dut.numbers.batch, random.randrange(1, 3))
            ctx.set(dut.run, 1)
            await ctx.tick()
            ctx.set(dut.run, 0)
            before, images = None, 400
            while not (images < 0 and ctx.get(dut.done)):
                for name in ANSWERS:
                    ctx.set(getattr(dut, name), random.random() < 0.4)
                ctx.set(dut.left, images > 0)
                ctx.set(dut.empty, images <= 0)
                ahead, state = ctx.get(dut.ahead), ctx.get(dut.state)
                visits.add(state)
                if ctx.get(dut.turn) and before is not None:
                    assert ahead == before, f"layer {ahead} was not told before {state}"
                before, images = ahead, images - 1
                await ctx.tick()
            await ctx.tick()
        assert visits >= set(StepState) - {StepState.IDLE}

    simulate(dut, testbench, limit=CLOCK_LIMIT)


@pytest.mark.parametrize("early", [False, True])
def test_a_layer_is_told_before_it_comes(early, simulate):
    look_ahead(StepSequencer(early=early), simulate)


def test_a_product_that_was_through_before_is_waited_for(fails, simulate):
    """Its image was fetched beside an update, and the next layer is told with the state that it begins."""
    faulty = mutant(sequencer, {"self.passed & ~self.last & ~self.begins": "self.passed & ~self.last"})
    assert fails(look_ahead, faulty.StepSequencer(early=True), simulate)
