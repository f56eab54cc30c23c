"""The engine in Amaranth's simulator, as an array, and random programs for it beside the golden model.

An operation of a program is a kind and a seed; what it does follows from these and from the state of the
golden model, so any operation can be dropped from a program and the rest still makes sense.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from amaranth import ClockDomain, Module
from amaranth.sim import Simulator

from qcloop.array import (
    STUCK_LEVEL,
    AdcStage,
    ArrayConfig,
    ArraySettings,
    GoldenArray,
    Policy,
    Positions,
    Region,
)
from qcloop.contract import operations
from qcloop.contract.formats import CODE_MAX, MAX_STATES, SPREAD_MAX, TABLE_ENTRY
from qcloop.contract.frames import Identity
from qcloop.contract.operations import LISTED_CELL, Operation, Status
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import I32, U8
from qcloop.errors import ArrayError, QcloopError
from qcloop.link.remote import RemoteArray
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine

CLOCK_PERIOD = 1e-6
#: Clocks after which an exchange has failed.
CLOCK_LIMIT = 400_000


class Stalled(AssertionError):
    """The engine did not answer within the clocks it had."""


class SimulatedEngine:
    """An engine in simulation, its clock and its two byte streams.

    Parameters
    ----------
    config : EngineConfig
    spoil : Callable
        Called with the engine before it is elaborated, to replace parts of it.
    """

    def __init__(self, config: EngineConfig, spoil: Callable[[Engine], None] = lambda engine: None) -> None:
        self.config = config
        self.clocks = 0
        #: Clocks at which the last byte was taken, and the last came.
        self.last_taken = self.last_came = 0
        #: Where pauses come from; None for no pauses.
        self.pauses: Random | None = None
        self._to_send: deque[int] = deque()
        self._came = bytearray()
        self._reset = False
        self.dut = Engine(config.as_model())
        spoil(self.dut)
        module = Module()
        module.domains.sync = self._domain = ClockDomain()
        module.submodules.engine = self.dut
        self._simulator = Simulator(module)
        self._simulator.add_clock(CLOCK_PERIOD)
        self._simulator.add_testbench(self._drive)

    async def _drive(self, ctx: Any) -> None:
        rx, tx = self.dut.rx, self.dut.tx
        offered = False
        tick = ctx.tick().sample(rx.ready, tx.valid, tx.payload)
        while True:
            pauses = self.pauses
            if not offered and self._to_send and not (pauses and pauses.random() < 0.4):
                offered = True
                ctx.set(rx.payload, self._to_send[0])
                ctx.set(rx.valid, 1)
            ready = not (pauses and pauses.random() < 0.4)
            ctx.set(tx.ready, ready)
            ctx.set(self._domain.rst, self._reset)
            _, _, taken, came, byte = await tick
            self.clocks += 1
            if offered and taken:
                self._to_send.popleft()
                self.last_taken = self.clocks
                offered = False
                ctx.set(rx.valid, 0)
            if came and ready:
                self._came.append(byte)
                self.last_came = self.clocks

    def reset(self) -> None:
        """Reset the engine."""
        self._reset = True
        self.run(2)
        self._reset = False

    def run(self, clocks: int) -> None:
        """Let the engine run."""
        end = self.clocks + clocks
        while self.clocks < end:
            self._simulator.advance()

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send bytes and return the status and the results of one answer."""
        header = operations.HEADER
        self._to_send.extend(request)
        end = self.clocks + CLOCK_LIMIT
        length = header.size
        while len(self._came) < length or self._to_send:
            self._simulator.advance()
            if len(self._came) >= header.size:
                length = header.size + header.unpack(self._came[: header.size])[1]
            if self.clocks > end:
                raise Stalled(
                    f"{len(self._to_send)} of {len(request)} bytes not taken and {len(self._came)} of "
                    f"{length} came after {CLOCK_LIMIT} clocks"
                )
        status, _ = header.unpack(self._came[: header.size])
        results = bytes(self._came[header.size :])
        if len(self._came) != length:
            raise Stalled(f"{len(self._came)} bytes came where {length} were announced")
        self._came.clear()
        return status, results


def answers_to(requests: bytearray, exchange: Callable[[bytes], tuple[int, bytes]]) -> bytes:
    """Take the requests that are there whole, and return their answers as the engine sends them."""
    header, answers = operations.HEADER, b""
    while len(requests) >= header.size:
        size = header.size + header.unpack(requests)[1]
        if len(requests) < size:
            break
        status, results = exchange(bytes(requests[:size]))
        answers += header.pack(status, len(results)) + results
        del requests[:size]
    return answers


