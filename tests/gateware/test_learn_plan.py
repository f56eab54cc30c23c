"""A plan on its way in, and the check of a request of images, against plain Python."""

from random import Random

import pytest
from learner_bench import case_of, learning

from qcloop.contract import operations
from qcloop.contract.operations import HEADER, LAYER, PLAN, REACH, REGION, Operation
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn.images import ImageCheck
from qcloop_hdl.learn.plan import PlanLoader


class Loading:
    """Gives a loader the operands of requests, as the engine does, and notes what it writes."""

    def __init__(self, dut, pauses):
        self.dut, self.pauses = dut, pauses
        #: Entries of the tables by what they are of and their index.
        self.tables = {}

    async def load(self, ctx, request):
        """Return whether the operands of a request were refused, once or not at all."""
        dut, operation, operands = self.dut, request[0], request[HEADER.size :]
        ctx.set(dut.request.operation, operation)
        if operation == Operation.LAYER:
            for name, value in zip(("base", "rows", "cols"), REGION.unpack(operands), strict=True):
                ctx.set(getattr(dut, name), value)
            operands = operands[REGION.size :]
        ctx.set(dut.request.remaining, len(operands))
        ctx.set(dut.load, 1)
        await ctx.tick()
        ctx.set(dut.load, 0)
        refused = 0
        for number, byte in enumerate(operands):
            while self.pauses and self.pauses.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.rx.payload, byte)
            ctx.set(dut.rx.valid, 1)
            await ctx.delay(1e-9)
            assert ctx.get(dut.rx.ready) and ctx.get(dut.take)
            assert ctx.get(dut.done) == (number == len(operands) - 1)
            refused += ctx.get(dut.refused)
            self.note(ctx)
            await ctx.tick()
            ctx.set(dut.rx.valid, 0)
            ctx.set(dut.request.remaining, len(operands) - number - 1)
        await ctx.tick()
        assert not ctx.get(dut.rx.ready)
        assert refused <= 1
        return bool(refused)

    def note(self, ctx):
        dut, index = self.dut, ctx.get(self.dut.table_index)
        for kind in ("gap", "exponential"):
            if ctx.get(getattr(dut, f"{kind}_write")):
                self.tables[kind, index] = ctx.get(getattr(dut, kind))
        if ctx.get(dut.activation_write):
            entry = ctx.get(dut.activation)
            self.tables["layer", ctx.get(dut.activation_layer), index] = entry.activation, entry.slope


def tables_of(case):
    """Return the entries that a plan's tables have."""
    plan = case.plan
    gaps = operations.gap_entries(plan, case.settings)
    return (
        {("gap", index): gap for index, gap in enumerate(gaps)}
        | {("exponential", index): value for index, value in enumerate(plan.exponential)}
        | {
            ("layer", number, index): entry
            for number, layer in enumerate(plan.layers)
            for index, entry in enumerate(zip(layer.activations, layer.slopes, strict=True))
        }
    )


def faulty(request, random):
    """Return a request with one number out of range."""
    wrong, start = bytearray(request), HEADER.size
    if request[0] == Operation.PLAN:
        offset, value = random.choice(
            [(0, 0), (0, random.randint(9, 255)), (1, 24), (1, 32 << random.randrange(3)), (2, 0)]
        )
        if offset == 2:
            wrong[start + 3] = 0
    else:
        start += REGION.size
        offset, value = random.choice([(0, random.randint(32, 255)), (2, 64), (2, 192), (2, 128)])
    wrong[start + offset] = value
    return bytes(wrong)


async def go_to(ctx, dut, number):
    """Go to a layer. Until then the numbers of the one before stay."""
    before = ctx.get(dut.parameters.as_value())
    ctx.set(dut.layer, number)
    await ctx.tick().repeat(2)
    assert ctx.get(dut.parameters.as_value()) == before
    ctx.set(dut.turn, 1)
    await ctx.tick()
    ctx.set(dut.turn, 0)


