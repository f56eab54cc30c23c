"""The table of resources: what an engine of each size takes of the devices that it is meant for."""

from collections.abc import Iterable
from dataclasses import dataclass

from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart, describe_parts
from qcloop.errors import ConfigError
from qcloop_hdl.config import SIZES
from qcloop_hdl.engine import Engine
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
#: A size, the parts of the engine, and a device.
Target = tuple[str, ArrayPart, Device]
#: The smallest devices that hold an engine of each size, with its parts there.
TARGETS: tuple[Target, ...] = (
    ("small", STANDARD_PARTS, _UP5K),
    *(("small", STANDARD_PARTS & ~part, _UP5K) for part in STANDARD_PARTS),
    ("small", ArrayPart(0), _UP5K),
    ("medium", STANDARD_PARTS, _25F),
    ("medium", STANDARD_PARTS, Device("GW1NR-9", Family.GOWIN, 8640, 6480, 20, 26)),
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
    """One row of the table: an engine of a size, with its parts, on one device."""

    size: str
    parts: ArrayPart
    device: Device
    took: Statistics

    def __str__(self) -> str:
        device, took = self.device, self.took
        columns = (
            self.size if self.parts == STANDARD_PARTS else f"{self.size} {describe_parts(self.parts)}",
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
