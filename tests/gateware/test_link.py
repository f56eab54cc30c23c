import zlib
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from engine_bench import tiny
from link_twin import CONFIG, LINK, Twin

from qcloop.array import ArraySettings, GoldenArray, Positions, Region
from qcloop.contract import operations
from qcloop.contract.frames import (
    HEADER_BYTES,
    MAX_FRAME,
    MAX_PAYLOAD,
    OFFSETS,
    Fault,
    Frame,
    Identity,
    Kind,
    cobs_encode,
)
from qcloop.contract.operations import HEADER, Operation, Status
from qcloop_hdl.config import SIZES
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.link import Link
from qcloop_sim.board import Ended

INFO = operations.request(Operation.INFO)
INFO_ANSWER = HEADER.size + operations.INFO.size
UNKNOWN = 99
SETTINGS = ArraySettings(seed=5, mean=(100, 400, 900), spread=(16, 32, 80), reference=500)
REGION = Region(0, 4, 5)
LEVELS = np.array([[0, 1, 2, 1, 0], [2, 2, 2, 1, 1], [0, 0, 1, 2, 1], [1, 0, 2, 0, 2]], dtype=np.uint8)


@pytest.fixture
def closed():
    return Twin()


@pytest.fixture
def twin(closed):
    """A board with session 7 open."""
    (frame,) = closed.say(Kind.OPEN, session=7)
    assert (frame.kind, frame.session, frame.limit) == (Kind.IDENTITY, 7, LINK.window)
    return closed


def fill(size):
    """Return a request of so many bytes that the engine refuses."""
    return operations.request(UNKNOWN, bytes(size - HEADER.size))


def configure(twin):
    request = operations.configure_request(SETTINGS, Positions(), twin.config.lanes)
    assert twin.ask(request[0], request[HEADER.size :]) == HEADER.pack(Status.OK, 0)


def program():
    """Return the requests that program the block."""
    return list(operations.block_requests(REGION, LEVELS, 4, 256))


# -- sessions -------------------------------------------------------------------------------------


def test_identify_changes_nothing(closed):
    for _ in range(2):
        (frame,) = closed.say(Kind.IDENTIFY, session=200, attempt=9, seq=5, ack=6)
        assert frame == Frame(Kind.IDENTITY, 0, 0, 0, 0, LINK.window, closed.identity.encode())


def test_identify_is_answered_within_a_session(twin):
    (frame,) = twin.say(Kind.IDENTIFY, session=0, attempt=3)
    assert (frame.session, frame.attempt) == (7, 0)
    identity = Identity.decode(frame.payload)
    assert (identity.session, identity.request_buffer, identity.answer_buffer) == (7, 1020, 1024)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.ACK, Kind.POLL])
def test_without_a_session_the_board_says_so(closed, kind):
    for session in (0, 1, 255):
        (frame,) = closed.say(kind, INFO, session=session)
        assert frame == Frame(Kind.CLOSED, 0, 0, 0, 0, LINK.window)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.ACK, Kind.POLL])
def test_another_session_is_told_so_and_changes_nothing(twin, kind):
    twin.say(Kind.DATA, INFO)
    for session in (0, 6, 8, 135):
        (frame,) = twin.say(kind, INFO, session=session, attempt=44)
        assert (frame.kind, frame.session, frame.attempt) == (Kind.CLOSED, 7, 0)
    assert twin.ask(Operation.INFO)[0] == Status.OK


def test_session_0_cannot_be_opened(twin):
    assert twin.say(Kind.OPEN, session=0) == []
    assert twin.say(Kind.POLL)[0].session == 7


@pytest.mark.parametrize("kind", [0, *range(6, 10), *range(11, 256, 7), 255])
def test_other_kinds_are_ignored(twin, kind):
    assert twin.say(kind, INFO, attempt=5) == []
    assert twin.say(Kind.POLL)[0].attempt == 0


