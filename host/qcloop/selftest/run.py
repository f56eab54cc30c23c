"""The checks in their order, and their results."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, describe_absence
from qcloop.contract.types import SETTINGS, Policy
from qcloop.errors import ArrayError, LinkError
from qcloop.link.remote import RemoteArray
from qcloop.selftest import ageing, board, compute, devices, learning, memory
from qcloop.selftest.bench import Bench, Findings

#: At most so many answers are left over from a check that failed; the next check must not receive them.
_LEFT_OVER = 256


class CheckVerdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    #: The board was built without what is checked.
    SKIPPED = "skipped"
    #: Nothing is wrong with the board, but with its line or its supply.
    WARNING = "warning"
    FAILED = "FAILED"
    #: The board can not be reached any more.
    LOST = "LOST"


@dataclass(frozen=True)
class Check:
    """A check, and what to look at when it fails."""

    name: str
    act: Callable[[Bench, Findings], str]
    look: str
    #: Left out of a quick test.
    slow: bool = False
    #: Skipped on a board that lacks one of these parts.
    needs: ArrayPart = ArrayPart(0)


@dataclass(frozen=True)
class Result:
    """What a check found."""

    name: str
    verdict: CheckVerdict
    seconds: float
    #: What was compared, and how much.
    what: str
    #: The first difference, with numbers; and warnings.
    notes: tuple[str, ...] = ()
    #: What to look at.
    look: str = ""

    def lines(self) -> list[str]:
        """Return the result as text."""
        head = f"{self.verdict:8s}{self.name:20s}{self.seconds:7.1f} s  {self.what}"
        more = [*self.notes, *([f"look at: {self.look}"] if self.look else [])]
        return [head, *(f"        {line}" for line in more)]


_MEMORY = (
    "the cell memory: one bit or lane in all words is a data line or a memory block; words that hold the "
    "content of others are an address line; single words are the device, its supply or its clock"
)
_PRODUCTS = (
    "multipliers, the 32-bit sums and the vector buffer; where only ADC or read noise differ, those stages. "
    "Does the design close timing at its clock?"
)
_PROGRAM = "the programmer: draws, clipping, the policy's pulses; the counters where cells agree"

CHECKS = (
    Check(
        "identity",
        board.identity,
        "bitstream and host of different releases, or an engine that answers wrongly: trust nothing below",
    ),
    Check(
        "refusals",
        board.refusals,
        "the reset of the engine when a session opens, and what it knows of programmed words",
    ),
    Check(
        "generator program",
        compute.generator_program,
        "the programming generator: its tables where single samples differ, its seed where all do",
    ),
    Check(
        "generator read",
        compute.generator_read,
        "the read noise generator: its tables where single samples differ, its seed where all do, the order "
        "of the lanes where they are exchanged",
        needs=ArrayPart.READ_NOISE,
    ),
    Check("memory address", memory.march(memory.own_address, "address"), _MEMORY),
    Check("memory solid", memory.march(memory.solid, "solid"), _MEMORY, slow=True),
    Check("memory checkerboard", memory.march(memory.checkerboard, "checkerboard"), _MEMORY, slow=True),
    *(
        Check(
            f"program {policy.label}",
            compute.program(policy),
            _PROGRAM,
            needs=SETTINGS["policy"].needs(policy),
        )
        for policy in Policy
    ),
    Check(
        "variation",
        devices.variation,
        "the memory of the deviations where words differ; what they add to the mean where only codes do",
        needs=ArrayPart.VARIATION,
    ),
    Check(
        "endurance",
        devices.endurance,
        "the memory of the writes left where words differ; otherwise what programming takes of them",
        needs=ArrayPart.ENDURANCE,
    ),
    Check(
        "ageing",
        ageing.ageing,
        "ageing, where programming passes: its tables, its sums, the order of the cells and of their words",
        needs=ArrayPart.RELAXATION,
    ),
    Check("forward 1 bit", compute.forward(1), _PRODUCTS),
    Check("forward 8 bits", compute.forward(8), _PRODUCTS),
    Check("backward", compute.backward, _PRODUCTS),
    Check(
        "training step",
        learning.training_step,
        "the learner, where programming and products pass: its tables, its scaling, its accumulators",
        needs=ArrayPart.LEARNING,
    ),
    Check("line rate", board.line_rate, "cable, adapter, and the board's reset"),
    Check(
        "link errors",
        board.link_errors,
        "cable, ground and baud rate for damaged frames and framing; the host's adapter or load for gaps and "
        "repeats; the board's supply where it was reset",
    ),
)


def run_checks(
    array: RemoteArray, *, seed: int = 1, quick: bool = False, baud: int | None = None
) -> Iterator[Result]:
    """Check an array that was just opened, and yield each result when it is there.

    What needs a standard part that the board lacks is skipped; what needs a further part is not mentioned.

    All cells are overwritten, and the array must be opened anew after the last check. When a check fails, the
    others are run all the same.

    Parameters
    ----------
    array : RemoteArray
        Just opened: no operation has been sent to it yet.
    seed : int
        Seed of random regions, cells and vectors, 0 or above. The same seed makes the same requests.
    quick : bool
        Test less: it takes less than half a minute on a virtual board.
    baud : int, optional
        Bits a second of the line, to tell how much of it was used; None for a line that has no such rate.

    Raises
    ------
    LinkError
        If the board cannot be reached any more. The result of the check, LOST, is yielded before.
    """
    bench = Bench(array, seed, quick, baud)
    for check in CHECKS:
        lacking = check.needs & ~bench.config.parts
        if lacking & ~STANDARD_PARTS:
            continue
        if lacking:
            yield Result(check.name, CheckVerdict.SKIPPED, 0.0, f"this board has {describe_absence(lacking)}")
        elif not (quick and check.slow):
            yield from _run(check, bench)


def _run(check: Check, bench: Bench) -> Iterator[Result]:
    found, start = Findings(), perf_counter()
    what, lost = "", None
    try:
        what = _act(check, bench, found)
    except LinkError as error:
        lost = error
    seconds = perf_counter() - start
    yield _result(check, found, what, seconds, lost)
    if lost is not None:
        raise lost


def _act(check: Check, bench: Bench, found: Findings) -> str:
    try:
        return check.act(bench, found)
    except ArrayError as error:
        found.refused(str(error))
        _settle(bench)
        return ""


def _result(check: Check, found: Findings, what: str, seconds: float, lost: LinkError | None) -> Result:
    notes = ([f"first difference: {found.first}"] if found.first else []) + found.warnings
    if lost is not None:
        verdict, notes = CheckVerdict.LOST, [*notes, str(lost)]
    elif found.different:
        verdict = CheckVerdict.FAILED
    else:
        verdict = CheckVerdict.WARNING if found.warnings else CheckVerdict.OK
    compared = f"{found.compared:,} compared" + (f": {what}" if what else "") if found.compared else what
    return Result(
        check.name, verdict, seconds, compared, tuple(notes), "" if verdict is CheckVerdict.OK else check.look
    )


def _settle(bench: Bench) -> None:
    """Take the answers that a check did not wait for, also those that are refusals."""
    for _ in range(_LEFT_OVER):
        with suppress(ArrayError):
            bench.array.counters()
            return
