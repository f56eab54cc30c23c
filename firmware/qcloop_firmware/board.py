"""What a board is to a build: one frozen description."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from qcloop.array import ArrayConfig
from qcloop.errors import ConfigError
from qcloop_firmware.clocking import pll_setting
from qcloop_hdl.array.memory import SPRAM_WORDS
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.link.link import LinkConfig
from qcloop_hdl.link.uart import divisor
from qcloop_hdl.tools.synthesis import Family

#: Networks by which users judge a size: the paper's, two between, and that of the recipe ``best``.
NETWORKS = ("784-16-16-10", "784-32-10", "784-128-10", "784-256-10")
#: What a board's lights may show, see :class:`qcloop_firmware.top.Lights`.
LIGHTS = ("heartbeat", "activity", "error")
#: A resource of a platform: its name and number, and which part of it if it has parts.
ResourceName = tuple[str, int] | tuple[str, int, str]


@dataclass(frozen=True)
class Board:
    """A board that qcloop has a bitstream for.

    Raises ConfigError where the clock or a baud rate cannot be made.
    """

    #: What the command line calls it, and what it is called.
    name: str
    title: str
    #: Its chip.
    chip: str
    family: Family
    #: Class of amaranth's; one without arguments. It has a default clock and a resource ``uart``.
    platform: Any
    #: Options of nextpnr that name the chip.
    device: tuple[str, ...]
    engine: EngineConfig
    #: Clock, Hz.
    clock: float
    #: Bits a second that its adapter and clock can do; the first is what is built where nothing else is said.
    bauds: tuple[int, ...]
    #: Where the serial line is.
    serial: str
    #: Lights: those that share a resource are shown by exclusive or.
    lights: Mapping[str, ResourceName]
    #: Options of openFPGALoader, and what else loads it: the program and its options before the file.
    loader: tuple[str, ...] = ()
    own_loader: tuple[str, ...] = ()
    link: LinkConfig = field(default_factory=LinkConfig)
    #: Pins that the board wants high.
    high: tuple[ResourceName, ...] = ()
    #: Options of the packer.
    pack: tuple[str, ...] = ()
    #: Seeds of place and route, tried in this order until one closes timing.
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    #: How far it is tested.
    tested: str = "built by make bitstreams"
    #: Where the pins come from, if not from amaranth-boards.
    pinout: str = ""
    #: What to know before it is used for the first time.
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if set(self.lights) != set(LIGHTS):
            raise ConfigError(
                f"{self.name}: lights are named for {', '.join(LIGHTS)}, not {', '.join(self.lights)}"
            )
        for baud in self.bauds:
            self.bit_clocks(baud)

    @property
    def source_clock(self) -> float:
        """Clock that comes with the board, Hz."""
        platform = self.platform()
        return float(platform.default_clk_frequency)

    def bit_clocks(self, baud: int) -> int:
        """Return the clocks of a bit; ConfigError where they are not near enough."""
        source = self.source_clock
        made = self.clock if source == self.clock else pll_setting(self.family, source, self.clock).hertz
        return divisor(made, baud)

    @property
    def cell_blocks(self) -> int:
        """Fewest memory blocks, of the largest kind of the family, that the cells can take."""
        if self.engine.memory is MemoryKind.SPRAM:
            return self.engine.lanes * -(-self.engine.words // SPRAM_WORDS)
        block = 4096 if self.family is Family.ICE40 else 16384
        return -(-16 * self.engine.array.cells // block)


def fits(network: str, array: ArrayConfig) -> bool:
    """Say whether a network's weights, one device each, fit into an array."""
    sizes = [int(size) for size in network.split("-")]
    words = sum(rows * array.row_words(cols) for rows, cols in pairwise(sizes))
    return max(sizes) <= array.side and words <= array.words