class ExchangedLink:
    """A link whose other end is an engine's two streams: each request is executed when it is sent."""

    name = "engine"

    def __init__(self, config: EngineConfig, exchange: Callable[[bytes], tuple[int, bytes]]) -> None:
        self.identity = Identity(config.info, boots=0, request_buffer=0, answer_buffer=0)
        self._exchange, self._answers = exchange, b""

    def send(self, requests: bytes) -> None:
        self._answers += answers_to(bytearray(requests), self._exchange)

    def receive(self, count: int) -> bytes:
        data, self._answers = self._answers[:count], self._answers[count:]
        return data


def engine_array(config: EngineConfig, exchange: Callable[[bytes], tuple[int, bytes]]) -> RemoteArray:
    """Return the host's array behind an engine's byte streams."""
    return RemoteArray(ExchangedLink(config, exchange))


# -- random programs -------------------------------------------------------------------------------

Step = tuple[str, int]


def random_settings(draw: Random) -> ArraySettings:
    """Return settings that reach every corner: clipping, stuck cells, 64 states, saturation."""
    states = draw.choice((2, 3, 5, 16, 32, MAX_STATES))
    widest = draw.choice((0, 40, 400, SPREAD_MAX))
    return ArraySettings(
        seed=draw.getrandbits(64),
        mean=tuple(draw.choice((0, CODE_MAX, draw.randint(0, CODE_MAX))) for _ in range(states)),
        spread=tuple(draw.randint(widest // 2, widest) for _ in range(states)),
        reference=draw.choice((0, CODE_MAX, draw.randint(0, CODE_MAX))),
        policy=draw.choice(tuple(Policy)),
        adc=draw.choice((None, AdcStage(draw.randint(2, 16), draw.choice((0, 3, 8, 22))))),
        read_spread=draw.choice((0, 0, draw.randint(1, 200), SPREAD_MAX)),
        verify_tolerance=draw.choice((0, 4, 30, CODE_MAX)),
        verify_tries=draw.choice((1, 2, 7, draw.randint(1, 255))) if widest < 400 else draw.randint(1, 4),
    )


def allowed(settings: ArraySettings, parts: ArrayPart) -> ArraySettings:
    """Return settings that need no other parts than these."""
    less = {
        ArrayPart.READ_NOISE: {"read_spread": 0},
        ArrayPart.CONVERTER: {"adc": None},
        ArrayPart.VERIFY: {"policy": Policy.RESET_ONLY},
    }
    for part in settings.needs() & ~parts:
        settings = replace(settings, **less[part])
    return settings


class Pair:
    """An engine and its golden model, and every operation that a program may ask of both."""

    #: The operation that a program begins with, and those that it goes on with.
    FIRST: ClassVar[str] = "block"
    KINDS: ClassVar[tuple[str, ...]] = (
        *("block", "program", "forward", "backward") * 4,
        *("load", "read", "counters", "configure", "info"),
        *("bad_operation", "bad_setting", "bad_length", "bad_region", "bad_gap", "bad_level", "bad_cell"),
    )

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.config = engine.config
        self.golden = GoldenArray(self.config.array)
        self.array = engine_array(self.config, engine.exchange)

    # Each returns nothing and raises AssertionError where the two differ.

    def run(self, program: Iterable[Step]) -> None:
        """Run a program from a reset, and compare the whole state at its end."""
        self.engine.reset()
        self.bad_unconfigured(Random(0))
        self.configure(Random(1))
        for kind, seed in program:
            getattr(self, kind)(Random(seed))
        self.state()

    def state(self) -> None:
        """Compare counters, positions and every programmed word."""
        self.counters(Random(0))
        assert self.array.positions() == self.golden.positions()
        lanes, words = self.config.lanes, self.golden._programmed_words
        for base in range(0, words, self.config.side):
            self._read(Region(base, min(self.config.side, words - base), lanes))

    def info(self, draw: Random) -> None:
        status, results = self.engine.exchange(operations.request(Operation.INFO))
        assert (status, operations.Info.decode(results)) == (Status.OK, self.config.info)

    def counters(self, draw: Random) -> None:
        assert self.array.counters() == self.golden.counters()

    def configure(self, draw: Random) -> None:
        settings = random_settings(draw)
        positions = draw.choice((None, Positions(draw.getrandbits(20), draw.getrandbits(59))))
        if settings.needs() & ~self.config.array.parts:
            self.lacking(settings)
            settings = allowed(settings, self.config.array.parts)
        self.golden.configure(settings, positions)
        self.array.configure(settings, positions)

    def block(self, draw: Random) -> None:
        region = self._writable(draw)
        levels = self._levels(draw, region.rows * region.cols).reshape(region.rows, region.cols)
        self.golden.program_block(region, levels)
        self.array.program_block(region, levels)

    def program(self, draw: Random) -> None:
        region = self._programmed(draw)
        if region is None:
            return
        count = draw.choice((0, 1, 2, draw.randint(1, 30)))
        cells = np.array([draw.randrange(region.rows * region.cols) for _ in range(count)], np.int64)
        levels = self._levels(draw, count)
        self.golden.program(region, cells, levels)
        self.array.program(region, cells, levels)

    def load(self, draw: Random) -> None:
        region = self._writable(draw)
        shape = (region.rows, region.cols)
        random = _numpy(draw)
        levels = random.choice(np.array([0, 1, STUCK_LEVEL, *range(8)], np.uint8), shape)
        codes = random.integers(0, CODE_MAX, shape, np.int16, endpoint=True)
        self.golden.load(region, levels, codes)
        self.array.load(region, levels, codes)

    def read(self, draw: Random) -> None:
        region = self._programmed(draw)
        if region is not None:
            self._read(region)

    def _read(self, region: Region) -> None:
        for name, ours, theirs in zip(
            ("levels", "codes"), self.array.read(region), self.golden.read(region), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs, f"{name} of {region}")

    def forward(self, draw: Random) -> None:
        region = self._programmed(draw)
        if region is None:
            return
        bits = draw.choice((1, 8))
        x = _numpy(draw).integers(
            0, 1 << bits, (draw.choice((0, 1, 1, 2, 3)), region.rows), np.uint8 if bits == 1 else np.uint16
        )
        x = np.where(draw.random() < 0.2, (1 << bits) - 1, x).astype(np.uint8)
        self._same(self.array.forward(region, x, bits), self.golden.forward(region, x, bits), region)

    def backward(self, draw: Random) -> None:
        region = self._programmed(draw)
        if region is None:
            return
        d = _numpy(draw).integers(-128, 128, (draw.choice((0, 1, 1, 2, 3)), region.cols)).astype(np.int8)
        self._same(self.array.backward(region, d), self.golden.backward(region, d), region)

    def _same(self, ours: I32, theirs: I32, region: Region) -> None:
        np.testing.assert_array_equal(ours, theirs, f"products of {region}")

    # Requests that must be refused.

    def refused(self, request: bytes, status: Status) -> None:
        assert self.engine.exchange(request) == (status, b""), request.hex()

    def bad_unconfigured(self, draw: Random) -> None:
        """Everything but INFO and CONFIGURE is refused after a reset."""
        for operation in set(Operation) - {Operation.INFO, Operation.CONFIGURE}:
            there = operations.NEEDED.get(operation, ArrayPart(0)) in self.config.array.parts
            status = Status.CONFIGURED if there else Status.PART
            self.refused(operations.request(operation, b"\1\2\3"), status)

    def bad_operation(self, draw: Random) -> None:
        known = tuple(Operation)
        unknown = draw.choice([opcode for opcode in range(256) if opcode not in known])
        opcode = draw.choice((0, 17, 32 + draw.choice(known), unknown))
        self.refused(operations.request(opcode, draw.randbytes(draw.randint(0, 20))), Status.OPERATION)

    def lacking(self, settings: ArraySettings) -> None:
        """Settings that need a part which was left out are refused by all."""
        for array in (self.golden, self.array):
            with pytest.raises(ArrayError, match="this array has no "):
                array.configure(settings)
        self.refused(operations.configure_request(settings, Positions(), self.config.lanes), Status.PART)

    def bad_setting(self, draw: Random) -> None:
        settings = allowed(random_settings(draw), self.config.array.parts)
        good = bytearray(operations.configure_request(settings, Positions(), self.config.lanes))
        start = operations.HEADER.size
        tables = start + operations.TABLE_START + TABLE_ENTRY.size * draw.randrange(settings.states)
        offset, value = draw.choice(
            (
                (start, draw.randint(3, 255)),
                (start + 1, 0),
                (start + 2, draw.choice((1, draw.randint(17, 255)))),
                (start + 3, draw.randint(23, 255)),
                (start + 5, draw.randint(4, 255)),
                (start + 7, draw.randint(4, 255)),
                (start + 9, draw.randint(16, 255)),
                (tables + 2, draw.randint(64, 255)),
            )
        )
        good[offset] = value
        self.refused(bytes(good), Status.SETTING)

    def bad_length(self, draw: Random) -> None:
        """Too short, too long, or empty: of any operation that reaches its length check."""
        region = self._programmed(draw) or self._writable(draw)
        head = operations.encode_region(region)
        operation = draw.choice(OPERATIONS)
        cells = region.rows * region.cols
        count = draw.randint(1, 4)
        products = {
            Operation.FORWARD1: -(-region.rows // 8),
            Operation.FORWARD8: region.rows,
            Operation.BACKWARD: region.cols,
        }
        if operation in products:
            head += count.to_bytes(2, "little")
            good = count * products[operation]
        else:
            good = {Operation.PROGRAM_BLOCK: cells, Operation.LOAD: 2 * cells}.get(operation, 0)
        wrong = draw.choice(tuple({0, 1, good - 1, good + 1, 2 * good, 300} - {good, -1}))
        programmed = region.end(self.config.array) <= self.golden._programmed_words
        if operation is Operation.PROGRAM:
            body = head + bytes(draw.choice((1, 3, 29, 2 * (self.config.buffer // 2 + 1))))
        elif operation is Operation.CONFIGURE:
            body = bytes(64) + bytes(draw.choice((0, 3, 5, 195)))
            if len(body) == 69:
                body = bytes([0, 1]) + body[2:]
        elif operation in (Operation.INFO, Operation.COUNTERS):
            body = bytes(draw.randint(1, 5))
        else:
            body = head + bytes(wrong)
        if draw.random() < 0.2 and operation not in (Operation.INFO, Operation.COUNTERS, Operation.CONFIGURE):
            body = head[: draw.randrange(len(head))]
        elif operation in (*products, Operation.READ, Operation.PROGRAM) and not programmed:
            self.refused(operations.request(operation, body), Status.PROGRAMMED)
            return
        self.refused(operations.request(operation, body), Status.LENGTH)

    def bad_region(self, draw: Random) -> None:
        side, words, lanes = self.config.side, self.config.words, self.config.lanes
        base, rows, cols = draw.choice(
            (
                (0, 0, 1),
                (0, 1, 0),
                (0, side + 1, 1),
                (0, 1, side + 1),
                (0, 0xFFFF, 0xFFFF),
                (words, 1, 1),
                (words - 1, 2, 1),
                (words - 1, 1, lanes + 1),
                (0xFFFF, 1, 1),
                (1, side, side) if side * self.config.array.row_words(side) >= words else (words, side, side),
            )
        )
        operation = draw.choice(_REGION_OPERATIONS)
        body = b"".join(value.to_bytes(2, "little") for value in (base, rows, cols))
        self.refused(operations.request(operation, body + draw.randbytes(draw.randint(2, 30))), Status.REGION)

    def bad_gap(self, draw: Random) -> None:
        """A block behind the first free word, and products of words that were never programmed."""
        marked, words = self.golden._programmed_words, self.config.words
        if marked == words:
            return
        if marked + 1 < words and draw.random() < 0.5:
            head = operations.encode_region(Region(draw.randint(marked + 1, words - 1), 1, 1))
            operation = draw.choice((Operation.PROGRAM_BLOCK, Operation.LOAD))
            self.refused(operations.request(operation, head + bytes(draw.randint(1, 2))), Status.CONTIGUOUS)
        else:
            first = draw.randint(max(0, marked - 2), marked)
            head = operations.encode_region(Region(first, marked + 1 - first, 1))
            operation = draw.choice((*_PRODUCTS, Operation.READ, Operation.PROGRAM))
            self.refused(operations.request(operation, head + draw.randbytes(12)), Status.PROGRAMMED)

    def bad_level(self, draw: Random) -> None:
        states = self.golden.settings.states
        region = self._programmed(draw)
        if draw.random() < 0.5 or region is None:
            region = self._writable(draw)
            levels = self._levels(draw, region.rows * region.cols)
            levels[draw.randrange(len(levels))] = draw.randint(states, 255)
            body = operations.encode_region(region) + levels.tobytes()
            if len(levels) <= self.config.buffer:
                self.refused(operations.request(Operation.PROGRAM_BLOCK, body), Status.LEVEL)
        elif states < MAX_STATES:
            cells = np.zeros(4, np.int64)
            levels = self._levels(draw, 4)
            levels[draw.randrange(4)] = draw.randint(states, MAX_STATES - 1)
            (request,) = operations.program_requests(region, cells, levels, self.config.lanes, 256)
            self.refused(request, Status.LEVEL)

    def bad_cell(self, draw: Random) -> None:
        region = self._programmed(draw)
        if region is None:
            return
        end, most = (
            region.rows * self.config.array.row_words(region.cols) * self.config.lanes,
            LISTED_CELL["offset"].most + 1,
        )
        if end >= most:
            return
        offsets = [draw.randrange(end) for _ in range(5)]
        offsets[draw.randrange(5)] = draw.choice((end, min(end + draw.randint(0, 99), most - 1), most - 1))
        body = b"".join(offset.to_bytes(LISTED_CELL.size, "little") for offset in offsets)
        self.refused(
            operations.request(Operation.PROGRAM, operations.encode_region(region) + body), Status.CELL
        )

    # What is drawn.

    def _levels(self, draw: Random, count: int) -> U8:
        return _numpy(draw).integers(0, self.golden.settings.states, count, np.uint8)

    def _writable(self, draw: Random) -> Region:
        base = draw.randint(0, min(self.golden._programmed_words, self.config.words - 1))
        return self._region(draw, base, self.config.words)

    def _programmed(self, draw: Random) -> Region | None:
        marked = self.golden._programmed_words
        return self._region(draw, draw.randrange(marked), marked) if marked else None

    def _region(self, draw: Random, base: int, end: int) -> Region:
        side, lanes = self.config.side, self.config.lanes
        most = draw.choice((1, 6, 20, side))
        words = draw.randint(1, min(end - base, -(-min(most, side) // lanes)))
        cols = draw.randint((words - 1) * lanes + 1, min(words * lanes, side))
        rows = draw.randint(1, min((end - base) // words, side, draw.choice((1, 5, 17))))
        return Region(base, rows, cols)


#: The operations that no part is needed for.
OPERATIONS = tuple(operation for operation in Operation if operation not in operations.NEEDED)
_PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)
_REGION_OPERATIONS = (
    *_PRODUCTS,
    Operation.PROGRAM,
    Operation.PROGRAM_BLOCK,
    Operation.LOAD,
    Operation.READ,
)


def _numpy(draw: Random) -> np.random.Generator:
    return np.random.default_rng(draw.getrandbits(64))


def random_program(seed: int, length: int, pair: type[Pair] = Pair) -> list[Step]:
    """Return a program that programs something first."""
    draw = Random(seed)
    kinds = [pair.FIRST, *(draw.choice(pair.KINDS) for _ in range(length - 1))]
    return [(kind, draw.getrandbits(32)) for kind in kinds]


def failure(
    engine: SimulatedEngine, program: list[Step], pauses: int | None, pair: type[Pair] = Pair
) -> Exception | None:
    """Return how a program fails on an engine, None if it does not; ``pauses`` is a seed."""
    engine.pauses = None if pauses is None else Random(pauses)
    try:
        pair(engine).run(program)
    except (AssertionError, QcloopError) as error:
        return error
    return None


def shrink(fails: Callable[[list[Step]], bool], program: list[Step]) -> list[Step]:
    """Return a part of a failing program that still fails, and no longer does without any one step."""
    size = len(program) // 2
    while size:
        start = 0
        while start < len(program):
            shorter = program[:start] + program[start + size :]
            if fails(shorter):
                program = shorter
            else:
                start += size
        size //= 2
    return program


def tiny(
    lanes: int,
    cells: int = 256,
    side: int = 32,
    buffer: int = 256,
    memory: MemoryKind = MemoryKind.BLOCK,
    parts: ArrayPart = STANDARD_PARTS,
) -> EngineConfig:
    """Return a configuration whose reset and whose programs are short."""
    return EngineConfig("tiny", ArrayConfig(lanes, cells, side, parts=parts), memory, buffer)


def check(make: Callable[[], Any], seeds: Iterable[int], length: int, pair: type[Pair] = Pair) -> None:
    """Run a random program for each seed, every other one with pauses; report the first that fails, shrunk.

    ``make`` returns an engine: a new one, or one that a reset makes as good as new.
    """
    engine = make()
    for seed in seeds:
        pauses = seed if seed % 2 else None
        program = random_program(seed, length, pair)
        first = failure(engine, program, pauses, pair)
        if first is not None:
            shortest = shrink(partial(_fails, make, pauses, pair), program)
            pytest.fail(f"{engine.config}, program {seed}, pauses {pauses}: {first}\nshrunk to {shortest}")


def _fails(make: Callable[[], Any], pauses: int | None, pair: type[Pair], program: list[Step]) -> bool:
    return failure(make(), program, pauses, pair) is not None
