"""What all checks use: an array together with its golden model, and a record of what differed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, GoldenArray
from qcloop.contract import operations
from qcloop.contract.formats import CODE_BITS, CODE_MAX
from qcloop.contract.frames import Identity
from qcloop.contract.operations import HEADER
from qcloop.contract.types import I8, U8, ArraySettings, Counters, Positions, Region, cell_words
from qcloop.link.remote import RemoteArray

U16 = npt.NDArray[np.uint16]


@dataclass
class Findings:
    """How much a check has compared, and the first difference that it found."""

    compared: int = 0
    different: int = 0
    #: The first difference: what, expected, came, where.
    first: str = ""
    #: What is not a failure, but should be looked at.
    warnings: list[str] = field(default_factory=list)

    def equal(
        self,
        what: str,
        expected: npt.ArrayLike,
        came: npt.ArrayLike,
        where: Callable[[int], str] = str,
        show: Callable[[Any], str] = str,
    ) -> None:
        """Compare values; ``where`` describes the value of a flat index, ``show`` writes a value."""
        wanted, found = np.asarray(expected), np.asarray(came)
        self.compared += wanted.size
        if wanted.shape != found.shape:
            self._note(1, f"{what}: expected {wanted.shape} values, came {found.shape}")
            return
        wrong = np.flatnonzero(wanted != found)
        if wrong.size == 0:
            return
        first = int(wrong[0])
        text = f"{what}: expected {show(wanted.flat[first])}, came {show(found.flat[first])}"
        if wanted.ndim:
            text += f" at {where(first)}; {wrong.size:,} of {wanted.size:,} differ"
        self._note(wrong.size, text)

    def refused(self, reason: str) -> None:
        """Note that an operation was refused which should have been done."""
        self._note(1, reason)

    def _note(self, count: int, text: str) -> None:
        self.different += count
        self.first = self.first or text


class Bench:
    """An array that was just opened, and a golden model of its shape; both get the same operations.

    Parameters
    ----------
    array : RemoteArray
        Or another array that has a ``link``. No operation has been sent to it yet.
    seed : int
        Seed of random regions, cells and vectors, 0 or above.
    quick : bool
        Test less.
    baud : int, optional
        Bits a second of the line; None for a line that has no such rate.
    """

    def __init__(self, array: RemoteArray, seed: int, quick: bool, baud: int | None) -> None:
        self.array, self.golden = array, GoldenArray(array.config)
        self.config, self.link = array.config, array.link
        self.seed, self.quick, self.baud = seed, quick, baud
        self._filled = False
        #: What the board and the link said before the first check.
        self.opened: Identity = array.link.identity
        #: Cells of one word that a region reaches: all lanes, unless the side is shorter.
        self.word_cols = min(self.config.lanes, self.config.side)

    def rng(self, name: str) -> np.random.Generator:
        """Return the random numbers of one check; they do not depend on what other checks draw."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    # -- regions --------------------------------------------------------------------------------

    def largest(self) -> Region:
        """Return the region with the most rows, and with as many columns as there is room for."""
        rows = min(self.config.side, self.config.words)
        return Region(0, rows, min(self.config.side, self.config.words // rows * self.config.lanes))

    def widest(self) -> Region:
        """Return the region with the most columns, and with as many rows as there is room for."""
        cols = min(self.config.side, self.config.cells)
        return Region(0, min(self.config.side, self.config.words // self.config.row_words(cols)), cols)

    def random_region(self, rng: np.random.Generator, cells: int) -> Region:
        """Return a region anywhere, of at most about so many cells; its size is as often small as large."""
        config = self.config
        cols = _size(rng, min(config.side, cells, config.cells))
        rows = _size(rng, min(config.side, max(1, cells // cols), config.words // config.row_words(cols)))
        end = config.words - rows * config.row_words(cols)
        return Region(int(rng.integers(end + 1)), rows, cols)

    def blocks(self) -> list[Region]:
        """Return regions of whole words that cover the memory, from its first word to its last."""
        config = self.config
        return [
            Region(base, min(config.side, config.words - base), self.word_cols)
            for base in range(0, config.words, config.side)
        ]

    # -- both arrays ----------------------------------------------------------------------------

    @property
    def both(self) -> tuple[Array, Array]:
        """The golden model and the array."""
        return self.golden, self.array

    def configure(self, settings: ArraySettings, positions: Positions | None = None) -> None:
        """Configure both."""
        for array in self.both:
            array.configure(settings, positions)

    def load(self, region: Region, words: U16) -> None:
        """Write cell words (rows, cols) into both."""
        levels, codes = (words >> CODE_BITS).astype(np.uint8), (words & CODE_MAX).astype(np.int16)
        for array in self.both:
            array.load(region, levels, codes)

    def fill(self, rng: np.random.Generator) -> None:
        """Write random cells into the whole memory of both; a quick test does it only once."""
        if self.quick and self._filled:
            return
        self._filled = True
        for region in self.blocks():
            self.load(region, rng.integers(0, 1 << 16, (region.rows, region.cols), np.uint16))

    def program_block(self, region: Region, levels: U8) -> None:
        """Program a block in both."""
        for array in self.both:
            array.program_block(region, levels)

    def program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        """Program a list of cells in both."""
        for array in self.both:
            array.program(region, cells, levels)

    # -- comparisons ----------------------------------------------------------------------------

    def same_cells(self, found: Findings, what: str, region: Region) -> None:
        """Compare all cells of a region."""
        (levels, codes), (came_levels, came_codes) = (array.read(region) for array in self.both)
        where = self.cell_name(region)
        found.equal(f"{what}: level", levels, came_levels, where)
        found.equal(f"{what}: code", codes, came_codes, where)

    def same_words(self, found: Findings, what: str, region: Region, words: U16) -> None:
        """Compare the array's cells with cell words."""
        found.equal(what, words, cell_words(*self.array.read(region)), self.cell_name(region), hexadecimal)

    def same_forward(self, found: Findings, what: str, region: Region, x: U8, bits: int) -> None:
        """Compare forward products."""
        expected, came = (array.forward(region, x, bits) for array in self.both)
        found.equal(f"{what}, {described(region)}", expected, came, _product("column", region.cols))

    def same_backward(self, found: Findings, what: str, region: Region, d: I8) -> None:
        """Compare backward products."""
        expected, came = (array.backward(region, d) for array in self.both)
        found.equal(f"{what}, {described(region)}", expected, came, _product("row", region.rows))

    def same_counters(self, found: Findings, what: str) -> None:
        """Compare all counters; the positions of the generators follow from them."""
        expected, came = (array.counters() for array in self.both)
        for counter in fields(Counters):
            found.equal(
                f"{what}: counter {counter.name}",
                getattr(expected, counter.name),
                getattr(came, counter.name),
                "level {}".format,
            )

    def cell_name(self, region: Region) -> Callable[[int], str]:
        """Return a function that describes the cell of a flat index in a region."""
        lanes = self.config.lanes

        def name(flat: int) -> str:
            row, col = divmod(flat, region.cols)
            word = region.base + row * self.config.row_words(region.cols) + col // lanes
            return f"cell ({row}, {col}) of {described(region)}: word {word} lane {col % lanes}"

        return name

    # -- past the contract ----------------------------------------------------------------------

    def exchange(self, requests: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """Send requests as they are, and return the status and the results of each answer.

        So requests reach the board that :class:`Array` would refuse, and many small requests need no round
        trip each. All requests that were sent before must have been answered.
        """
        sent = list(requests)
        self.link.send(b"".join(sent))
        answers = []
        for _ in sent:
            status, length = HEADER.unpack(self.link.receive(HEADER.size))
            answers.append((status, self.link.receive(length)))
        return answers

    def ask(self, operation: operations.Operation) -> bytes:
        """Return the results of an operation without operands; ArrayError if it was refused."""
        ((status, results),) = self.exchange([operations.request(operation)])
        operations.check_status(status, operation)
        return results


def described(region: Region) -> str:
    """Return how messages call a region."""
    return f"region {region.rows} x {region.cols} at word {region.base}"


def hexadecimal(word: int) -> str:
    """Return how messages write a cell word."""
    return f"{word:#06x}"


def settings_of(seed: int, mean: int, spread: int, **others: object) -> ArraySettings:
    """Return settings with two states of the same mean and spread."""
    given: dict[str, object] = {"reference": mean, **others}
    return ArraySettings(seed, (mean, mean), (spread, spread), **given)  # type: ignore[arg-type]


def _size(rng: np.random.Generator, most: int) -> int:
    return min(most, int(np.exp2(rng.uniform(0, np.log2(most + 1)))))


def _product(what: str, length: int) -> Callable[[int], str]:
    return lambda flat: f"vector {flat // length} {what} {flat % length}"
