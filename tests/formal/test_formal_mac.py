import pytest
from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from formal_tools import Opened, assert_contract, assume_stable, mutant

from qcloop.array import ArrayConfig
from qcloop.contract.formats import CODE_BITS, CODE_MAX, MAX_SIDE
from qcloop_hdl.array import active_rows, mac, sums, walk
from qcloop_hdl.array.active_rows import ActiveRows
from qcloop_hdl.array.draw import Draw
from qcloop_hdl.array.lanes import PRODUCT_BITS, Lane, Lanes
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.products import Item, Product
from qcloop_hdl.array.sums import Sums, sum_bits
from qcloop_hdl.array.walk import Walk
from qcloop_hdl.config import EngineConfig, MemoryKind

#: Largest size of a product forward and backward.
FORWARD, BACKWARD = 255 * CODE_MAX, 128 * CODE_MAX


def config(lanes, side=4, kind=MemoryKind.BLOCK):
    return EngineConfig("proof", ArrayConfig(lanes=lanes, cells=8 * lanes, side=side), kind, model=True)


def within(value, size):
    return (value <= size) & (value >= -size)


class AnyDraw(Draw):
    """Codes of any kind."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.result.eq(AnySeq(len(self.result.as_value())))
        return m


class LaneOfAnyCodes(Lane):
    """A lane whose codes are not drawn, but of any kind."""

    def new_draw(self):
        return AnyDraw()


class LaneProof(wiring.Component):
    """A lane whose elements are bytes, unsigned or signed: its product is theirs with any code, and in range.

    ``lowest`` is the least element there is.
    """

    x: In(signed(9))
    reference: In(CODE_BITS)
    advance: In(1)

    def __init__(self, *, lowest=-128):
        self.dut, self.lowest = LaneOfAnyCodes(), lowest
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        for name in ("x", "reference", "advance"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += Assume((self.x >= self.lowest) & (self.x <= 255))
        x, difference, true = (Signal(signed(bits), reset_less=True) for bits in (9, 11, 20))
        low = Signal(init=1, reset_less=True)
        with m.If(self.advance):
            m.d.sync += [
                x.eq(self.x),
                difference.eq(dut.drawn.code - self.reference),
                # These are equal to ours: with them the solver need not compare two multipliers.
                true.eq(inside["x"] * inside["difference"]),
                low.eq(within(x, 128)),
            ]
        m.d.comb += [
            Assert(inside["x"] == x),
            Assert(inside["difference"] == difference),
            Assert(within(difference, CODE_MAX)),
            Assert((x >= self.lowest) & (x <= 255)),
            Assert(dut.product == true),
            Assert(within(true, FORWARD)),
            Assert(~low | within(true, BACKWARD)),
        ]
        return m


class SumsProof(wiring.Component):
    """The sums, and beside them sums of the same products that are too wide to overflow.

    A sum has at most as many words as a column of a region, or with ``backward`` as a row: that is assumed
    here, and WalkProof proves it. ``longer`` allows so many words more.
    """

    def __init__(self, config, *, backward, sums=Sums, longer=0):
        self.config, self.backward, self.dut = config, backward, sums(config)
        self.most = (config.row_words if backward else config.side) + longer
        ports = self.dut.signature.members
        super().__init__({name: ports[name] for name in ("used", "item", "more", "products", "sums")})

    def elaborate(self, platform):
        m = Module()
        dut, lanes, side = self.dut, self.config.lanes, self.config.side
        m.submodules.dut = inside = Opened(dut)
        self.tree = inside.inside("tree")
        self.totals = inside.inside("accumulators").component.totals
        for name in ("used", "item", "more"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += [its.eq(ours) for its, ours in zip(dut.products, self.products, strict=True)]
        m.d.comb += dut.backward.eq(self.backward)
        wiring.connect(m, dut.sums, wiring.flipped(self.sums))
        assert_contract(m, self.sums)
        products = [self.products[lane] for lane in range(lanes)]
        size = BACKWARD if self.backward else FORWARD
        m.d.comb += [Assume(within(product, size)) for product in products]
        if self.backward:
            # A lane that a row does not reach has an element of 0. Such lanes matter where a whole row is
            # less than a word.
            m.d.comb += [Assume(product == 0) for product in products[side:]]
            size *= min(lanes, side)

        root, item, count = Signal(signed(40), reset_less=True), Signal(Item), Signal(range(16))
        entering = self.item
        if self.config.registered:
            products, entering = self._middle(m, products)
        with m.If(dut.advance):
            m.d.sync += [root.eq(sum(products) if self.backward else products[0]), item.eq(entering)]
            with m.If(entering.valid):
                m.d.sync += count.eq(Mux(entering.first, 1, count + 1))
        m.d.comb += Assert(count <= self.most)
        m.d.comb += Assume(~entering.valid | entering.first | (count != 0) & (count < self.most))
        m.d.comb += [
            Assert(self.tree.component.root_item.as_value() == item.as_value()),
            Assert(self.tree.component.root == root),
            Assert(within(root, size)),
        ]
        first = self._sum(m, 0, item, root, size)
        m.d.comb += [
            Assert(~item.valid | item.first | (first != 0)),
            Assert(count == Mux(item.valid, Mux(item.first, 1, first + 1), first)),
        ]
        for lane in range(1, lanes):
            m.d.comb += Assert(count == self._sum(m, lane, entering, products[lane], FORWARD))
        return m

    def _middle(self, m, products):
        """Return the products and their word a clock later, and assert the tree's middle registers."""
        dut, tree = self.dut, self.tree.component
        delayed = [Signal(signed(PRODUCT_BITS), reset_less=True) for _ in products]
        entering = Signal(Item)
        with m.If(dut.advance):
            m.d.sync += [
                entering.eq(self.item),
                *(ours.eq(one) for ours, one in zip(delayed, products, strict=True)),
            ]
        m.d.comb += Assert(tree.lane_item.as_value() == entering.as_value())
        count = 1 << (len(delayed) - 1).bit_length() - (len(delayed) - 1).bit_length() // 2
        span = len(delayed) // count
        for number in range(count):
            group = sum(delayed[span * number :][:span]) if self.backward else 0 if number else delayed[0]
            m.d.comb += Assert(self.tree[f"node{number}"] == group)
        for lane, ours in enumerate(delayed):
            limit = (
                0 if self.backward and lane >= self.config.side else BACKWARD if self.backward else FORWARD
            )
            m.d.comb += [Assert(tree.lane_products[lane] == ours), Assert(within(ours, limit))]
        return delayed, entering

    def _sum(self, m, lane, item, product, size):
        """Return the number of words in the sum of a lane, 0 before the first of all."""
        total, count = Signal(signed(40), name=f"true{lane}"), Signal(range(16), name=f"count{lane}")
        with m.If(self.dut.advance & item.valid):
            m.d.sync += [
                total.eq(Mux(item.first, product, total + product)),
                count.eq(Mux(item.first, 1, count + 1)),
            ]
        m.d.comb += [
            Assert((count == 0) | (self.totals[lane] == total)),
            Assert((count == 0) | within(total, count * size)),
            Cover((count == self.most) & (total == -self.most * size)),
        ]
        return count


