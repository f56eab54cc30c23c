"""AGE to READ_ENDURANCE: devices that relax, differ and wear out.

They need the parts ``RELAXATION``, ``VARIATION`` and ``ENDURANCE``. Each entry of AGE is :data:`AGE_ENTRY`;
those behind the highest level are 0. *Deviations* are :data:`qcloop.contract.formats.DEVIATION`, *writes
left* an integer of 16 bits. The regions of all but AGE need not have been programmed.
"""

from collections.abc import Iterator

import numpy as np

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.formats import DEVIATION, MAX_STATES, SPREAD_MAX
from qcloop.contract.operations.opcodes import Operation, request
from qcloop.contract.operations.regions import decode_words, encode_region, load_words
from qcloop.contract.types import I8, I16, U16, Region

#: How far AGE moves the mean of a level, signed, and the spread that it adds.
AGE_ENTRY = ByteLayout(Field("drift", 16), Field("spread", 16, limit=SPREAD_MAX))
#: Samples of stream 0 that AGE takes for each cell.
AGE_SAMPLES = 2


def age_request(region: Region, drift: I16, spread: U16) -> bytes:
    """Return the request that ages the cells of a region by (states,) drifts and spreads."""
    table = np.zeros((MAX_STATES, 2), "<u2")
    table[: len(drift)] = np.stack([drift.view(np.uint16), spread], axis=1)
    return request(Operation.AGE, encode_region(region) + table.tobytes())


def load_variation_requests(region: Region, gains: I8, offsets: I8, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write the deviations of cells; both are (rows, cols)."""
    words = DEVIATION.join(
        gain=gains.view(np.uint8).astype("<u2"), offset=offsets.view(np.uint8).astype("<u2")
    )
    yield from load_words(Operation.LOAD_VARIATION, region, words, lanes)


def decode_variation(results: bytes, region: Region) -> tuple[I8, I8]:
    """Return the (rows, cols) deviations of gain and offset in the joined results of READ_VARIATION.

    Raises ArrayError if there are more or fewer.
    """
    words = decode_words(results, Operation.READ_VARIATION, region)
    gains, offsets = (DEVIATION.extract(name, words).astype(np.uint8) for name in ("gain", "offset"))
    return gains.view(np.int8), offsets.view(np.int8)


def load_endurance_requests(region: Region, left: U16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write how many writes cells have left; ``left`` is (rows, cols)."""
    yield from load_words(Operation.LOAD_ENDURANCE, region, left, lanes)


def decode_endurance(results: bytes, region: Region) -> U16:
    """Return the (rows, cols) writes left in the joined results of READ_ENDURANCE requests.

    Raises ArrayError if there are more or fewer.
    """
    return decode_words(results, Operation.READ_ENDURANCE, region).astype(np.uint16)
