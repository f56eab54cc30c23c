from random import Random

import pytest

from qcloop.contract.frames import cobs_decode, cobs_encode
from qcloop.errors import LinkError
from qcloop_hdl.link.cobs import BUFFER, CobsDecoder, CobsEncoder

LENGTHS = (1, 2, 13, 254, 508)


def contents(seed):
    """Contents of frames: each length with all kinds of zeros, and runs that end at the longest one."""
    random = Random(seed)
    for length in LENGTHS:
        yield bytes(length)
        yield bytes(1 + index % 255 for index in range(length))
        for zeros in (0.01, 0.5):
            yield bytes(0 if random.random() < zeros else random.randint(1, 255) for _ in range(length))
    for run in (253, 254, 255, 508):
        for before, behind in ((b"", b"\0"), (b"\0", b""), (b"", b"\0\0"), (b"\x07\0", b"\0\x09")):
            yield before + bytes([random.randint(1, 255)]) * run + behind


def decoded_from(encoded):
    """Return what a decoder makes of a frame and its zero byte: the content and the end; None if broken."""
    try:
        return [*cobs_decode(encoded), "end"]
    except LinkError:
        return None


def decode(line, simulate, pauses=None):
    """Return what a decoder makes of a line: bytes and ends of frames. Pauses are clocks without a byte."""
    dut = CobsDecoder()
    found = []

    async def testbench(ctx):
        for byte in line:
            while pauses and pauses.random() < 0.5:
                ctx.set(dut.byte, pauses.randrange(256))
                assert not ctx.get(dut.decoded_valid)
                await ctx.tick()
            ctx.set(dut.valid, 1)
            ctx.set(dut.byte, byte)
            if ctx.get(dut.decoded_valid):
                decoded = ctx.get(dut.decoded)
                found.append(("broken" if decoded.broken else "end") if decoded.end else decoded.byte)
            await ctx.tick()
            ctx.set(dut.valid, 0)

    simulate(dut, testbench, limit=4 * len(line) + 100)
    return found


@pytest.mark.parametrize("seed", [None, 5])
def test_decoder_equals_the_definition(seed, simulate):
    frames = list(contents(1))
    expected = [item for content in frames for item in (*content, "end")]
    line = b"\0\0".join(cobs_encode(content) for content in frames) + b"\0"
    assert decode(line, simulate, None if seed is None else Random(seed)) == expected


def test_decoder_tells_what_no_encoder_makes(simulate):
    """Of random bytes, some are a frame; each end tells of the frame before it alone."""
    random = Random(2)
    frames = []
    for _ in range(200):
        encoded = bytes(
            random.randint(1, random.choice((3, 3, 20, 255))) for _ in range(random.randint(1, 9))
        )
        frames.append(encoded)
    broken = [decoded_from(encoded) is None for encoded in frames]
    assert 20 < sum(broken) < 180, sum(broken)
    found = decode(b"\0".join(frames) + b"\0", simulate)
    for encoded, bad in zip(frames, broken, strict=True):
        end = next(index for index, item in enumerate(found) if isinstance(item, str))
        assert found[end] == ("broken" if bad else "end"), encoded.hex()
        if not bad:
            assert found[: end + 1] == decoded_from(encoded), encoded.hex()
        del found[: end + 1]
    assert not found


def items(frames):
    return [
        {"last": index == len(content) - 1, "byte": byte}
        for content in frames
        for index, byte in enumerate(content)
    ]


def line_of(frames):
    return b"".join(cobs_encode(content) + b"\0" for content in frames)


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_encoder_equals_the_definition(seed, registered, bench, simulate):
    dut = CobsEncoder(registered=registered)
    frames = list(contents(6))
    Random(7).shuffle(frames)
    expected = line_of(frames)
    pauses = [None, None] if seed is None else [Random(seed), Random(seed + 100)]

    async def send(ctx):
        await bench.send(ctx, dut.i, items(frames), pauses[0])

    async def receive(ctx):
        assert bytes(await bench.receive(ctx, dut.o, len(expected), pauses[1])) == expected
        assert ctx.get(dut.idle) and not ctx.get(dut.o.valid)

    simulate(
        dut, send, receive, limit=4 * len(expected), background=[bench.contract(dut.o), bench.contract(dut.i)]
    )


