"""March C- over the cell memory: it finds stuck bits, cells that disturb others, and wrong address lines.

A march element reads and writes each word before it goes on to the next one (van de Goor, "Using march tests
to test SRAMs", IEEE Design & Test of Computers 10(1), 1993)::

    up(w0); up(r0, w1); up(r1, w0); down(r0, w1); down(r1, w0); up(r0)

where 0 is a background pattern and 1 its inverse. Each pattern of 16 bits is a valid cell.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qcloop.contract import operations
from qcloop.contract.formats import CELL_BITS, CODE_BITS, CODE_MAX
from qcloop.contract.operations import Operation
from qcloop.contract.types import Region
from qcloop.selftest.bench import U16, Bench, Findings, hexadecimal, settings_of

Addresses = npt.NDArray[np.int64]
#: Function of addresses (n,) and a number of lanes, which returns cell words (n, lanes).
Background = Callable[[Addresses, int], U16]

#: Words whose requests are sent together, so that the delay of the line counts once for all of them.
_TOGETHER = 512
#: Random words of a quick test.
_SOME = 192
_INVERSE = np.uint16((1 << CELL_BITS) - 1)


class _Element(NamedTuple):
    name: str
    down: bool
    #: True: it reads the inverse and writes the background. False: it reads the background.
    inverse: bool


_ELEMENTS = (
    _Element("up(r0, w1)", down=False, inverse=False),
    _Element("up(r1, w0)", down=False, inverse=True),
    _Element("down(r0, w1)", down=True, inverse=False),
    _Element("down(r1, w0)", down=True, inverse=True),
)


def solid(addresses: Addresses, lanes: int) -> U16:
    """Return all bits 0."""
    return np.zeros((len(addresses), lanes), np.uint16)


def checkerboard(addresses: Addresses, lanes: int) -> U16:
    """Return bits that differ from their neighbours in the cell, in the word and in the words beside it."""
    odd = (addresses[:, None] + np.arange(lanes)) & 1
    return np.where(odd, 0xAAAA, 0x5555).astype(np.uint16)


def own_address(addresses: Addresses, lanes: int) -> U16:
    """Return the word's address, in each lane but the first XOR a key: the words of a lane all differ."""
    keys = np.arange(lanes) * 0x9E37 & 0xFFFF
    return ((addresses[:, None] & 0xFFFF) ^ keys).astype(np.uint16)


def march(background: Background, name: str) -> Callable[[Bench, Findings], str]:
    """Return the check with a background."""

    def check(bench: Bench, found: Findings) -> str:
        addresses = _addresses(bench, name)
        bench.configure(settings_of(bench.seed, 512, 0))
        for region in bench.blocks():
            bench.load(region, _words(background, region))
        bench.array.counters()  # waits for an answer, so that the next one belongs to the next request
        for element in _ELEMENTS:
            order = addresses[::-1] if element.down else addresses
            for start in range(0, len(order), _TOGETHER):
                _step(bench, found, background, element, order[start : start + _TOGETHER])
        for region in bench.blocks():
            bench.same_words(found, "up(r0)", region, _words(background, region))
        return f"words of {bench.word_cols} cells, {len(addresses):,} of {bench.config.words:,} marched over"

    return check


def _addresses(bench: Bench, name: str) -> Addresses:
    """Return the words to march over.

    A quick test takes the first and the last one, those around powers of two, and some at random.
    """
    words = bench.config.words
    if not bench.quick:
        return np.arange(words)
    powers = 1 << np.arange(words.bit_length())
    some = bench.rng(f"memory {name}").integers(0, words, _SOME)
    chosen = np.concatenate([[0, words - 1], powers - 1, powers, powers + 1, some])
    return np.unique(chosen[chosen < words])


def _words(background: Background, region: Region) -> U16:
    return background(np.arange(region.base, region.base + region.rows), region.cols)


def _step(
    bench: Bench, found: Findings, background: Background, element: _Element, addresses: Addresses
) -> None:
    """Read each word and write its inverse, one word after the other."""
    cols, lanes = bench.word_cols, bench.config.lanes
    expected = background(addresses, cols) ^ (_INVERSE if element.inverse else np.uint16(0))
    written = expected ^ _INVERSE
    levels, codes = (written >> CODE_BITS).astype(np.uint8), (written & CODE_MAX).astype(np.int16)
    requests: list[bytes] = []
    for index, address in enumerate(addresses):
        region, row = Region(int(address), 1, cols), slice(index, index + 1)
        requests += operations.read_requests(region, lanes)
        requests += operations.load_requests(region, levels[row], codes[row], lanes)
    answers = bench.exchange(requests)
    for (status, _), operation in zip(
        answers, (Operation.READ, Operation.LOAD) * len(addresses), strict=True
    ):
        operations.check_status(status, operation)
    came = np.frombuffer(b"".join(results for _, results in answers), "<u2").reshape(-1, cols)
    found.equal(
        element.name,
        expected,
        came,
        lambda flat: f"word {addresses[flat // cols]} lane {flat % cols}",
        hexadecimal,
    )
