"""The description of a board, from which everything about its build follows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth.lib import io

from qcloop.array import ArrayConfig
from qcloop.contract.images import MAX_SET_BYTES
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, part_labels
from qcloop.errors import ConfigError
from qcloop_firmware.clocking import pll_setting
from qcloop_hdl.config import SPRAM_WORDS, EngineConfig, MemoryKind
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.uart import divides, divisor
from qcloop_hdl.tools.synthesis import Family

#: Networks that show what an array can hold: the paper's, two larger ones, and that of the recipe ``best``.
NETWORKS = ("784-16-16-10", "784-32-10", "784-128-10", "784-256-10")
#: What a board's lights show; :class:`qcloop_firmware.top.Lights` defines it.
LIGHTS = ("heartbeat", "activity", "error")
#: The serial line among the resources of a platform.
_UART = ("uart", 0)
#: Seconds that any flash memory takes to wake up: those of Macronix 35 us, the others less.
_WAKE = 50e-6
#: What to do where pins for it cannot be.
_PINS = "give --pins RX,TX, two pins of the chip, for example --pins 25,26"
#: A resource of a platform: its name and its number, and the name of one of its pins if it has several.
ResourceName = tuple[str, int] | tuple[str, int, str]


@dataclass(frozen=True)
class FlashMemory:
    """The flash memory of a board, from which it also reads its bitstream."""

    #: Pins of the chip: select (low), input and output of the memory, write protection, hold. Its clock is on
    #: a pin that the chip reaches in a way of its own (USRMCLK).
    pins: tuple[str, str, str, str, str]
    #: Bytes of the memory, and where the images begin: behind the bitstream, with a sector of 64 kB.
    size: int
    base: int
    #: Where the bitstream begins.
    bitstream: int = 0
    #: Most lines on which it is read: 4 if its write protection and hold are known to be on these pins.
    lines: int = 2

    @property
    def room(self) -> int:
        """Bytes for images."""
        return min(self.size, MAX_SET_BYTES) - self.base

    def resource(self) -> Resource:
        """Return the pins as a resource ``images``."""
        names = ("cs", "io0", "io1", "io2", "io3")
        return Resource(
            "images",
            0,
            *(
                Subsignal(name, PinsN(pin, dir="o") if name == "cs" else Pins(pin, dir="io"))
                for name, pin in zip(names, self.pins, strict=True)
            ),
            # A memory without QE must not be held by a line that nobody drives.
            Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"),
        )


@dataclass(frozen=True)
class Board:
    """A board that qcloop has a bitstream for.

    Raises ConfigError if the clock or a baud rate cannot be made.
    """

    #: Its name on the command line, and its name for people.
    name: str
    title: str
    #: Its chip.
    chip: str
    family: Family
    #: Class of an Amaranth platform whose constructor takes no argument. The platform has a default clock and
    #: a resource ``uart``.
    platform: Any
    #: Options of nextpnr that name the chip.
    device: tuple[str, ...]
    engine: EngineConfig
    #: Clock of the engine, Hz.
    clock: float
    #: Bits a second that its adapter and its clock allow. The first one is built unless another is asked for.
    bauds: tuple[int, ...]
    #: Where the serial line is.
    serial: str
    #: The light for each of :data:`LIGHTS`. If several share a light, it shows their exclusive or.
    lights: Mapping[str, ResourceName]
    #: Options of openFPGALoader; and another program that loads the board, with its options before the file.
    loader: tuple[str, ...] = ()
    own_loader: tuple[str, ...] = ()
    link: LinkConfig = field(default_factory=LinkConfig)
    #: Pins that must be high.
    high: tuple[ResourceName, ...] = ()
    #: Options of the packer.
    pack: tuple[str, ...] = ()
    #: Seeds of place and route. They are tried in this order until the clock is met.
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    #: How far it was tested.
    tested: str = "built by make bitstreams"
    #: The source of the pins, if it is not amaranth-boards.
    pinout: str = ""
    #: What users must know before they use it for the first time.
    notes: tuple[str, ...] = ()
    #: Clock of an engine that learns, Hz, if it is another one: its step, and not the line, limits the speed.
    learning_clock: float | None = None
    #: Lanes of an engine that learns, if block RAMs are short: then small memories are made of LUTs, too, and
    #: the link has buffers of half the size.
    learning_lanes: int | None = None
    #: If it keeps images, lights that show how many test images had their class found last: each one is on
    #: from so many sixteenths on.
    score: tuple[tuple[ResourceName, int], ...] = ()
    #: Its flash memory, if it can keep images there.
    memory: FlashMemory | None = None
    #: Memory blocks of its chip, where cells with further parts may need more of them.
    blocks: int | None = None
    #: Pins of the chip for RX and TX, if not those of the platform; :meth:`with_pins` sets them.
    pins: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if set(self.lights) != set(LIGHTS):
            raise ConfigError(
                f"{self.name}: lights are named for {', '.join(LIGHTS)}, not {', '.join(self.lights)}"
            )
        for baud in self.bauds:
            self.bit_clocks(baud)
        if self.blocks is not None and self.cell_blocks > self.blocks:
            added = ", ".join(part_labels(self.engine.array.parts & ~STANDARD_PARTS))
            cells = f"{self.engine.array.cells:,} cells" + (f" with {added}" if added else "")
            raise ConfigError(
                f"{self.title}: {cells} take {self.cell_blocks} memory blocks or more, but its chip has "
                f"{self.blocks}: take fewer cells, leave a part out, or use a larger board"
            )

    def without(self, parts: ArrayPart) -> "Board":
        """Return the board with an engine that lacks some parts; they are added to its name."""
        if not parts:
            return self
        name = "-".join((self.name, "without", *part_labels(parts)))
        return replace(self, name=name, engine=self.engine.without(parts))

    def with_parts(self, parts: ArrayPart) -> "Board":
        """Return the board with an engine that has further parts; they are added to its name.

        Raises ConfigError if the board cannot have them.
        """
        if not parts & ~self.engine.array.parts:
            return self
        if ArrayPart.IMAGES in parts and self.memory is None:
            raise ConfigError(
                f"{self.title} keeps no images: its flash memory is not known, or no design can read it"
            )
        name = "-".join((self.name, "with", *part_labels(parts)))
        engine, link, clock = self.engine.with_parts(parts), self.link, self.clock
        if ArrayPart.LEARNING in parts:
            clock = self.learning_clock or clock
            if self.family is Family.ICE40:
                # Only the microprogrammed learner fits, with the smallest buffers.
                engine = self.engine.with_microcode().with_parts(parts)
                link = LinkConfig.beside(engine)
            elif self.learning_lanes is not None:
                engine = replace(engine.shaped(self.learning_lanes), lut_memory=True)
                link = LinkConfig(link.request_buffer // 2, link.answer_buffer // 2, lut_memory=True)
        board = replace(self, name=name, engine=engine, link=link, clock=clock, bauds=())
        return replace(board, bauds=board._possible(self.bauds))

    def shaped(self, lanes: int | None = None, cells: int | None = None, side: int | None = None) -> "Board":
        """Return the board with other lanes, cells or largest side, which are added to its name.

        None keeps a value. Raises ConfigError for what the engine or the chip cannot have.
        """
        given = {"lanes": lanes, "cells": cells, "side": side}
        words = [f"{what}-{value}" for what, value in given.items() if value is not None]
        if not words:
            return self
        engine = self.engine.shaped(lanes, cells, side)
        return replace(self, name="-".join((self.name, *words)), engine=engine)

    def clocked(self, hertz: float) -> "Board":
        """Return the board with another clock, Hz, which is added to its name in MHz.

        It keeps those of its baud rates that the clock allows. Raises ConfigError for a clock that its PLL
        does not make, or that allows none of them.
        """
        if not 0 < hertz < float("inf"):
            raise ConfigError(f"a clock has more than 0 MHz, not {hertz / 1e6:g}")
        board = replace(self, name=f"{self.name}-clock-{hertz / 1e6:g}", clock=hertz, bauds=())
        bauds = board._possible(self.bauds)
        if not bauds:
            raise ConfigError(
                f"{self.title}: a clock of {hertz / 1e6:g} MHz allows none of its baud rates, "
                f"{', '.join(map(str, self.bauds))}: choose a faster clock"
            )
        return replace(board, bauds=bauds)

    def _possible(self, bauds: tuple[int, ...]) -> tuple[int, ...]:
        """Return those of some baud rates that the clock allows."""
        return tuple(baud for baud in bauds if divides(self.made_clock, baud))

    def with_pins(self, rx: str, tx: str) -> "Board":
        """Return the board with its serial line on two other pins of the chip; they are added to its name.

        The pins have the attributes of the platform's resource ``uart``; other lines of it, such as RTS, are
        left out. Whether the chip has such pins is known only to place and route.

        Parameters
        ----------
        rx, tx : str
            Names of the pins on which the board receives and sends, for example "25" or "N17".

        Raises
        ------
        ConfigError
            If a name cannot be one of a pin, if both are the same, or if the design uses a pin for something
            else.
        """
        pins = rx.upper(), tx.upper()
        for name in (rx, tx):
            if not re.fullmatch(r"[A-Za-z0-9]+", name):
                raise ConfigError(
                    f"a pin has a name of letters and digits, such as 25 or N17, not {name!r}: {_PINS}"
                )
        if pins[0] == pins[1]:
            raise ConfigError(f"RX and TX must be two pins, not both {pins[0]}: {_PINS}")
        taken = self._pins_taken()
        for pin in pins:
            if pin in taken:
                raise ConfigError(
                    f"{self.name} needs pin {pin} for {taken[pin]}: choose another pin for --pins"
                )
        lines = dict(zip(("rx", "tx"), pins, strict=True))
        resources = [
            _on_pins(resource, lines) if (resource.name, resource.number) == _UART else resource
            for resource in self.platform.resources
        ]
        return replace(
            self,
            name="-".join((self.name, "pins", *pins)),
            platform=type(self.platform.__name__, (self.platform,), {"resources": resources}),
            serial=f"an adapter of 3.3 V: its TX to pin {pins[0]} of the chip (RX), its RX to pin {pins[1]} "
            "(TX), and ground",
            pins=pins,
        )

    def _pins_taken(self) -> dict[str, str]:
        """Return the pins that the design uses for other things than the serial line, and for what."""
        platform = self.platform()
        uses = {(platform.default_clk, 0): "the clock"}
        uses |= {resource[:2]: "{} {}".format(*resource) for resource in self.high}
        lights = [*self.lights.values(), *(resource for resource, _ in self.score)]
        uses |= {resource[:2]: "the light {} {}".format(*resource) for resource in lights}
        return {
            pin: use for resource, use in uses.items() for pin in _names(platform.request(*resource, dir="-"))
        }

    @property
    def source_clock(self) -> float:
        """Clock of the board's oscillator, Hz."""
        platform = self.platform()
        return float(platform.default_clk_frequency)

    @property
    def made_clock(self) -> float:
        """The engine's clock as the PLL makes it, Hz. Raises ConfigError if it makes none within 0.1 %."""
        source = self.source_clock
        return self.clock if source == self.clock else pll_setting(self.family, source, self.clock).hertz

    def bit_clocks(self, baud: int) -> int:
        """Return the clocks of a bit. Raises ConfigError if no whole number of clocks is near enough."""
        return divisor(self.made_clock, baud)

    @property
    def flash(self) -> FlashConfig | None:
        """Where the design finds the images; None without a known memory."""
        if self.memory is None:
            return None
        return FlashConfig(self.memory.base, self.memory.lines, wake_clocks=int(_WAKE * self.clock) + 1)

    @property
    def cell_blocks(self) -> int:
        """Fewest memory blocks, of the largest kind of the family, that can hold the cells."""
        if self.engine.memory is MemoryKind.SPRAM:
            return self.engine.lanes * -(-self.engine.words // SPRAM_WORDS)
        block = 4096 if self.family is Family.ICE40 else 16384
        return -(-16 * self.engine.kept * self.engine.array.cells // block)


def fits(network: str, array: ArrayConfig) -> bool:
    """Tell whether an array holds the weights of a network, with one device for each."""
    sizes = [int(size) for size in network.split("-")]
    words = sum(rows * array.row_words(cols) for rows, cols in pairwise(sizes))
    return max(sizes) <= array.side and words <= array.words


def pin_pair(text: str) -> tuple[str, str]:
    """Return the pins RX and TX of a text ``RX,TX``. Raises ConfigError if it has not two parts."""
    pins = [pin.strip() for pin in text.split(",")]
    if len(pins) != 2:
        raise ConfigError(f"the serial line has two pins, RX and TX, not {text!r}: {_PINS}")
    return pins[0], pins[1]


def _on_pins(resource: Resource, pins: Mapping[str, str]) -> Resource:
    """Return a resource that has only the lines named in ``pins``, on these pins, with their attributes."""
    lines = [
        Subsignal(line.name, Pins(pins[line.name], dir=line.ios[0].dir), line.attrs)
        for line in resource.ios
        if line.name in pins
    ]
    return Resource(resource.name, resource.number, *lines, resource.attrs)


def _names(port: Any) -> Iterator[str]:
    """Yield the names of the chip's pins of what a platform returned for a request."""
    if isinstance(port, io.SingleEndedPort):
        yield from (pin.name for pin in port.io.metadata)
    elif isinstance(port, io.DifferentialPort):
        yield from (pin.name for half in (port.p, port.n) for pin in half.metadata)
    else:
        for member in vars(port).values():
            yield from _names(member)
