"""The description of a board, from which everything about its build follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from qcloop.array import ArrayConfig
from qcloop.contract.parts import ArrayPart, part_labels
from qcloop.errors import ConfigError
from qcloop_firmware.clocking import pll_setting
from qcloop_hdl.array.memory import SPRAM_WORDS
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.uart import divisor
from qcloop_hdl.tools.synthesis import Family

#: Networks that show what an array can hold: the paper's, two larger ones, and that of the recipe ``best``.
NETWORKS = ("784-16-16-10", "784-32-10", "784-128-10", "784-256-10")
#: What a board's lights show; :class:`qcloop_firmware.top.Lights` defines it.
LIGHTS = ("heartbeat", "activity", "error")
#: A resource of a platform: its name and its number, and the name of one of its pins if it has several.
ResourceName = tuple[str, int] | tuple[str, int, str]


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
    #: Clock of an engine that learns, Hz, where that needs a slower one.
    learning_clock: float | None = None

    def __post_init__(self) -> None:
        if set(self.lights) != set(LIGHTS):
            raise ConfigError(
                f"{self.name}: lights are named for {', '.join(LIGHTS)}, not {', '.join(self.lights)}"
            )
        for baud in self.bauds:
            self.bit_clocks(baud)

    def without(self, parts: ArrayPart) -> "Board":
        """Return the board with an engine that lacks some parts; they are added to its name."""
        if not parts:
            return self
        name = "-".join((self.name, "without", *part_labels(parts)))
        return replace(self, name=name, engine=self.engine.without(parts))

    def with_parts(self, parts: ArrayPart) -> "Board":
        """Return the board with an engine that has further parts; they are added to its name."""
        if not parts & ~self.engine.array.parts:
            return self
        name = "-".join((self.name, "with", *part_labels(parts)))
        clock = self.learning_clock if ArrayPart.LEARNING in parts and self.learning_clock else self.clock
        return replace(self, name=name, engine=self.engine.with_parts(parts), clock=clock)

    @property
    def source_clock(self) -> float:
        """Clock of the board's oscillator, Hz."""
        platform = self.platform()
        return float(platform.default_clk_frequency)

    def bit_clocks(self, baud: int) -> int:
        """Return the clocks of a bit. Raises ConfigError if no whole number of clocks is near enough."""
        source = self.source_clock
        made = self.clock if source == self.clock else pll_setting(self.family, source, self.clock).hertz
        return divisor(made, baud)

    @property
    def cell_blocks(self) -> int:
        """Fewest memory blocks, of the largest kind of the family, that can hold the cells."""
        if self.engine.memory is MemoryKind.SPRAM:
            return self.engine.lanes * -(-self.engine.words // SPRAM_WORDS)
        block = 4096 if self.family is Family.ICE40 else 16384
        return -(-16 * self.engine.array.planes * self.engine.array.cells // block)


def fits(network: str, array: ArrayConfig) -> bool:
    """Tell whether an array holds the weights of a network, with one device for each."""
    sizes = [int(size) for size in network.split("-")]
    words = sum(rows * array.row_words(cols) for rows, cols in pairwise(sizes))
    return max(sizes) <= array.side and words <= array.words
