"""The model of a flash memory, with its pins driven by hand: what it answers, and what it finds wrong."""

import pytest
from flash_bench import simulate

from qcloop_hdl.images.layouts import Command
from qcloop_hdl.images.model import CHIPS, FlashFault, FlashModel

CONTENT = bytes(range(0x30, 0x60))


class Pins:
    """Drives the pins of a memory by hand."""

    def __init__(self, ctx, pins):
        self.ctx, self.pins = ctx, pins
        ctx.set(pins.oe, 0b1101)

    async def send(self, value, bits):
        for bit in reversed(range(bits)):
            self.ctx.set(self.pins.o, 0b1100 | value >> bit & 1)
            await self.clock()

    async def clock(self):
        for level in (1, 0):
            self.ctx.set(self.pins.sck, level)
            await self.ctx.tick()

    async def select(self, selected, wait=0):
        self.ctx.set(self.pins.select, selected)
        await self.ctx.tick()
        if wait:
            await self.ctx.tick().repeat(wait)

    async def take(self, lines, count):
        """Take so many bytes on so many lines: those that the memory sends after the last fall."""
        self.ctx.set(self.pins.oe, {1: 0b1101, 2: 0b1100, 4: 0}[lines])
        value = 0
        for _ in range(8 * count // lines):
            await self.ctx.tick()  # it sends a clock after the fall
            bits = self.ctx.get(self.pins.i)
            value = value << lines | (bits >> 1 & 1 if lines == 1 else bits & (1 << lines) - 1)
            await self.clock()
        return value.to_bytes(count, "big")

    async def command(self, code, *, operand=0, bits=0, lines=1, count=0):
        await self.select(1)
        await self.send(code.value << bits | operand, 8 + bits)
        came = await self.take(lines, count) if count else b""
        self.ctx.set(self.pins.oe, 0b1101)
        await self.select(0, 10)
        return came

    async def read(self, code, address, lines, count, dummy=8):
        return await self.command(code, operand=address << dummy, bits=24 + dummy, lines=lines, count=count)

    async def read_by_four(self, address, count, *, mode=0xFF, dummy=4, oe=0b1111):
        """Read with address and mode on four lines."""
        await self.select(1)
        await self.send(Command.QUAD_ADDRESS_READ.value, 8)
        self.ctx.set(self.pins.oe, oe)
        for shift in reversed(range(0, 32, 4)):
            self.ctx.set(self.pins.o, (address << 8 | mode) >> shift & 15)
            await self.clock()
        self.ctx.set(self.pins.oe, 0)
        for _ in range(dummy):
            await self.clock()
        came = await self.take(4, count)
        self.ctx.set(self.pins.oe, 0b1101)
        self.ctx.set(self.pins.o, 0b1101)
        await self.select(0, 10)
        return came

    async def wake(self, wait=60):
        await self.command(Command.WAKE)
        await self.ctx.tick().repeat(wait)

    async def write_status(self, code, value):
        await self.command(Command.ALLOW_STATUS)
        await self.command(code, operand=value, bits=8)


def found(drive, chip="winbond", **options):
    """Drive the pins of a memory, and return its fault; ``drive`` raises for what else is wrong."""
    memory = FlashModel(chip=CHIPS[chip], **options)

    async def bench(ctx):
        await drive(Pins(ctx, memory.pins))
        await ctx.tick().repeat(3)

    return simulate(memory, memory, CONTENT, bench)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_memory_that_is_awake_tells_what_it_is_and_sends_its_contents(chip):
    async def drive(pins):
        await pins.wake()
        assert await pins.command(Command.IDENTIFY, count=3) == CHIPS[chip].identification
        assert await pins.read(Command.FAST_READ, 5, 1, 3) == CONTENT[5:8]
        assert await pins.read(Command.DUAL_READ, 6, 2, 4) == CONTENT[6:10]
        assert await pins.read(Command.FAST_READ, 0, 1, 1, dummy=9) == bytes([CONTENT[0] << 1])  # a bit late
        if chip in ("winbond", "issi"):
            enable = CHIPS[chip].enable
            assert await pins.command(enable.read, count=1) == b"\x04"
            await pins.write_status(enable.write, 0x04 | enable.mask)
            assert await pins.command(enable.read, count=2) == 2 * bytes([0x04 | enable.mask])
        if chip != "macronix":
            assert await pins.read(Command.QUAD_READ, 7, 4, 5) == CONTENT[7:12]
            dummy = CHIPS[chip].quad_dummy - 2
            assert await pins.read_by_four(0x12, 5, dummy=dummy) == CONTENT[0x12 : 0x12 + 5]
            # A line that is not driven reads as ones: it is another address.
            assert await pins.read_by_four(0x12, 1, dummy=dummy, oe=0b1101) == b"\xff"

    assert found(drive, chip, status=0x04) is FlashFault.NONE


def test_a_write_that_was_not_allowed_changes_nothing():
    async def drive(pins):
        await pins.wake()
        await pins.command(Command.WRITE_STATUS_2, operand=2, bits=8)
        assert await pins.command(Command.READ_STATUS_2, count=1) == b"\0"
        await pins.command(Command.ALLOW_STATUS)
        await pins.command(Command.READ_STATUS_1, count=1)  # it allowed the next command only
        await pins.command(Command.WRITE_STATUS_2, operand=2, bits=8)
        assert await pins.command(Command.READ_STATUS_2, count=1) == b"\0"

    assert found(drive) is FlashFault.NONE


async def fast_read(pins):
    await pins.read(Command.FAST_READ, 0, 1, 0)


async def right(pins):
    await pins.wake()
    await fast_read(pins)


async def unknown(pins):
    await pins.wake()
    await pins.command(Command.READ_STATUS_1, count=1)
    await pins.select(1)
    await pins.send(0x03, 8)


async def not_of_this_chip(pins):
    await pins.wake()
    await pins.command(Command.READ_STATUS_2)


async def asleep(pins):
    await fast_read(pins)


async def too_soon_awake(pins):
    await pins.wake(4)
    await fast_read(pins)


async def sent_to_sleep(pins):
    await right(pins)
    await pins.command(Command.SLEEP)
    await fast_read(pins)


async def sleeps_and_wakes(pins):
    await pins.wake()
    await pins.command(Command.SLEEP)
    await right(pins)


async def without_rest(pins):
    await right(pins)
    await pins.select(1)
    await pins.select(0)
    await pins.select(1)


async def driven(pins):
    await pins.wake()
    await pins.select(1)
    await pins.send(Command.DUAL_READ.value << 24, 32)
    await pins.send(0, 8 + 4)


async def short(pins):
    await pins.wake()
    await pins.command(Command.FAST_READ, bits=8)


async def short_command(pins):
    await pins.wake()
    await pins.select(1)
    await pins.send(1, 5)
    await pins.select(0, 2)


async def short_dummy(pins):
    await pins.wake()
    await pins.read(Command.FAST_READ, 0, 1, 0, dummy=7)


async def short_status(pins):
    await pins.wake()
    await pins.command(Command.ALLOW_STATUS)
    await pins.command(Command.WRITE_STATUS_2, bits=7)


async def long_status(pins):
    await pins.wake()
    await pins.command(Command.WRITE_STATUS_2, bits=16)


async def quad(pins):
    await pins.wake()
    assert await pins.read(Command.QUAD_READ, 0, 4, 2) == b"\xff\xff"


async def quad_address(pins):
    await pins.wake()
    assert await pins.read_by_four(0, 2) == b"\xff\xff"


async def goes_on(pins):
    await pins.wake()
    await pins.write_status(Command.WRITE_STATUS_2, 2)
    await pins.read_by_four(0, 1, mode=0xA0)


async def short_by_four(pins):
    await pins.wake()
    await pins.write_status(Command.WRITE_STATUS_2, 2)
    await pins.read_by_four(0, 0, dummy=3)


async def held(pins):
    await pins.wake()
    await pins.select(1)
    pins.ctx.set(pins.pins.oe, 0b0101)
    await pins.clock()


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (right, FlashFault.NONE),
        (unknown, FlashFault.UNKNOWN),
        (asleep, FlashFault.ASLEEP),
        (too_soon_awake, FlashFault.ASLEEP),
        (sent_to_sleep, FlashFault.ASLEEP),
        (sleeps_and_wakes, FlashFault.NONE),
        (without_rest, FlashFault.REST),
        (driven, FlashFault.DRIVEN),
        (short, FlashFault.SHORT),
        (short_command, FlashFault.SHORT),
        (short_dummy, FlashFault.SHORT),
        (short_status, FlashFault.SHORT),
        (long_status, FlashFault.LONG),
        (quad, FlashFault.QUAD),
        (quad_address, FlashFault.QUAD),
        (goes_on, FlashFault.GOES_ON),
        (short_by_four, FlashFault.SHORT),
        (held, FlashFault.HELD),
    ],
)
def test_the_model_tells_what_is_wrong_with_a_command(wrong, fault):
    assert found(wrong) is fault


def test_a_command_of_another_maker_is_unknown():
    assert found(not_of_this_chip, "issi") is FlashFault.UNKNOWN
