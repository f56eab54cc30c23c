"""What is fixed when the gateware is built: one configuration for each target size, and its digest."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from amaranth import Module
from amaranth.lib import wiring

from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import MAX_LENGTH, MIN_BUFFER, Info, configuration_digest
from qcloop.contract.parts import ArrayPart, describe_parts, part_labels
from qcloop.contract.plan import max_units
from qcloop.contract.seeding import GENERATOR_LANES
from qcloop.contract.types import ArrayConfig
from qcloop.errors import ConfigError
from qcloop_hdl.registers import delayed

#: Largest number of memory words: addresses on the command port have 16 bits.
MAX_WORDS = 1 << 16
#: Largest number of cells; no board here has memory for more.
MAX_CELLS = 1 << 18
#: Largest operand buffer: an operation's length has 16 bits.
MAX_BUFFER = (MAX_LENGTH + 1) // 2
#: Largest number of lanes: the generator of read noise has no more.
MAX_LANES = max(GENERATOR_LANES)
#: Parts that keep a word of each cell in a memory of their own.
DEVICE_PARTS = ArrayPart.VARIATION | ArrayPart.ENDURANCE
#: Words of 16 bits that the smallest ECP5, or UP5K, of each size has for the cells and what is kept of them:
#: without training, and with it, which needs memory of its own.
_ROOM = {"small": (1 << 16, 1 << 16), "medium": (3 << 14, 2 << 14), "large": (3 << 16, 2 << 16)}
#: Words of one SPRAM block, 16 bits each.
SPRAM_WORDS = 1 << 14
#: Largest side of an engine with the microprogrammed learner, which keeps the bits of an image in 128 words.
MICROCODE_SIDE = 1024
#: SPRAM blocks of an iCE40UP5K.
SPRAM_BLOCKS = 4


def _kept(array: ArrayConfig) -> int:
    return array.planes + (array.parts & DEVICE_PARTS).bit_count()


def check_sprams(lanes: int, words: int, planes: int) -> None:
    """Raise ConfigError if words of some lanes take more SPRAM blocks than there are."""
    blocks = lanes * -(-planes * words // SPRAM_WORDS)
    if blocks > SPRAM_BLOCKS:
        size = f"{words} words of {lanes} lanes" + (f" in {planes} planes" if planes > 1 else "")
        raise ConfigError(
            f"{size} take {blocks} SPRAM blocks of {SPRAM_WORDS} words, "
            f"but the device has {SPRAM_BLOCKS}: use fewer lanes or words"
        )


class MemoryKind(Enum):
    """What the cell memory is made of."""

    #: Block RAM by inference (ECP5: DP16KD, Gowin: SDPB, iCE40: SB_RAM40_4K).
    BLOCK = "block"
    #: ``SB_SPRAM256KA`` of iCE40 UltraPlus, one for each lane and 16,384 words.
    SPRAM = "spram"

    def two_ports(self, planes: int) -> bool:
        """Return whether each of ``planes`` planes of this kind reads a word while it writes another one."""
        return self is MemoryKind.BLOCK and planes > 1


@dataclass(frozen=True)
class EngineConfig:
    """Parameters of an engine and the widths that follow from them.

    Raises ConfigError for an impossible combination.
    """

    #: Name of the size, for reports; not part of the digest.
    name: str
    #: Lanes, cells, largest side, parts and learner, shared with the golden model.
    array: ArrayConfig
    #: Primitive of which the cell memory is made.
    memory: MemoryKind = MemoryKind.BLOCK
    #: Bytes of the operand buffer, a power of two. They limit the operands of CONFIGURE, PROGRAM,
    #: PROGRAM_BLOCK.
    buffer: int = 1024
    #: The training step is made by a microprogrammed learner, whose program takes more clocks: see
    #: :mod:`qcloop_hdl.microcode`. ``array.learner`` follows it, and the digest has its limits.
    microprogrammed: bool = False
    #: Use the simulation model of the memory instead of the device's primitives; not part of the digest.
    model: bool = False
    #: Make small memories of LUTs, for a device that has few block RAMs; not part of the digest.
    lut_memory: bool = False

    def __post_init__(self) -> None:
        microprogrammed = self.microprogrammed and self.has(ArrayPart.LEARNING)
        learner = LearnerKind.MICROPROGRAMMED if microprogrammed else LearnerKind.PIPELINED
        object.__setattr__(self, "array", replace(self.array, learner=learner))
        if self.array.lanes > MAX_LANES:
            raise ConfigError(f"an engine has 1..{MAX_LANES} lanes, not {self.array.lanes}")
        if not 2 <= self.array.words <= MAX_WORDS:
            raise ConfigError(
                f"an engine has 2..{MAX_WORDS} memory words, not {self.array.words}: "
                f"choose cells and lanes to match"
            )
        if self.array.cells > MAX_CELLS:
            raise ConfigError(f"an engine has at most {MAX_CELLS} cells, not {self.array.cells}")
        if self.has(ArrayPart.LEARNING) and (self.array.lanes < 2 or self.array.words & self.array.words - 1):
            raise ConfigError(
                "an engine that learns has 2 lanes or more and a power of two of words, not "
                f"{self.array.lanes} lanes and {self.array.words} words"
            )
        if self.has(ArrayPart.LEARNING) and max_units(self.array.side) < 2:
            raise ConfigError(f"an engine that learns has a side of 4 or more, not {self.array.side}")
        if self.has(ArrayPart.IMAGES) and not self.has(ArrayPart.LEARNING):
            raise ConfigError("an engine with images of its own must learn: add the part learning")
        if self.microprogrammed and self.has(ArrayPart.LEARNING):
            self._check_microprogrammed()
        if self.array.planes * self.array.words > MAX_WORDS:
            raise ConfigError(
                f"an engine has at most {MAX_WORDS} words in all planes, not {self.array.planes} planes of "
                f"{self.array.words} words"
            )
        if self.memory is MemoryKind.SPRAM:
            if self.device_parts:
                labels = " and ".join(part_labels(self.device_parts))
                raise ConfigError(
                    f"an engine with cells in SPRAM, such as the size small, cannot have {labels}: use "
                    "medium or large"
                )
            check_sprams(self.lanes, self.words, self.array.planes)
        if not MIN_BUFFER <= self.buffer <= MAX_BUFFER or self.buffer & (self.buffer - 1):
            raise ConfigError(
                f"the operand buffer must be a power of two from {MIN_BUFFER} to {MAX_BUFFER} bytes, "
                f"not {self.buffer}"
            )

    def _check_microprogrammed(self) -> None:
        if self.memory is not MemoryKind.SPRAM or self.lanes != 2 or self.has(ArrayPart.IMAGES):
            memory = "SPRAM" if self.memory is MemoryKind.SPRAM else "block RAM"
            images = " and images of its own" if self.has(ArrayPart.IMAGES) else ""
            raise ConfigError(
                "the microprogrammed learner is for 2 lanes of cells in SPRAM, not for "
                f"{self.lanes} lanes in {memory}{images}: use a larger board"
            )
        if self.side > MICROCODE_SIDE:
            raise ConfigError(
                f"the microprogrammed learner is for regions of up to {MICROCODE_SIDE} rows and columns, not "
                f"{self.side}"
            )

    @property
    def size(self) -> str:
        """Name of the size that it is made from."""
        return self.name.partition(" ")[0]

    @property
    def lanes(self) -> int:
        """Cells of one memory word, read in one cycle."""
        return self.array.lanes

    @property
    def words(self) -> int:
        """Number of memory words."""
        return self.array.words

    @property
    def side(self) -> int:
        """Largest number of rows, and of columns, of a region."""
        return self.array.side

    @property
    def lane_bits(self) -> int:
        """Bits of a lane number; 0 for one lane."""
        return (self.lanes - 1).bit_length()

    @property
    def address_bits(self) -> int:
        """Bits of a word address."""
        return (self.words - 1).bit_length()

    @property
    def side_bits(self) -> int:
        """Bits of a count of rows or columns, 0..side."""
        return self.side.bit_length()

    @property
    def registered(self) -> bool:
        """Whether there are registers between the memories and the logic that uses what they read.

        The block RAM of ECP5 and Gowin takes about half a clock to answer, so with these registers the clock
        can be faster. On an iCE40 the logic is slow beside the memories, and each such register would cost a
        logic cell, so there are none.
        """
        return self.memory is MemoryKind.BLOCK

    @property
    def two_ports(self) -> bool:
        """Whether the memory reads a word in a clock in which it writes another one: see ``CellMemory``."""
        return self.memory.two_ports(self.array.planes)

    @property
    def pipelines_steps(self) -> bool:
        """Whether it makes the training step in pipelined blocks, which ask more of the array."""
        return self.has(ArrayPart.LEARNING) and not self.microprogrammed

    @property
    def pipelines_cells(self) -> bool:
        """Whether the training step programs its cells close behind each other, one each clock."""
        return self.two_ports and not self.device_parts

    @property
    def runs_microcode(self) -> bool:
        """Whether it makes the training step with the microprogrammed learner.

        The array helps it: active rows are listed once more, a word of accumulators is read while another one
        is written, and the state of the programmer's generator is in block RAM.
        """
        return self.has(ArrayPart.LEARNING) and self.microprogrammed

    @property
    def memory_planes(self) -> int:
        """Planes of the memory that holds the cells; with two ports, accumulators have one of their own."""
        return 1 if self.two_ports else self.array.planes

    @property
    def row_words(self) -> int:
        """Words of the longest row. This is the depth of a vector buffer that is ``lanes`` bytes wide."""
        return self.array.row_words(self.side)

    @property
    def digest(self) -> bytes:
        """SHA-256 over everything that determines the engine's behaviour."""
        return configuration_digest(self.array, self.buffer)

    @property
    def info(self) -> Info:
        """What the engine answers to INFO."""
        return Info(self.array, self.buffer)

    def has(self, part: ArrayPart) -> bool:
        """Return whether the engine has a part: what it lacks is not built, and refused with Status.PART."""
        return part in self.array.parts

    @property
    def device_parts(self) -> ArrayPart:
        """Those of its parts that keep a word of each cell in a memory of their own."""
        return self.array.parts & DEVICE_PARTS

    @property
    def kept(self) -> int:
        """Words of 16 bits that are kept of each cell: in the planes of the memory, and beside it."""
        return _kept(self.array)

    def without(self, parts: ArrayPart) -> "EngineConfig":
        """Return the same configuration without some parts; they are added to its name."""
        array = replace(self.array, parts=self.array.parts & ~parts)
        name = f"{self.size} {describe_parts(array.parts)}"
        return replace(self, array=array, name=name) if parts else self

    def with_parts(self, parts: ArrayPart) -> "EngineConfig":
        """Return the same configuration with further parts; they are added to its name.

        Some parts keep words of each cell. If the memory of the size has no room for all of them
        (:data:`_ROOM`), the cells are halved until it has; that of an engine of no size has room for its
        cells alone.
        """
        added = parts & ~self.array.parts
        if not added:
            return self
        array = replace(self.array, parts=self.array.parts | added)
        room = _ROOM.get(self.size, (self.array.cells,) * 2)[ArrayPart.LEARNING in array.parts]
        while _kept(array) * array.cells > room:
            array = replace(array, cells=array.cells // 2)
        return replace(self, array=array, name=f"{self.size} {describe_parts(array.parts)}")

    def of_parts(self, parts: ArrayPart) -> "EngineConfig":
        """Return the same configuration with these parts and no others."""
        return self.without(self.array.parts & ~parts).with_parts(parts)

    def shaped(
        self, lanes: int | None = None, cells: int | None = None, side: int | None = None
    ) -> "EngineConfig":
        """Return the same configuration with other lanes, cells or largest side; None keeps a value."""
        array = self.array
        return replace(
            self,
            array=replace(
                array,
                lanes=array.lanes if lanes is None else lanes,
                cells=array.cells if cells is None else cells,
                side=array.side if side is None else side,
            ),
        )

    def with_microcode(self) -> "EngineConfig":
        """Return the same configuration as an iCE40 has it to learn, to which the part learning can be added.

        It has the microprogrammed learner, which is for two lanes, and the smallest operand buffer.
        """
        array = replace(self.array, lanes=2)
        return replace(self, array=array, microprogrammed=True, buffer=MIN_BUFFER)

    def as_model(self) -> "EngineConfig":
        """Return the same configuration with the memory's simulation model."""
        return replace(self, model=True)


class Configured(wiring.Component):
    """A component whose parameters are an engine's configuration.

    Parameters
    ----------
    config : EngineConfig
    ports
        The component's ports, as ``wiring.Component`` takes them.
    """

    def __init__(self, config: EngineConfig, ports: dict[str, Any]) -> None:
        self._config = config
        super().__init__(ports)

    @property
    def config(self) -> EngineConfig:
        """What is fixed when the gateware is built."""
        return self._config

    def delayed(self, m: Module, value: Any) -> Any:
        """Return a value, delayed by a clock if there are registers around the memories (``registered``)."""
        return delayed(m, value, int(self.config.registered))


#: The sizes that boards are built in. ``medium`` is what both a GW1NR-9 and an ECP5 25F hold.
SIZES: dict[str, EngineConfig] = {
    config.name: config
    for config in (
        EngineConfig("small", ArrayConfig(lanes=4, cells=1 << 16, side=1024), MemoryKind.SPRAM),
        EngineConfig("medium", ArrayConfig(lanes=8, cells=1 << 14, side=1024)),
        EngineConfig("large", ArrayConfig(lanes=16, cells=1 << 17, side=1024)),
    )
}