class AnyRows(ActiveRows):
    """Rows of any kind, and at most as many in a walk as the vector has, as ActiveRowsProof proves."""

    def elaborate(self, platform):
        m = Module()
        given = Signal(range(self.side + 1))
        row = self.row
        outputs = (self.bits.ready, row.valid, row.payload, self.enters, self.opening)
        m.d.comb += [output.eq(AnySeq(len(Value.cast(output)))) for output in outputs]
        m.d.comb += Assume(
            ~row.valid | (given + 1 < self.rows) | ((given + 1 == self.rows) & row.payload.last)
        )
        with m.If(row.valid & row.ready):
            m.d.sync += given.eq(Mux(row.payload.last, 0, given + 1))
        with m.If(self.start):
            m.d.sync += given.eq(0)
        return m


def of_any_rows(walk):
    """Return a kind of Walk whose active rows are of any kind."""

    class WalkOfAnyRows(walk):
        def new_rows(self):
            return AnyRows(self.config.side)

    return WalkOfAnyRows


class ActiveRowsProof(wiring.Component):
    """A walk over active rows: what is offered stays, and no walk has more items than the vector has rows."""

    def __init__(self, side, rows=ActiveRows, *, tag_bits=0):
        self.dut = rows(side, tag_bits)
        ports = self.dut.signature.members
        names = ("start", "rows", "bits", "row", *["tag"] * bool(tag_bits))
        super().__init__({name: ports[name] for name in names})

    def elaborate(self, platform):
        m = Module()
        dut, row = self.dut, self.dut.row
        m.submodules.dut = inside = Opened(dut)
        for name in ("bits", "row"):
            ours, its = getattr(self, name), getattr(dut, name)
            wiring.connect(
                m, *((wiring.flipped(ours), its) if name == "bits" else (its, wiring.flipped(ours)))
            )
        m.d.comb += [dut.start.eq(self.start), dut.rows.eq(self.rows)]
        if dut.tag_bits:
            m.d.comb += dut.tag.eq(self.tag)
        m.d.comb += Assume((self.rows >= 1) & (self.rows <= dut.side))
        started, rows = Signal(), Signal.like(self.rows)
        offered, payload = Signal(), Signal(len(row.payload.as_value()))
        m.d.sync += [
            started.eq(started | self.start),
            rows.eq(self.rows),
            offered.eq(row.valid & ~row.ready & started & ~self.start),
            payload.eq(row.payload.as_value()),
        ]
        self._follow(m, inside["take"])
        # A new vector may have another number of rows.
        with m.If(started & ~self.start):
            m.d.comb += Assume(self.rows == rows)
            if not dut.tag_bits:  # Why it is so.
                self._groups(m, inside)
                self._count(m, inside)
            with m.If(row.valid):
                m.d.comb += Assert(row.payload.last | (self.given + 1 < self.rows))
                m.d.comb += Assert(self.given < self.rows)
            with m.If(offered):
                m.d.comb += [Assert(row.valid), Assert(row.payload.as_value() == payload)]
        m.d.comb += Cover(started & row.valid & row.payload.last & (self.given == dut.side - 1))
        return m

    def _groups(self, m, inside):
        """The number of the group that comes next follows from the group that the walk is in."""
        here, final, number, written = (inside[name] for name in ("here", "final", "number", "written"))
        fetched, fetched_final = inside["fetched"], inside["fetched_final"]
        group, full = self.dut.row.payload.group, self.rows[:3] == 0
        last = Signal(range(self.dut.side))
        m.d.comb += last.eq((self.rows - 1) >> 3)
        coming = Mux(here & final, 0, group + here)
        with m.If(fetched):
            m.d.comb += [
                Assert(number == Mux(coming == last, 0, coming + 1) + full),
                Assert(fetched_final == (coming == last)),
            ]
        with m.Else():
            m.d.comb += Assert(number == coming + full)
        # The last group is not read before it is written.
        with m.If(inside["loading"]):
            m.d.comb += [
                Assert((number <= written) & (written <= last + full)),
                Assert(~(here & final) & ~(fetched & fetched_final)),
            ]
        m.d.comb += [Assert(group <= last), Assert(~here | (final == (group == last)))]
        behind = Cat((self.rows[:3] != 0) & (self.rows[:3] <= n) for n in range(8))
        m.d.comb += Assert(~(here & final) | ~(inside["rest"] & behind).any())
        m.d.comb += Assert(self.dut.opening == (group == 0))

    def _follow(self, m, take):
        """Count the rows that were given in the walk, keep the offset behind the last one of its group."""
        row = self.dut.row
        self.given, self.following = Signal(range(self.dut.side + 2)), Signal(range(9))
        with m.If(row.valid & row.ready):
            m.d.sync += [
                self.given.eq(Mux(row.payload.last, 0, self.given + 1)),
                self.following.eq(row.payload.offset + 1),
            ]
        with m.If(take):
            m.d.sync += self.following.eq(0)
        with m.If(self.start):
            m.d.sync += self.given.eq(0)

    def _count(self, m, inside):
        """Of a group not more rows are given than lie before the row that comes next."""
        row, rest, here = self.dut.row, inside["rest"], inside["here"]
        given, following = self.given, self.following
        group, last = row.payload.group, (self.rows - 1)[:3]
        with m.If(here):
            m.d.comb += [Assert(~rest[n] | (following <= n)) for n in range(8)]
            m.d.comb += [
                Assert(given <= 8 * group + following),
                Assert(inside["fresh"] | rest.any()),
                Assert(inside["fresh"] | ~inside["final"] | (following <= last)),
                Assert(~inside["fresh"] | (following == 0)),
            ]
        with m.Else():
            m.d.comb += Assert(given <= 8 * group)


