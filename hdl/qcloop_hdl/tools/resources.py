"""The table of resources: what an engine of each size takes of the devices that it is meant for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart, describe_parts
from qcloop.errors import ConfigError
from qcloop_hdl.config import SIZES, EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine
from qcloop_hdl.tools.options import describe_shape
from qcloop_hdl.tools.synthesis import Family, Statistics, synthesise, yosys_version

#: The lines of a document that enclose the table.
START, END = "<!-- resources -->", "<!-- end of resources -->"
#: The command that updates the document.
COMMAND = "qcloop hdl resources --write docs/resources.md"


@dataclass(frozen=True)
class Device:
    """A device, and how much it has of each resource."""

    name: str
    family: Family
    logic_cells: int
    flip_flops: int
    #: Multipliers of 18 x 18 bits, on an iCE40 of 16 x 16.
    multipliers: int
    block_rams: int
    sprams: int = 0


_UP5K = Device("iCE40 UP5K", Family.ICE40, 5280, 5280, 8, 30, 4)
_25F = Device("ECP5 25F", Family.ECP5, 24288, 24288, 28, 56)
_85F = Device("ECP5 85F", Family.ECP5, 83640, 83640, 156, 208)
_GW1NR = Device("GW1NR-9", Family.GOWIN, 8640, 6480, 20, 26)
#: All devices, by the name that the command line has for them; smaller ones first in a family.
DEVICES = {device.name.lower().replace(" ", "-"): device for device in (_UP5K, _25F, _85F, _GW1NR)}
#: A size, the parts of the engine, and a device.
Target = tuple[str, ArrayPart, Device]
#: The smallest devices that hold an engine of each size, with its parts there.
TARGETS: tuple[Target, ...] = (
    ("small", STANDARD_PARTS, _UP5K),
    *(("small", STANDARD_PARTS & ~part, _UP5K) for part in STANDARD_PARTS),
    ("small", ArrayPart(0), _UP5K),
    ("medium", STANDARD_PARTS, _25F),
    ("medium", STANDARD_PARTS, _GW1NR),
    ("medium", LEARNING_PARTS, _25F),
    ("large", STANDARD_PARTS, _85F),
    ("large", LEARNING_PARTS, _85F),
)

#: Mark behind a number of LUTs that the older mapper made.
_OLDER = "*"
_HEAD = """\
| size | device | LUT4 | carry cells | LUT memory | logic cells | flip-flops | DSP | block RAM | SPRAM |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One row of the table: an engine, by its size and parts, on one device."""

    size: str
    parts: ArrayPart
    device: Device
    took: Statistics
    #: Lanes, cells and side in words, where they are not those of the size.
    shape: str = ""

    @property
    def excess(self) -> list[str]:
        """What the engine takes more of than the device has, in words."""
        device, took = self.device, self.took
        shares = (
            ("logic cells", took.logic_cells, device.logic_cells),
            ("flip-flops", took.flip_flops, device.flip_flops),
            ("DSP", took.multipliers, device.multipliers),
            ("block RAM", took.memories - took.sprams, device.block_rams),
            ("SPRAM", took.sprams, device.sprams),
        )
        return [f"{took:,} of {has:,} {name}" for name, took, has in shares if took > has]

    def __str__(self) -> str:
        device, took = self.device, self.took
        engine = self.size if self.parts == STANDARD_PARTS else f"{self.size} {describe_parts(self.parts)}"
        columns = (
            f"{engine}, {self.shape}" if self.shape else engine,
            device.name,
            f"{took.luts:,}{_OLDER * took.older_mapper}",
            f"{took.carries:,}",
            f"{took.lut_memories:,}",
            _share(took.logic_cells, device.logic_cells),
            _share(took.flip_flops, device.flip_flops),
            _share(took.multipliers, device.multipliers),
            _share(took.memories - took.sprams, device.block_rams),
            _share(took.sprams, device.sprams) if device.sprams else "-",
        )
        return f"| {' | '.join(columns)} |"


def _share(took: int, has: int) -> str:
    return f"{took:,} / {has:,} ({took / has:.0%})"


def measure(targets: Iterable[Target] = TARGETS) -> list[Row]:
    """Synthesise engines for the devices that they are meant for: 10 seconds a row, with learning a minute.

    Raises SynthesisError if there is no Yosys or it fails.
    """
    return [
        Row(size, parts, device, synthesise(Engine(SIZES[size].of_parts(parts)), device.family))
        for size, parts, device in targets
    ]


def measure_engine(config: EngineConfig, devices: Iterable[Device] = ()) -> Iterator[Row]:
    """Synthesise one engine for devices; without any, for the smallest one of a family that holds it.

    That is the UP5K for an engine with SPRAM, and an ECP5 for others.

    Raises
    ------
    ConfigError
        If a device lacks the SPRAM that the engine's cells are in.
    SynthesisError
        If there is no Yosys or it fails.
    """
    spram = config.memory is MemoryKind.SPRAM
    chosen = list(devices)
    for device in chosen:
        if spram and not device.sprams:
            raise ConfigError(
                f"the cells of the size {config.size} are in SPRAM, which only the {_UP5K.name} has, not the "
                f"{device.name}: take --size medium or large, with --lanes and --cells"
            )
    tried = chosen or ([_UP5K] if spram else [_25F, _85F])
    took: dict[Family, Statistics] = {}
    for device in tried:
        if device.family not in took:
            took[device.family] = synthesise(Engine(config), device.family)
        row = Row(config.size, config.array.parts, device, took[device.family], describe_shape(config))
        if chosen or not row.excess or device is tried[-1]:
            yield row
            if not chosen:
                return


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table, and the version of Yosys below it."""
    lines = "".join(f"{row}\n" for row in rows)
    note = f" {_OLDER} ABC9 dies of this design; mapped by ABC." if _OLDER in lines else ""
    return f"{_HEAD}{lines}\n{yosys_version()}, before place and route.{note}\n"


def replace_table(document: str, text: str) -> str:
    """Return a document with the text between the marker lines replaced.

    Raises ConfigError unless both markers are there once each, and in order.
    """
    before, start, rest = document.partition(f"{START}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (start and end) or START in after or END in before + after:
        raise ConfigError(f"the document must have one line {START} and after it one line {END}")
    return f"{before}{start}{text}{end}{after}"
