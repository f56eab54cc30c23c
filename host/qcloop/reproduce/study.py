"""All parts of the reproduction by name, and the report of those that were asked for."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qcloop import __version__
from qcloop.errors import ConfigError, RunError
from qcloop.files import write_atomic
from qcloop.report.page import Section, Table, Verdict, render_page
from qcloop.reproduce.accuracy import FIG5C, FIG5D
from qcloop.reproduce.beyond import BEYOND, PARTS_OF_MAP
from qcloop.reproduce.devices import FIG3, FIG4
from qcloop.reproduce.endurance import ENDURANCE
from qcloop.reproduce.part import Part
from qcloop.reproduce.wires import WIRES
from qcloop.sweep.parallel import run_points
from qcloop.sweep.points import POINTS, Outcome, Point
from qcloop.training.settings import RECIPES

PARTS: dict[str, Part] = {
    "fig3": FIG3,
    "fig4": FIG4,
    "fig5c": FIG5C,
    "fig5d": FIG5D,
    "beyond": BEYOND,
    "endurance": ENDURANCE,
    **PARTS_OF_MAP,
    "wires": WIRES,
}
#: Parts for which ``all`` stands. ``map-nearest`` is left out, because it is a second map.
ALL = tuple(name for name in PARTS if name != "map-nearest")

REPORT = "report.html"


@dataclass(frozen=True)
class Study:
    """The parts that were asked for, in order, and the seeds of their runs."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, names: Sequence[str], seeds: int) -> "Study":
        """Return a study of named parts with seeds 1..``seeds``. Raises ConfigError for an unknown name."""
        if seeds < 1:
            raise ConfigError(f"seeds must be 1 or more, not {seeds}")
        chosen: dict[str, None] = {}
        for name in names:
            if name != "all" and name not in PARTS:
                raise ConfigError(f"unknown part '{name}': expected all or one of {', '.join(PARTS)}")
            chosen.update(dict.fromkeys(ALL if name == "all" else (name,)))
        return cls(tuple(chosen), tuple(range(1, seeds + 1)))

    def points(self) -> list[Point]:
        """Return the training runs of all parts. A run that several parts need is there once."""
        return list(dict.fromkeys(p for name in self.names for p in PARTS[name].points(self.seeds)))

    def run(
        self, folder: Path, jobs: int, done: Callable[[Point, Outcome], None] = lambda *_: None
    ) -> list[tuple[str, Section]]:
        """Run the points that ``folder`` lacks, write all files and the report, and return the sections.

        Raises RunError if the folder cannot be written. Finished points are kept and not run again.
        """
        outcomes = run_points(self.points(), folder / POINTS, jobs, done)
        sections = []
        for name in self.names:
            finding = PARTS[name].present(self.seeds, outcomes)
            for file, content in finding.files.items():
                write_atomic(folder / file, content, RunError)
            sections.append((name, finding.section))
        write_atomic(folder / REPORT, self._page(sections), RunError)
        return sections

    def _page(self, sections: list[tuple[str, Section]]) -> str:
        verdicts = [
            (name, block.word, block.text)
            for name, section in sections
            for block in section.blocks
            if isinstance(block, Verdict)
        ]
        rows = [(name, str(value)) for name, value in RECIPES["paper"].items()]
        setting = Section(
            "Setting",
            (Table(("setting", "value"), rows, "The one set of settings behind Figures 5c and 5d."),),
        )
        summary = Section("Summary", (Table(("part", "", "finding"), verdicts, numeric=False),))
        return render_page(
            "Quantized-conductance memristor networks: the paper's figures anew",
            "Micromachines 2020, 11, 427, on the golden model: bit for bit what gateware and board give",
            [summary, *(section for _, section in sections), setting],
            f"qcloop {__version__}, Python {platform.python_version()}; "
            f"qcloop reproduce {' '.join(self.names)} --seeds {len(self.seeds)}",
        )