def test_the_same_open_again_keeps_the_session(twin):
    """A stale OPEN comes after the session has begun: nothing starts anew."""
    configure(twin)
    for request in program():
        twin.say(Kind.DATA, request)
    counted = twin.counters()
    (frame,) = twin.say(Kind.OPEN, session=7, attempt=2, seq=0, ack=0)
    assert (frame.seq, frame.ack, frame.attempt) == (twin.sent % OFFSETS, twin.expected, 2)
    assert twin.counters() == counted


def test_a_new_session_restarts_the_engine_and_both_streams(twin):
    configure(twin)
    twin.say(Kind.DATA, fill(40)[:20])
    assert twin.expected and twin.sent
    (frame,) = twin.say(Kind.OPEN, session=8)
    assert (frame.seq, frame.ack, frame.limit) == (0, 0, LINK.window)
    assert twin.counters() == HEADER.pack(Status.CONFIGURED, 0)


def test_a_new_session_ends_what_is_being_sent(twin):
    """Answers of the old session never carry the new one's number."""
    twin.say(Kind.DATA, INFO * 28)
    poll = twin.frame(Kind.POLL, ack=0)
    opens = Frame(Kind.OPEN, 9, 0, 0, 0).encode()
    for clocks in range(0, 60, 3):
        twin = Twin()
        twin.say(Kind.OPEN, session=7)
        twin.say(Kind.DATA, INFO * 28)
        first, rest, _ = twin.board.run(poll.encode(), len(poll.encode()) + clocks)
        assert not rest
        last, _, ended = twin.board.run(opens, 20_000)
        assert ended == Ended.IDLE
        frames = [Frame.decode(part) for part in (first + last).split(b"\0")[:-1]]
        assert [frame.kind for frame in frames if frame.session == 9] == [Kind.IDENTITY], clocks
        assert frames[-1].session == 9 and frames[-1].ack == frames[-1].seq == 0


def test_boots_are_counted_once_each(closed):
    first = closed.boots
    for count in range(1, 4):
        closed.reset()
        closed.say(Kind.OPEN, session=count)
        assert Identity.decode(closed.say(Kind.IDENTIFY)[0].payload).boots == (first + count) % 65536
        # What a reset ends.
        assert closed.session == count


# -- the stream of requests -----------------------------------------------------------------------


def test_requests_are_executed_and_answered(twin):
    (frame,) = twin.say(Kind.DATA, INFO)
    assert frame.payload == HEADER.pack(Status.OK, operations.INFO.size) + twin.config.info.encode()
    assert (frame.seq, frame.ack, frame.limit) == (0, 3, LINK.window + 3)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.ACK])
def test_what_needs_no_answer_gets_none(twin, kind):
    assert twin.say(kind) == []