@pytest.mark.parametrize(("memory", "pauses"), [(MemoryKind.BLOCK, True), (MemoryKind.SPRAM, False)])
def test_a_plan_is_kept_and_what_is_refused_changes_nothing(memory, pauses, simulate):
    config = learning(4, memory)
    dut, random = PlanLoader(config), Random(1)
    loading = Loading(dut, Random(2) if pauses else None)
    cases = [case_of(seed, config) for seed in (1, 5)]

    def state(ctx):
        numbers = [ctx.get(dut.numbers.as_value()), ctx.get(dut.complete), ctx.get(dut.reach)]
        return *numbers, ctx.get(dut.fits), ctx.get(dut.last), dict(loading.tables)

    async def rates_of(ctx, plan):
        kept = []
        for number in range(len(plan.layers)):
            await go_to(ctx, dut, number)
            kept.append((ctx.get(dut.parameters).rate, ctx.get(dut.parameters).exponent))
        return kept

    async def try_rates(ctx, plan):
        """RATES changes all rates or none."""
        for _ in range(3):
            before = await rates_of(ctx, plan)
            wanted = [(random.randrange(256), random.randint(-63, 63)) for _ in plan.layers]
            operands = bytearray(b"".join(bytes([rate, e & 255]) for rate, e in wanted).ljust(16, b"\0"))
            wrong = bytearray(operands)
            wrong[random.randrange(1, 16, 2)] = random.randrange(64, 193)
            assert await loading.load(ctx, operations.request(Operation.RATES, bytes(wrong)))
            assert await rates_of(ctx, plan) == before
            assert not await loading.load(ctx, operations.request(Operation.RATES, bytes(operands)))
            assert await rates_of(ctx, plan) == wanted
            assert ctx.get(dut.complete)

    async def testbench(ctx):
        for case in cases:
            plan, (head, *layers) = case.plan, operations.plan_requests(case.plan, case.settings)
            for number, request in enumerate((head, *layers)):
                before = state(ctx)
                assert await loading.load(ctx, faulty(request, random))
                after = state(ctx)
                if request[0] == Operation.PLAN:
                    assert after == before
                else:  # whether it fits is said of the region of the request
                    assert (after[:3], after[-1]) == (before[:3], before[-1])
                if number == 0:
                    loading.tables.clear()
                assert not await loading.load(ctx, request)
                assert ctx.get(dut.complete) == (number == len(layers))
            numbers = ctx.get(dut.numbers)
            assert (numbers.last + 1, numbers.wide * 7 + 1) == (len(layers), plan.input_bits)
            assert (numbers.pairs + 1, numbers.biases) == (plan.devices, plan.biases)
            assert (numbers.rule, numbers.batch) == (plan.rule, plan.batch)
            assert loading.tables == tables_of(case)
            assert ctx.get(dut.reach) == loading.tables["gap", REACH]
            for number, layer in enumerate(plan.layers):
                await go_to(ctx, dut, number)
                kept, region = ctx.get(dut.parameters), layer.region
                assert (kept.base, kept.rows, kept.cols) == (region.base, region.rows, region.cols)
                assert (kept.shift, kept.rate, kept.exponent) == (layer.shift, layer.rate, layer.exponent)
            await try_rates(ctx, plan)
        ctx.set(dut.forget, 1)
        await ctx.tick()
        ctx.set(dut.forget, 0)
        assert not ctx.get(dut.complete) and not ctx.get(dut.fits)

    simulate(dut, testbench, limit=100_000)


def test_a_layer_fits_behind_the_units_before(simulate):
    """Its rows, the row of biases, pairs, the units of all layers, and whether a layer is awaited."""
    config = learning(4)
    dut = PlanLoader(config)
    loading = Loading(dut, None)
    tables = bytes(2 * (operations.GAPS + 256))

    async def fits(ctx, rows, cols):
        ctx.set(dut.rows, rows)
        ctx.set(dut.cols, cols)
        await ctx.delay(1e-9)
        return ctx.get(dut.fits)

    async def plan(ctx, layers, flags):
        head = PLAN.pack_named(layers=layers, flags=flags, batch=1)
        assert not await loading.load(ctx, operations.request(Operation.PLAN, head + tables))

    async def layer(ctx, rows, cols, entries):
        operands = REGION.pack(0, rows, cols) + LAYER.pack_named(shift=0, rate=1, exponent=0)
        assert not await loading.load(ctx, operations.request(Operation.LAYER, operands + bytes(2 * entries)))

    async def testbench(ctx):
        assert not await fits(ctx, 3, 4)  # none is awaited
        await plan(ctx, 2, 0)
        for rows, cols, right in ((1, 1, 1), (128, 1, 1), (3, 5, 1), (3, 64, 1), (3, 65, 0), (3, 128, 0)):
            assert await fits(ctx, rows, cols) == right
        await layer(ctx, 3, 30, 256)
        for rows, cols, right in ((30, 5, 1), (29, 5, 0), (31, 5, 0), (3, 5, 0), (30, 34, 1), (30, 35, 0)):
            assert await fits(ctx, rows, cols) == right
        await layer(ctx, 30, 34, 0)
        assert not await fits(ctx, 34, 4) and not await fits(ctx, 3, 30)
        await plan(ctx, 2, 6)  # pairs and biases
        for rows, cols, right in ((1, 2, 0), (2, 2, 1), (2, 3, 0), (2, 1, 0), (3, 128, 1)):
            assert await fits(ctx, rows, cols) == right
        await layer(ctx, 3, 60, 256)
        for rows, cols, right in ((31, 2, 1), (30, 2, 0), (60, 2, 0), (61, 2, 0), (31, 68, 1), (31, 70, 0)):
            assert await fits(ctx, rows, cols) == right

    simulate(dut, testbench, limit=5000)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_images_have_the_bytes_that_they_take(wide, labels, simulate):
    dut, random = ImageCheck(learning(4)), Random(wide + 2 * labels)

    async def verdict(ctx, rows, count, remaining):
        ctx.set(dut.rows, rows)
        ctx.set(dut.remaining, remaining)
        ctx.set(dut.start, 1)
        for clock in range(22):
            ctx.set(dut.count_bit, count >> 15)
            await ctx.delay(1e-9)
            if ctx.get(dut.rotate_count):
                count = (count << 1 | count >> 15) & 0xFFFF
            accept, refuse = ctx.get(dut.accept), ctx.get(dut.refuse)
            await ctx.tick()
            ctx.set(dut.start, 0)
            if accept or refuse:
                assert accept != refuse and clock <= 21
                return bool(accept), count
        pytest.fail("no verdict within 21 clocks")

    async def testbench(ctx):
        ctx.set(dut.wide, wide)
        ctx.set(dut.labels, labels)
        for _ in range(60):
            rows = random.choice([1, 7, 8, 9, 128, random.randint(1, 128)])
            count = random.choice([0, 1, 255, 65535, random.randrange(500)])
            size = (rows if wide else -(-rows // 8)) + labels
            for wrong in (0, 1, -1, random.randint(-300, 300)):
                remaining = (count * size + wrong) % 65536
                expected = remaining == count * size
                assert await verdict(ctx, rows, count, remaining) == (expected, count), (
                    rows,
                    count,
                    remaining,
                )

    simulate(dut, testbench, limit=8000)