@pytest.mark.parametrize("kind", ["no zeros", "all zeros", "mixed"])
def test_encoder_fills_its_buffer_and_no_more(kind, bench, simulate):
    """While nothing leaves, what was taken is kept: all but a few bytes of the buffer get filled."""
    dut = CobsEncoder()
    random = Random(8)
    low, high = {"no zeros": (1, 255), "all zeros": (0, 0), "mixed": (0, 3)}[kind]
    frames = [bytes(random.randint(low, high) for _ in range(length)) for length in (508, 200, 1, 1, 300)]
    expected = line_of(frames)
    stall = {}

    async def send(ctx):
        await bench.send(ctx, dut.i, items(frames))

    async def receive(ctx):
        await ctx.tick().repeat(2 * BUFFER)
        stall["ready"] = ctx.get(dut.i.ready)
        assert bytes(await bench.receive(ctx, dut.o, len(expected))) == expected

    async def count(ctx):
        stall["taken"] = 0
        while True:
            _, _, valid, ready = await ctx.tick().sample(dut.i.valid, dut.i.ready)
            if "ready" not in stall:
                stall["taken"] += valid and ready

    simulate(dut, send, receive, limit=5000, background=[count, bench.contract(dut.o)])
    assert not stall["ready"]
    assert BUFFER - 10 <= stall["taken"] < BUFFER, stall


@pytest.mark.parametrize("margin", range(12))
def test_encoder_ends_frames_at_the_brim_of_its_buffer(margin, bench, simulate):
    """Frames end at each of the last addresses of the buffer, while one byte leaves now and then."""
    dut = CobsEncoder()
    random = Random(margin)
    head = bytes(random.randint(1, 255) for _ in range(254 + margin % 2))
    frames = [head, bytes(BUFFER - len(head) - 14 + margin), b"\x05" * 254, b"\0", b"\x06" * 255, b"\x01"]
    expected = line_of(frames)

    async def send(ctx):
        await bench.send(ctx, dut.i, items(frames))

    async def receive(ctx):
        await ctx.tick().repeat(600)
        got = []
        for _ in range(len(expected)):
            got += await bench.receive(ctx, dut.o, 1)
            await ctx.tick().repeat(3)
        assert bytes(got) == expected

    simulate(dut, send, receive, limit=12_000, background=[bench.contract(dut.o)])


@pytest.mark.parametrize(
    ("content", "clocks"),
    [
        (bytes(500), 1),
        (bytes([0, 1] * 250), 1),
        (b"\x07" * 100, 1),
        # One more at the end of each long run, and two at that of a frame.
        (b"\x07" * 508, 3),
    ],
)
def test_encoder_takes_a_byte_a_clock(content, clocks, bench, simulate):
    dut = CobsEncoder()
    frames = [content] * 8
    taken = []

    async def send(ctx):
        await bench.send(ctx, dut.i, items(frames))

    async def receive(ctx):
        await bench.receive(ctx, dut.o, len(line_of(frames)))

    async def watch(ctx):
        clock = 0
        while True:
            _, _, valid, ready = await ctx.tick().sample(dut.i.valid, dut.i.ready)
            if valid and ready:
                taken.append(clock)
            clock += 1

    simulate(dut, send, receive, limit=6000, background=[watch])
    assert taken[-1] - taken[0] <= len(frames) * (len(content) + 1 + clocks) - 1, taken[-1] - taken[0]


def test_encoder_gives_a_byte_a_clock(bench, simulate):
    """A run that has ended leaves without a pause."""
    dut = CobsEncoder()
    content = b"\x09" * 200

    async def send(ctx):
        await bench.send(ctx, dut.i, items([content]))

    async def receive(ctx):
        await ctx.tick().until(dut.o.valid)
        await bench.receive(ctx, dut.o, len(content) + 2)

    # 200 in, then 202 out, and the delay of the memory and of its register.
    simulate(dut, send, receive, limit=410)


def test_encoder_is_idle_when_all_has_left(bench, simulate):
    dut = CobsEncoder()

    async def testbench(ctx):
        assert ctx.get(dut.idle)
        await bench.send(ctx, dut.i, items([b"\x05\0"]))
        for _ in range(20):
            assert not ctx.get(dut.idle)
            await ctx.tick()
        assert await bench.receive(ctx, dut.o, 3) == [2, 5, 1]
        await ctx.tick()
        assert not ctx.get(dut.idle)
        assert await bench.receive(ctx, dut.o, 1) == [0]
        assert ctx.get(dut.idle)

    simulate(dut, testbench, limit=200)