def test_data_that_came_before_is_dropped_and_answered_with_state(twin):
    request = twin.frame(Kind.DATA, INFO).encode()
    twin.line(request)
    for count in range(1, 4):
        (frame,) = twin.line(request)
        assert (frame.kind, frame.ack, twin.faults[Fault.REPEATED]) == (Kind.STATE, 3, count)
    # A part of it is new: dropped, too, and sent again from `ack`.
    assert twin.say(Kind.DATA, INFO * 2, seq=0)[0].kind == Kind.STATE
    assert twin.say(Kind.DATA, INFO, seq=OFFSETS // 2 + 3)[0].kind == Kind.STATE


def test_data_behind_a_gap_is_dropped_and_answered_with_gap(twin):
    for count, seq in enumerate((1, 3, OFFSETS // 2 - 1), 1):
        (frame,) = twin.say(Kind.DATA, INFO, seq=seq)
        assert (frame.kind, frame.ack, twin.faults[Fault.GAPS]) == (Kind.GAP, 0, count)


def test_every_frame_twice_executes_everything_once(twin):
    golden = GoldenArray(twin.config.array)
    for _ in range(2):
        golden.configure(SETTINGS, None)
        golden.program_block(REGION, LEVELS)
    requests = [operations.configure_request(SETTINGS, Positions(), twin.config.lanes), *program()]
    for request in requests * 2:
        line = twin.frame(Kind.DATA, request).encode()
        for _ in range(3):
            twin.line(line)
    status, size = HEADER.unpack(counted := twin.counters())
    assert (status, size) == (Status.OK, len(counted) - HEADER.size)
    assert operations.decode_counters(counted[HEADER.size :]) == golden.counters()
    assert twin.faults[Fault.REPEATED] == 4 * len(requests)


def test_data_beyond_the_limit_is_dropped_and_answered_with_gap():
    twin = Twin(patience=6000)
    twin.say(Kind.OPEN, session=3)
    # These answers leave a few bytes of the buffer: the engine stalls in the next one.
    count = 1023 // INFO_ANSWER
    twin.line(twin.frame(Kind.DATA, INFO * count).encode())
    assert twin.kept == count * INFO_ANSWER < 1024
    expected, faults, limit = 3 * count, 0, twin.told
    chunks = []
    while True:
        chunk = INFO * 60
        frame = Frame(Kind.DATA, 3, 0, expected, 0, payload=chunk)
        came = twin.raw(frame.encode())
        if any(reply.kind == Kind.GAP for reply in came):
            break
        chunks.append(chunk)
        expected += len(chunk)
        limit = max([limit, *(reply.limit for reply in came)])
    (gap,) = [reply for reply in came if reply.kind == Kind.GAP]
    faults += 1
    # The engine has the request whose answer stalls, and the next byte waits at its door.
    assert gap.ack == expected and expected < gap.limit < expected + len(chunk)
    # What just fits is taken: its CRC has room as well.
    room = gap.limit - expected
    for size in (room + 1, MAX_PAYLOAD):
        came = twin.raw(replace(frame, payload=(INFO * 160)[:size]).encode())
        assert [reply.kind for reply in came] == [Kind.GAP]
        faults += 1
    assert twin.raw(replace(frame, payload=(INFO * 160)[:room]).encode()) == []
    expected += room
    # Frames that are not DATA come through a full buffer.
    (identity,) = twin.raw(Frame(Kind.IDENTIFY, 0, 0, 0, 0).encode())
    assert Identity.decode(identity.payload).faults[Fault.OVERFLOWS] == faults
    assert identity.ack == expected == identity.limit
    # Acknowledged step by step, all answers come, each once.
    got = bytearray()
    info = HEADER.pack(Status.OK, operations.INFO.size) + twin.config.info.encode()
    rest = INFO[expected % 3 :] if expected % 3 else b""
    answers = (expected + len(rest)) // 3 * INFO_ANSWER
    for _ in range(100):
        if len(got) == answers:
            break
        # The end of the last request comes again and again, and is taken once.
        last = Frame(Kind.DATA, 3, 0, expected, len(got), payload=rest).encode()
        for reply in twin.raw(last + Frame(Kind.POLL, 3, 0, expected, len(got)).encode()):
            if reply.kind == Kind.DATA and reply.seq == len(got):
                got += reply.payload
    assert bytes(got) == answers // INFO_ANSWER * info


# -- what is no frame -----------------------------------------------------------------------------


def test_each_flipped_bit_is_found(twin):
    line = twin.frame(Kind.DATA, INFO).encode()
    for bit in range(8 * (len(line) - 1)):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        assert twin.line(bytes(damaged)) == []
    assert twin.faults[Fault.DAMAGED] >= 8 * (len(line) - 1) or twin.faults[Fault.DAMAGED] == 255
    assert twin.line(line)[0].kind == Kind.DATA


def test_truncated_frames_are_dropped(twin):
    line = twin.frame(Kind.DATA, INFO).encode()
    for size in range(1, len(line) - 1):
        assert twin.line(line[:size] + b"\0") == []
        assert twin.faults[Fault.DAMAGED] == size
    assert len(twin.line(line)) == 1


def with_crc(content):
    return cobs_encode(content + zlib.crc32(content).to_bytes(4, "little")) + b"\0"


@pytest.mark.parametrize("size", range(HEADER_BYTES))
def test_frames_without_a_whole_header_are_dropped(twin, size):
    head = bytes([Kind.IDENTIFY, 0, 0, 0, 0, 0, 0, 0, 0])
    assert twin.line(with_crc(head[:size])) == []
    assert twin.faults[Fault.DAMAGED] == 1
    assert twin.line(with_crc(head))[0].kind == Kind.IDENTITY


@pytest.mark.parametrize("more", [1, 2, 100, 4000])
def test_frames_that_are_too_long_are_dropped(twin, more):
    for kind in (Kind.DATA, Kind.IDENTIFY):
        assert twin.say(kind, fill(MAX_PAYLOAD + more)) == []
    assert twin.faults[Fault.DAMAGED] == 2
    assert twin.say(Kind.DATA, fill(MAX_PAYLOAD))[-1].payload == HEADER.pack(Status.OPERATION, 0)


def test_zeros_between_frames_are_nothing(twin):
    assert twin.line(bytes(100)) == []
    assert len(twin.line(bytes(3) + twin.frame(Kind.IDENTIFY).encode() + bytes(3))) == 1
    assert twin.faults == [0] * len(Fault)


def test_a_frame_of_a_byte_is_damaged(twin):
    for byte in (1, 2, 255):
        assert twin.line(bytes([byte, 0])) == []
    assert twin.faults[Fault.DAMAGED] == 3


def test_fault_counters_stay_at_255(twin):
    frames = {
        Fault.DAMAGED: b"\x07\x06\0",
        Fault.REPEATED: twin.frame(Kind.DATA, INFO, seq=OFFSETS - 1).encode(),
        Fault.GAPS: twin.frame(Kind.DATA, INFO, seq=9).encode(),
    }
    for fault, line in frames.items():
        for count in range(1, 261):
            twin.line(line)
            assert twin.faults[fault] == min(255, count)
        twin.say(Kind.IDENTIFY)
    twin.say(Kind.DATA, INFO)
    for _ in range(260):
        twin.say(Kind.POLL, ack=0)
    assert twin.faults[Fault.RESENT] == 255
    twin.say(Kind.IDENTIFY)


# -- windows and the stream of answers ------------------------------------------------------------


@pytest.mark.parametrize(("config", "link"), [(CONFIG, LINK), (SIZES["small"], LinkConfig())])
def test_the_host_is_told_when_a_quarter_of_the_buffer_is_free_again(config, link):
    """The second board is the virtual board that users have."""
    twin = Twin(config, link)
    twin.say(Kind.OPEN, session=1)
    quarter = link.request_buffer // 4
    # A request that does not end: its answer tells nothing.
    twin.say(Kind.DATA, operations.request(UNKNOWN, bytes(60_000))[:3])
    for size in pieces(quarter - 4):
        assert twin.say(Kind.DATA, bytes(size)) == []
    (frame,) = twin.say(Kind.DATA, bytes(1))
    assert (frame.kind, frame.limit) == (Kind.STATE, link.window + quarter)
    *sizes, last = pieces(quarter)
    for size in sizes:
        assert twin.say(Kind.DATA, bytes(size)) == []
    assert len(twin.say(Kind.DATA, bytes(last))) == 1


def pieces(size):
    """Return the sizes of frames that carry so many bytes together, at most 200 each."""
    return [min(200, size - start) for start in range(0, size, 200)]


def test_answers_leave_when_the_engine_has_nothing_to_do(twin):
    """Answers to requests in one frame share one, and wait for the request behind them."""
    (frame,) = twin.say(Kind.DATA, INFO * 3)
    assert len(frame.payload) == 3 * INFO_ANSWER
    assert twin.say(Kind.DATA, INFO * 2 + fill(10)[:6]) == []
    (frame,) = twin.say(Kind.DATA, fill(10)[6:])
    assert len(frame.payload) == 2 * INFO_ANSWER + HEADER.size


def test_full_frames_leave_before(twin):
    first, second = (frame for frame in twin.say(Kind.DATA, INFO * 20))
    assert (len(first.payload), len(second.payload)) == (MAX_PAYLOAD, 20 * INFO_ANSWER - MAX_PAYLOAD)
    frames = twin.say(Kind.DATA, INFO * 15 + b"\x01", ack=20 * INFO_ANSWER)
    assert [len(frame.payload) for frame in frames] == [MAX_PAYLOAD]


#: Bytes of the answers to 20 requests for INFO, which take two frames.
TWENTY = 20 * INFO_ANSWER


@pytest.mark.parametrize("ack", [0, 1, INFO_ANSWER, 479, 480, 481, TWENTY - 1, TWENTY])
def test_poll_sends_again_from_ack(twin, ack):
    twin.say(Kind.DATA, INFO * 20)
    frames = twin.say(Kind.POLL, ack=ack, attempt=3)
    assert b"".join(frame.payload for frame in frames) == twin.answers[ack:]
    assert frames[0].seq == ack
    assert twin.faults[Fault.RESENT] == (ack != TWENTY)
    if ack == TWENTY:
        assert [frame.kind for frame in frames] == [Kind.STATE]


def test_what_the_host_has_after_all_is_not_sent_again(twin):
    """An ACK comes while the first of two frames is sent again: the second is not."""
    twin.say(Kind.DATA, INFO * 20)
    lines = twin.frame(Kind.POLL, ack=0), twin.frame(Kind.ACK, ack=TWENTY)
    (frame,) = twin.raw(b"".join(line.encode() for line in lines))
    assert (frame.seq, len(frame.payload)) == (0, MAX_PAYLOAD)
    (frame,) = twin.raw(twin.frame(Kind.POLL, ack=TWENTY).encode())
    assert (frame.kind, frame.seq) == (Kind.STATE, TWENTY)


def test_an_ack_of_what_was_never_sent_is_ignored(twin):
    twin.say(Kind.DATA, INFO * 20, ack=0)
    twin.say(Kind.ACK, ack=100)
    for ack in (99, 0, TWENTY + 1, 40_000):
        (frame,) = twin.say(Kind.POLL, ack=ack)
        assert (frame.kind, frame.seq) == (Kind.STATE, TWENTY)
        assert twin.say(Kind.ACK, ack=ack) == []
    assert twin.acked == 100 and twin.faults[Fault.RESENT] == 0
    assert twin.say(Kind.POLL, ack=100)[0].seq == 100


def test_the_board_returns_the_attempt_it_saw_last(twin):
    for attempt in (1, 255, 7):
        for kind in (Kind.POLL, Kind.DATA):
            (frame,) = twin.say(kind, INFO if kind == Kind.DATA else b"", attempt=attempt)
            assert frame.attempt == attempt


def test_offsets_wrap_in_both_directions(twin):
    """Over 65,536 bytes of either stream, some of them repeated."""
    random = Random(3)
    total = 0
    while total < 70_000 or len(twin.answers) < 140_000:
        request = INFO * random.randint(1, 14) if random.random() < 0.8 else fill(random.randint(3, 480))
        line = twin.frame(Kind.DATA, request).encode()
        twin.line(line)
        total += len(request)
        if random.random() < 0.1:
            twin.line(line)
        if random.random() < 0.1:
            twin.say(Kind.POLL, ack=random.randint(twin.acked, len(twin.answers)) % OFFSETS)
    assert total > OFFSETS and len(twin.answers) > 2 * OFFSETS


def test_a_byte_a_clock_in_and_nearly_out(twin):
    """Sending again a full frame: its bytes, the header, and a few clocks to begin and for COBS."""
    twin.say(Kind.DATA, INFO * 14)
    twin.say(Kind.DATA, INFO * 14, ack=0)
    twin.say(Kind.ACK, ack=0)
    poll = twin.frame(Kind.POLL, ack=0).encode()
    before = twin.board.clocks, twin.board.taken, twin.board.came
    twin.line(poll)
    assert twin.board.taken - before[1] == len(poll)
    took = twin.board.clocks - before[0]
    came = twin.board.came - before[2]
    assert came >= 28 * INFO_ANSWER
    # A frame begins to leave with its first run.
    clocks = 1 + twin.config.registered
    assert took <= len(poll) + clocks * came + 40, (took, came)
    before = twin.board.clocks
    twin.line(bytes(2000))
    assert twin.board.clocks - before <= 2001


# -- the link without an engine -------------------------------------------------------------------


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_link_alone_under_back_pressure(seed, registered, bench, simulate):
    """What comes out as requests goes in as answers; framing errors are counted as they come."""
    config = tiny(4)
    dut = Link(LINK, config.info, registered=registered)
    random = Random(seed)
    data = random.randbytes(1200)
    errors = 300
    pauses = [None if seed is None else Random(seed + part) for part in range(3)]
    frames = []

    async def push(ctx, frame):
        for byte in frame.encode():
            ctx.set(dut.rx_valid, 1)
            ctx.set(dut.rx_byte, byte)
            await ctx.tick()
        ctx.set(dut.rx_valid, 0)

    async def host(ctx):
        ctx.set(dut.engine_idle, 1)
        assert ctx.get(dut.idle) and not ctx.get(dut.open)
        await push(ctx, Frame(Kind.OPEN, 4, 0, 0, 0))
        for seq in range(0, len(data), 400):
            # The host waits for room, and for what it has sent to come back.
            while sum(len(frame.payload) for frame in frames if frame.kind == Kind.DATA) < seq:
                await ctx.tick()
            await push(ctx, Frame(Kind.DATA, 4, 0, seq, seq, payload=data[seq : seq + 400]))
        while sum(len(frame.payload) for frame in frames if frame.kind == Kind.DATA) < len(data):
            await ctx.tick()
        for _ in range(errors):
            ctx.set(dut.rx_error, 1)
            await ctx.tick()
            ctx.set(dut.rx_error, 0)
            await ctx.tick()
        await push(ctx, Frame(Kind.IDENTIFY, 0, 0, 0, 0))
        while frames[-1].kind != Kind.IDENTITY:
            await ctx.tick()
        assert ctx.get(dut.idle) and ctx.get(dut.open)

    async def engine(ctx):
        while True:
            echo = await bench.receive(ctx, dut.requests, 1, pauses[0])
            await bench.send(ctx, dut.answers, echo, pauses[1])

    async def line(ctx):
        encoded = bytearray()
        while True:
            ready = pauses[2] is None or pauses[2].random() < 0.5
            ctx.set(dut.tx.ready, ready)
            _, _, valid, byte = await ctx.tick().sample(dut.tx.valid, dut.tx.payload)
            if valid and ready:
                if byte:
                    encoded.append(byte)
                else:
                    frames.append(Frame.decode(bytes(encoded)))
                    encoded.clear()

    checks = [bench.contract(port) for port in (dut.tx, dut.requests)]
    simulate(dut, host, limit=25_000, background=[engine, line, *checks])
    chunks = [frame for frame in frames if frame.kind == Kind.DATA]
    assert b"".join(chunk.payload for chunk in chunks) == data
    identity = Identity.decode(frames[-1].payload)
    assert identity.faults == tuple(255 if fault == Fault.FRAMING else 0 for fault in Fault)
    assert identity.boots == 1


# -- fuzz -----------------------------------------------------------------------------------------


def requests(twin, random):
    """Return the payload of a DATA frame; most end where a request does."""
    if twin.engine.partial:
        size = HEADER.size - len(twin.engine.partial)
        if size <= 0:
            size += HEADER.unpack(twin.engine.partial)[1]
        return bytes(min(size, MAX_PAYLOAD) if random.random() < 0.8 else random.randint(0, min(size, 480)))
    choice = random.random()
    if choice < 0.5:
        return INFO * random.randint(0, 6)
    if choice < 0.55:
        return operations.request(Operation.COUNTERS)
    if choice < 0.6:
        return operations.configure_request(SETTINGS, Positions(), twin.config.lanes)
    if choice < 0.7:
        return b"".join(program())
    if choice < 0.9:
        return fill(random.choice((3, 4, random.randint(3, MAX_PAYLOAD))))
    # A part of a request.
    return fill(random.randint(3, 700))[: random.randint(0, 480)]


def some_frame(twin, random):
    """Return a frame that a host may send in this session, or from before, or behind its back."""
    kind = random.choice((Kind.DATA,) * 6 + (Kind.ACK, Kind.POLL, Kind.POLL, Kind.IDENTIFY))
    if random.random() < 0.02 or not twin.session:
        kind = Kind.OPEN
    # There is room for the answers only if the host acknowledges.
    full = twin.kept > 300
    fields = {"payload": requests(twin, random) if kind == Kind.DATA else b""}
    if random.random() < 0.3 and not full:
        fields["ack"] = random.randint(max(0, twin.acked - 5), len(twin.answers) + 2) % OFFSETS
    if random.random() < 0.15:
        fields["seq"] = (twin.expected + random.choice((-1, 1, -200, 200, OFFSETS // 2))) % OFFSETS
    if random.random() < 0.2:
        fields["attempt"] = random.randrange(256)
    if kind == Kind.OPEN or random.random() < 0.03:
        fields["session"] = random.choice((0, 1, 2, 255, twin.session))
    if random.random() < 0.02:
        kind = random.randrange(256)
    return twin.frame(kind, **fields)


def mutated(line, random):
    """Return a line with bits flipped, bytes lost, repeated or put in, a stretch cut out, or a zero."""
    line = bytearray(line)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        index = random.randrange(len(line))
        match random.randrange(6):
            case 0:
                line[index] ^= 1 << random.randrange(8)
            case 1:
                del line[index]
                line = line or bytearray(1)
            case 2:
                line.insert(index, line[index])
            case 3:
                line.insert(index, random.randrange(256))
            case 4:
                del line[index : index + random.randint(1, 30)]
                line = line or bytearray(1)
            case 5:
                line[index] = 0
    return bytes(line)


def fuzz(seed, frames):
    """Say so many frames to a board; the twin compares what it answers, and its state, each time."""
    random = Random(seed)
    twin = Twin(patience=6_000)
    for count in range(frames):
        frame = some_frame(twin, random)
        choice = random.random()
        if choice < 0.5:
            line = frame.encode()
        elif choice < 0.85:
            line = mutated(frame.encode(), random)
        elif choice < 0.95:
            line = random.randbytes(random.randint(1, 100))
        else:
            line = bytes(random.choice((1, 2, 255, 7)) for _ in range(random.randint(1, 2 * MAX_FRAME)))
        try:
            twin.line(line)
            if count % 16 == 15:
                # The zero ends what has come of a frame; the next one is answered, and tells all faults.
                twin.line(b"\0")
                (frame,) = twin.say(Kind.IDENTIFY)
                assert frame.kind == Kind.IDENTITY
            if count % 64 == 63 and twin.session and not twin.engine.partial:
                # What was rejected has left no trace in the engine.
                twin.ask(Operation.COUNTERS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, frame {count}: {line.hex()}") from error
        if twin.kept > 300:
            twin.say(Kind.ACK)
        if random.random() < 0.0005:
            twin.reset()
    return twin


def test_20_000_frames_of_all_sorts():
    for seed in range(10):
        faults = fuzz(seed, 2000).faults
    # Of each sort that one frame after the other can have.
    assert all(faults[fault] for fault in (Fault.DAMAGED, Fault.REPEATED, Fault.GAPS, Fault.RESENT))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_a_million_frames_of_all_sorts(part):
    for seed in range(100, 110):
        fuzz(100 * part + seed, 10_000)