class WalkProof(wiring.Component):
    """A walk over any region, and the number of words in each of its sums."""

    def __init__(self, config, walk=Walk):
        self.config, self.dut = config, of_any_rows(walk)(config)
        ports = self.dut.signature.members
        names = ("command", "drained", "advance", "may_read", "skip", "vector", "item")
        super().__init__({name: ports[name] for name in names})

    def elaborate(self, platform):
        m = Module()
        dut, side = self.dut, self.config.side
        m.submodules.dut = inside = Opened(dut)
        for name in ("command", "vector"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        for name in ("drained", "advance", "may_read", "skip"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += self.item.eq(dut.item)
        command = self.command.payload
        for count in (command.rows, command.cols):
            m.d.comb += Assume((count >= 1) & (count <= side))
        m.d.comb += Assume(command.product.as_value() <= Product.BACKWARD.value)
        assume_stable(m, command.as_value(), dut.busy | self.command.valid)
        assume_stable(m, self.skip, dut.busy)

        # Mac says that it is drained only when the last word of the command has left the stages.
        m.d.comb += Assume(~(self.drained & dut.item.last))
        self._counters(m, inside)
        m.d.comb += Cover(dut.item.valid & (self.count == side - 1))
        return m

    def _counters(self, m, inside):
        dut, most = self.dut, Mux(self.dut.backward, self.config.row_words, self.config.side)
        inner, length = inside["inner"], inside["length"]
        filling, given = dut.loading & dut.backward, inside.inside("rows")["given"]
        stepped, self.count = Signal(range(16)), Signal(range(16))
        with m.If(dut.step):
            m.d.sync += stepped.eq(Mux(inside["fresh"], 1, stepped + 1))
        words = Mux(dut.item.valid, Mux(dut.item.first, 1, self.count + 1), self.count)
        with m.If(dut.advance):
            m.d.sync += self.count.eq(words)
        m.d.comb += [
            Assert(stepped == words),
            Assert(~dut.item.valid | dut.item.first | (self.count != 0) & (self.count < most)),
        ]
        with m.If(dut.item.valid):
            m.d.comb += Assert(dut.more | dut.item.last)
        with m.If(inside["starting"] | dut.more):
            m.d.comb += Assert((length >= 1) & (length <= most))
        product = dut.command.payload.product.as_value()
        with m.If(inside["starting"] | dut.more):
            m.d.comb += Assert(dut.backward == (product == Product.BACKWARD.value))
        with m.If(dut.more):
            m.d.comb += Assert(dut.skips == (dut.skip & (product == Product.FORWARD1.value)))
        with m.If(dut.more & dut.skips):
            m.d.comb += [
                Assert(~inside["starting"]),
                Assert(inside["fresh"] == (given == 0)),
                Assert(inside["fresh"] | (stepped == given)),
            ]
        with m.Elif(dut.more):
            m.d.comb += [Assert(~inside["starting"]), Assert((inner >= 1) & (inner <= length))]
            with m.If(inside["fresh"]):
                m.d.comb += Assert(filling | (inner == 1))
            with m.Else():
                m.d.comb += [Assert(~filling), Assert(stepped + 1 == inner), Assert(stepped != 0)]
            with m.If(filling & (inner == length) & (dut.tail != 0)):
                m.d.comb += Assert((inside["lane"] != 0) & (inside["lane"] <= dut.tail))


class AnyLanes(Lanes):
    """Products of any kind."""

    def elaborate(self, platform):
        m = Module()
        for output in (self.word, self.drawn, *self.products):
            m.d.comb += output.eq(AnySeq(len(Value.cast(output))))
        return m


def of_any_products(mac):
    """Return a kind of Mac whose products are of any kind."""

    class MacOfAnyProducts(mac):
        def new_lanes(self):
            return AnyLanes(self.config)

    return MacOfAnyProducts


class MacProof(wiring.Component):
    """The streams of products, whatever their values, and that nothing happens without a command."""

    def __init__(self, config, mac=Mac):
        self.dut = of_any_products(mac)(config)
        ports = self.dut.signature.members
        names = ("command", "settings", "vector", "result", "noise")
        super().__init__({name: ports[name] for name in names})

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = self.inside = inside = Opened(dut)
        for name in ("command", "vector", "noise"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        wiring.connect(m, dut.result, wiring.flipped(self.result))
        m.d.comb += dut.settings.eq(self.settings)
        assume_stable(m, self.settings.as_value(), dut.busy | self.command.valid)
        assume_stable(m, self.command.payload.as_value(), dut.busy | self.command.valid)
        assert_contract(m, self.result)
        self._idle(m, inside)
        self._noise(m, inside.inside("walk").component, dut.settings.read_spread.any())
        m.d.comb += Cover(dut.result.valid & self.noise.valid)
        return m

    def _idle(self, m, inside):
        """What the proof of the engine assumes of products."""
        dut, idle = self.dut, Signal()
        m.d.sync += idle.eq(~dut.busy & ~dut.command.valid)
        acts = (dut.vector.ready, dut.noise.ready, dut.result.valid, dut.saturated, dut.word_read)
        with m.If(~dut.busy):
            m.d.comb += Assert(~Cat(acts).any())
        if not dut.config.registered:
            m.d.comb += Assert(dut.memory_enable == dut.word_read)
        saturated, read, before = Signal(), Signal(), Signal()
        m.d.sync += [saturated.eq(dut.saturated), read.eq(dut.word_read), before.eq(read)]
        m.d.comb += Assert(~(dut.saturated & dut.result.valid))
        m.d.comb += [Assert(~saturated | dut.result.valid), Assert(~(read | before) | dut.busy)]
        adc = inside.inside("adc")
        shifter, saturator = (adc.inside(name).component for name in ("shifter", "saturator"))
        product, walk = dut.command.payload.product, inside.inside("walk").component
        off = (product == Product.BACKWARD) | (dut.settings.adc_bits == 0)
        with m.If(dut.busy):
            m.d.comb += Assert(walk.backward == (product == Product.BACKWARD))
        with m.If(walk.more):
            m.d.comb += Assert(walk.skips == (walk.skip & (product == Product.FORWARD1)))
        m.d.comb += Assert(~off | ~(shifter.shifted_valid | saturator.result_valid))
        with m.If(idle):
            m.d.comb += Assert(~dut.busy)
        if dut.config.lanes > 1:
            # The sums that wait are the first of the queue.
            waiting = inside.inside("sums").inside("queue")["waiting"][1:]
            m.d.comb += Assert((waiting & (waiting + 1)) == 0)

    def _noise(self, m, walk, noisy):
        """A vector of samples is taken for each word that is read, and for no other reason."""
        dut, item, owed = self.dut, walk.item, Signal()
        taken = dut.noise.valid & dut.noise.ready
        m.d.sync += owed.eq(taken | (owed & ~dut.word_read))
        m.d.comb += [
            Assert(noisy | ~dut.noise.ready),
            Assert(~taken | ~owed | dut.word_read),
            Assert(~item.valid | walk.more | item.last),
            Assert(~item.read | item.valid),
            Assert(~item.valid | ~noisy | item.read),
            Assert(~item.valid | (self.inside["noisy"] == noisy)),
            Assert(~walk.more | (self.inside["noisy"] == noisy)),
            Assert(owed == (item.valid & noisy)),
            Assert(~dut.word_read | ~noisy | owed),
        ]


def test_a_product_is_in_range(sby):
    assert sby(LaneProof()) == "PASS"


def test_a_larger_element_is_not_in_range(sby):
    assert sby(LaneProof(lowest=-256), mode="bmc", depth=8) == "FAIL"


@pytest.mark.parametrize("kind", MemoryKind)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("lanes", "side"), [(1, 3), (4, 6), (4, 2)])
def test_sums_do_not_overflow(lanes, side, backward, kind, sby):
    assert sby(SumsProof(config(lanes, side, kind), backward=backward)) == "PASS"


def test_the_largest_sums_are_reached(sby):
    assert sby(SumsProof(config(2), backward=False), mode="cover", depth=8) == "PASS"


def test_a_longer_sum_overflows(sby):
    assert sby(SumsProof(config(2), backward=False, longer=1), mode="bmc", depth=8) == "FAIL"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return (side * 255 * CODE_MAX).bit_length() + 1", "return (side * 255 * CODE_MAX).bit_length()"),
        ("flow = ~self.sums.valid | self.sums.ready", "flow = self.sums.valid | self.sums.ready"),
    ],
)
def test_sums_with_a_fault_fail(old, new, sby):
    faulty = mutant(sums, {old: new}).Sums
    assert sby(SumsProof(config(2), backward=False, sums=faulty), mode="bmc", depth=8) == "FAIL"


@pytest.mark.parametrize("side", [3, 8, 20])
def test_no_walk_has_more_rows_than_the_vector(side, sby):
    assert sby(ActiveRowsProof(side)) == "PASS"


@pytest.mark.parametrize("side", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_no_walk_over_kept_groups_has_more_rows_than_the_vector(side, sby):
    assert sby(ActiveRowsProof(side, tag_bits=2), mode="bmc", depth=24) == "PASS"


def test_a_walk_of_all_rows_is_reached(sby):
    assert sby(ActiveRowsProof(9), mode="cover", depth=18) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return kept & ~behind, fetched_final", "return kept, fetched_final"),
        ("rest.eq(Mux(take, byte, rest & lower))", "rest.eq(Mux(take, byte, rest))"),
        ("(~loading | (number != written))", "1"),
    ],
)
def test_active_rows_with_a_fault_are_not_proved(old, new, sby):
    assert sby(ActiveRowsProof(9, mutant(active_rows, {old: new}).ActiveRows)) != "PASS"


@pytest.mark.parametrize(("lanes", "side"), [(1, 3), (4, 6)])
def test_no_sum_has_more_words_than_a_region_allows(lanes, side, sby):
    assert sby(WalkProof(config(lanes, side))) == "PASS"


def test_the_longest_walk_is_reached(sby):
    assert sby(WalkProof(config(2)), mode="cover", depth=9) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fresh.eq(wrap)", "fresh.eq(0)"),
        ("(inner == length) & (~filling", "(inner == length + 1) & (~filling"),
        ("command.cols[lane_bits:] + self.tail.any()", "command.cols"),
    ],
)
def test_a_walk_with_a_fault_is_not_proved(old, new, sby):
    assert sby(WalkProof(config(2), mutant(walk, {old: new}).Walk)) != "PASS"


@pytest.mark.parametrize("kind", MemoryKind)
@pytest.mark.parametrize("lanes", [1, 4])
def test_streams_of_products(lanes, kind, sby):
    assert sby(MacProof(config(lanes, kind=kind))) == "PASS"


def test_products_come_out(sby):
    assert sby(MacProof(config(1)), mode="cover", depth=20) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.noise.ready.eq(walk.step_dense & noisy)", "self.noise.ready.eq(noisy)"),
        ("walk.may_read.eq(~noisy | self.noise.valid)", "walk.may_read.eq(1)"),
        ("in_flight | sums.busy | adc.busy", "in_flight | adc.busy"),
        ("busy.eq(walk.busy)", "busy.eq(walk.busy & ~walk.loading)"),
    ],
)
def test_products_with_a_fault_are_not_proved(old, new, sby):
    assert sby(MacProof(config(2), mutant(mac, {old: new}).Mac)) != "PASS"


def test_the_widest_sums_fit_a_result():
    for side in range(1, MAX_SIDE + 1):
        assert side * FORWARD < 1 << sum_bits(side) - 1
    assert sum_bits(MAX_SIDE) <= 32
