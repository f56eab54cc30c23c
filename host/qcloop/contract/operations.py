"""The operations of an array engine as bytes: one definition for host, tests and gateware.

A request is an opcode, the number of operand bytes and the operands. The engine answers it once, with a
status, the number of result bytes and the results. All integers are little-endian. A request that is refused
changes nothing, and its answer has no results.

=================  ==============================================  ======================================
operation          operands                                        results
=================  ==============================================  ======================================
INFO               none                                            :class:`Info`
CONFIGURE          settings, two generator seeds, table            none
PROGRAM            region, 2 bytes for each listed cell            none
PROGRAM_BLOCK      region, a level for each cell, row by row       none
LOAD               region, a cell word for each cell               none
READ               region                                          a cell word for each cell, row by row
COUNTERS           none                                            all counters, 6 bytes each
FORWARD1           region, count n, n packed 1-bit vectors         n * cols products
FORWARD8           region, count n, n * rows uint8                 n * cols products
BACKWARD           region, count n, n * cols int8                  n * rows products
PLAN               plan, 64 gaps, 256 exponentials                 none
LAYER              region, layer, 256 activation entries or none   none
TRAIN              count n, n labels, each followed by its image   none
CLASSIFY           count n, n images                               n classes, a byte each
RATES              rate and exponent of 8 layers                   none
LOAD_ACCUMULATORS  region, an accumulator for each cell            none
READ_ACCUMULATORS  region                                          an accumulator for each cell, row by row
AGE                region, 64 entries of a drift and a spread      none
LOAD_VARIATION     region, deviations of each cell                 none
READ_VARIATION     region                                          deviations of each cell, row by row
LOAD_ENDURANCE     region, writes left of each cell                none
READ_ENDURANCE     region                                          writes left of each cell, row by row
=================  ==============================================  ======================================

The layouts are :data:`REGION`, :data:`qcloop.contract.formats.CELL` (a *cell word*), :data:`LISTED_CELL`,
:data:`qcloop.contract.types.SETTINGS` and :data:`qcloop.contract.formats.TABLE_ENTRY`, one for each level. A
*listed cell* is given by its offset in cells from the region's first word, ``word * lanes + lane``; the lanes
behind the last column are counted as well. A *1-bit vector* has the first row in the least significant bit of
the first byte, and as many bytes as its rows take; the bits left over are ignored. A *product* is a signed
integer of 3 or 4 bytes (see :func:`product_bytes`). A *generator seed* is what
:func:`qcloop.contract.seeding.seed_bytes` returns.

The operands of CONFIGURE, and those of PROGRAM and PROGRAM_BLOCK after the region, are checked as a whole
before any of them is executed, so they must fit into the engine's operand buffer. If a list or a block is
longer, the functions here cut it into several requests, which together do exactly what one would do.

PLAN to READ_ACCUMULATORS make the training step, and need the part ``LEARNING``. PLAN forgets the training
plan that there was and begins a new one (:data:`PLAN`). As many LAYERs as it announces follow, from the first
to the last (:data:`LAYER`), and the last one completes the plan. Each LAYER but the last carries the tables
of its units (:data:`ACTIVATION`). An *image* is a vector of the first layer's rows: packed bits, or bytes
where the plan has 8-bit inputs. If the plan has biases, their input comes last, and is 1 or 255. An
*accumulator* is a signed integer of 16 bits. TRAIN is answered when all its images are trained. The images of
a batch may come in several requests, and a TRAIN of no images settles what is left of a batch.

The last five operations need the parts ``RELAXATION``, ``VARIATION`` and ``ENDURANCE``. Each entry of AGE is
:data:`AGE_ENTRY`; those behind the highest level are 0. *Deviations* are
:data:`qcloop.contract.formats.DEVIATION`, *writes left* an integer of 16 bits. The regions of the last four
need not have been programmed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qcloop.contract.fields import ByteLayout, Field, Layout
from qcloop.contract.formats import CELL, DEVIATION, LEVEL_BITS, MAX_STATES, SPREAD_MAX, TABLE_ENTRY
from qcloop.contract.generator import Stream, seed_state
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import (
    ACCUMULATOR_MAX,
    MAX_LAYERS,
    MAX_PENALTY,
    MAX_SHIFT,
    TABLE_ENTRIES,
    PlanLayer,
    StepRule,
    TrainingPlan,
    TrainingResult,
)
from qcloop.contract.seeding import SEED_BYTES, seed_bytes
from qcloop.contract.types import (
    I8,
    I16,
    I32,
    SETTINGS,
    U8,
    U16,
    ArrayConfig,
    ArraySettings,
    Counters,
    Positions,
    Region,
    cell_words,
)
from qcloop.errors import ArrayError, ConfigError

#: First bytes of an INFO answer.
MAGIC = 0x504C4351  # "QCLP" on the wire
#: Version of the operations. It changes whenever the bytes of an operation change.
VERSION = 6


class Operation(IntEnum):
    """Opcodes."""

    INFO = 1
    CONFIGURE = 2
    PROGRAM = 3
    PROGRAM_BLOCK = 4
    LOAD = 5
    READ = 6
    COUNTERS = 7
    FORWARD1 = 8
    FORWARD8 = 9
    BACKWARD = 10
    PLAN = 11
    LAYER = 12
    TRAIN = 13
    CLASSIFY = 14
    RATES = 15
    AGE = 16
    LOAD_ACCUMULATORS = 16 + LOAD
    READ_ACCUMULATORS = 16 + READ
    LOAD_ENDURANCE = 25
    READ_ENDURANCE = 26
    LOAD_VARIATION = 24 + LOAD
    READ_VARIATION = 24 + READ


class Status(IntEnum):
    """First byte of an answer: OK, or the first reason for which the request was refused."""

    OK = 0
    #: There is no such opcode.
    OPERATION = 1
    #: The operands do not have the length that they must have, or operands or results are too long.
    LENGTH = 2
    #: The array is not configured.
    CONFIGURED = 3
    #: A setting is out of range.
    SETTING = 4
    #: Rows or columns are 0 or above the side, or the region ends behind the last word.
    REGION = 5
    #: The block starts behind the first word that was never programmed, so it would leave a gap.
    CONTIGUOUS = 6
    #: The region holds a word that was never programmed.
    PROGRAMMED = 7
    #: A level is not below the number of states.
    LEVEL = 8
    #: The offset of a listed cell lies outside the words of the region.
    CELL = 9
    #: A setting or an operation needs a part that this engine lacks.
    PART = 10
    #: Images came without a complete training plan, or a layer that the plan does not await or cannot have.
    PLAN = 11
    #: There is no set of images, or it was not found whole since the reset.
    IMAGES = 12


_REASONS = {
    Status.OPERATION: "an operation it does not know: host and gateware versions differ",
    Status.LENGTH: "operands of a wrong length",
    Status.CONFIGURED: "an operation before the array is configured: call configure() first",
    Status.SETTING: "a setting that is out of range",
    Status.REGION: "a region that does not fit the array",
    Status.CONTIGUOUS: "a block that leaves a gap behind the programmed words",
    Status.PROGRAMMED: "a region that was never programmed: program it as a block first",
    Status.LEVEL: "a level that is not below the number of states",
    Status.CELL: "a cell outside the region",
    Status.PART: "a setting or an operation that needs a part which was left out of its build",
    Status.PLAN: "images without a complete training plan, or a layer that the plan cannot have: "
    "call load_plan() first",
    Status.IMAGES: "images that are not there, or were not found whole: call use_images() first",
}

#: Opcode of a request or status of an answer, and the number of bytes that follow.
HEADER = ByteLayout(Field("code", 8), Field("length", 16))
#: Largest number of operand or result bytes.
MAX_LENGTH = HEADER["length"].most
#: A region: its first memory word, its rows and its columns.
REGION = ByteLayout(Field("base", 16), Field("rows", 16), Field("cols", 16))
#: The number of vectors, which follows the region of a product.
COUNT = ByteLayout(Field("count", 16))
#: A cell in the list of PROGRAM.
LISTED_CELL = Layout(Field("offset", 10), Field("level", LEVEL_BITS))
#: Smallest operand buffer: the operands of CONFIGURE with 64 states take 256 bytes.
MIN_BUFFER = 256
#: What INFO answers.
INFO = ByteLayout(
    Field("magic", 32),
    Field("version", 8),
    Field("lanes", 8),
    Field("side", 16),
    Field("cells", 32),
    Field("buffer", 16),
    Field("parts", 8),
    Field("digest", 128),
)
#: What PLAN begins with: the number of layers, :data:`PLAN_FLAGS` and the images of a batch.
PLAN = ByteLayout(
    Field("layers", 8, least=1, limit=MAX_LAYERS), Field("flags", 8), Field("batch", 16, least=1)
)
#: Whether inputs have 8 bits, a weight has two devices, and the last rows are biases; then the rule. The bits
#: left over are 0.
PLAN_FLAGS = Layout(
    Field("bytes", 1), Field("pairs", 1), Field("biases", 1), Field("rule", 2, limit=max(StepRule))
)
#: An entry of the tables that follow in PLAN. A *gap* is what an accumulator needs from a level to the next
#: one; behind the highest level the entries are 0. Entry :data:`REACH` is :meth:`TrainingPlan.reach`. The
#: *exponentials* are those of the plan.
PLAN_ENTRY = ByteLayout(Field("value", 16))
GAPS, REACH = MAX_STATES, MAX_STATES - 1
#: Operand bytes of PLAN.
PLAN_BYTES = PLAN.size + (GAPS + TABLE_ENTRIES) * PLAN_ENTRY.size
#: What follows the region of LAYER; the exponent is signed, -63..63.
LAYER = ByteLayout(Field("shift", 8, limit=MAX_SHIFT), Field("rate", 8), Field("exponent", 8))
#: What RATES says of each of 8 layers, as LAYER does; layers behind the last may have any rate.
RATE = ByteLayout(LAYER["rate"], LAYER["exponent"])
RATES_BYTES = MAX_LAYERS * RATE.size
#: An activation entry of LAYER: what a unit sends on, and its slope.
ACTIVATION = ByteLayout(Field("activation", 8), Field("slope", 8))
#: The label, which precedes each image of TRAIN.
LABEL = ByteLayout(Field("label", 8))
#: Most images of a request.
MAX_IMAGES = 4095
#: Bytes of an accumulator.
ACCUMULATOR_BYTES = 2
#: How far AGE moves the mean of a level, signed, and the spread that it adds.
AGE_ENTRY = ByteLayout(Field("drift", 16), Field("spread", 16, limit=SPREAD_MAX))
#: Samples of stream 0 that AGE takes for each cell.
AGE_SAMPLES = 2
#: The part that an operation needs; those that are not named need none.
NEEDED: dict[Operation, ArrayPart] = {
    Operation.AGE: ArrayPart.RELAXATION,
    Operation.LOAD_VARIATION: ArrayPart.VARIATION,
    Operation.READ_VARIATION: ArrayPart.VARIATION,
    Operation.LOAD_ENDURANCE: ArrayPart.ENDURANCE,
    Operation.READ_ENDURANCE: ArrayPart.ENDURANCE,
} | dict.fromkeys(
    (
        Operation.PLAN,
        Operation.LAYER,
        Operation.TRAIN,
        Operation.CLASSIFY,
        Operation.RATES,
        Operation.LOAD_ACCUMULATORS,
        Operation.READ_ACCUMULATORS,
    ),
    ArrayPart.LEARNING,
)
#: Operand bytes of CONFIGURE before the table.
TABLE_START = SETTINGS.size + 2 * SEED_BYTES
#: Bytes of a product, and of a narrow product (see :func:`product_bytes`).
PRODUCT_BYTES, NARROW_BYTES = 4, 3
#: The products of FORWARD8 are narrow up to this number of rows, those of BACKWARD up to this number of
#: columns.
NARROW_ROWS, NARROW_COLS = 31, 63
#: Bytes of a counter; it wraps around.
COUNTER_BYTES = 6


class Counter(IntEnum):
    """Indices of the counters; those below ``SET`` are the attempts for each target level.

    The gateware keeps the counters in two halves of a memory: the attempts and the odd indices in one, the
    even indices in the other. Two events in successive clocks never count in the same half.
    """

    SET = MAX_STATES
    RESET = MAX_STATES + 1
    CLIPPED = MAX_STATES + 2
    #: Attempts that VERIFY added to the first: programmed cells = attempts - retries.
    RETRIES = MAX_STATES + 3
    UNVERIFIED = MAX_STATES + 4
    CYCLES = MAX_STATES + 5
    SATURATED = MAX_STATES + 6
    #: Images whose class was found before their training step, and the sum of their penalties.
    HITS = MAX_STATES + 7
    PENALTY = MAX_STATES + 8
    #: Words of stream 0 that the rule ``STOCHASTIC`` took.
    ROUNDINGS = MAX_STATES + 9
    #: Cells that AGE has aged.
    AGED = MAX_STATES + 10


#: Number of counters.
COUNTERS = MAX_STATES + len(Counter)


def configuration_digest(array: ArrayConfig, buffer: int) -> bytes:
    """Return the SHA-256 over what determines an engine's behaviour: host and board must agree on it.

    Parameters
    ----------
    array : ArrayConfig
    buffer : int
        Bytes of the operand buffer.
    """
    fields = (
        f"qcloop {VERSION} lanes={array.lanes} cells={array.cells} side={array.side} buffer={buffer} "
        f"parts={array.parts:d}"
    )
    return sha256(fields.encode()).digest()


@dataclass(frozen=True)
class Info:
    """What an engine says of itself in its answer to INFO."""

    #: Lanes, cells, side and parts.
    array: ArrayConfig
    #: Bytes of the operand buffer.
    buffer: int
    #: :data:`VERSION` of the gateware.
    version: int = VERSION

    @property
    def digest(self) -> bytes:
        """First 16 bytes of :func:`configuration_digest`."""
        return configuration_digest(self.array, self.buffer)[:16]

    def encode(self) -> bytes:
        """Return the results of an INFO operation."""
        array = self.array
        return INFO.pack_named(
            magic=MAGIC,
            version=self.version,
            lanes=array.lanes,
            side=array.side,
            cells=array.cells,
            buffer=self.buffer,
            parts=array.parts,
            digest=self.digest,
        )

    @classmethod
    def decode(cls, results: bytes) -> "Info":
        """Return what the results of INFO say.

        Raises ArrayError if the magic word, the version or the digest are not those of this host, or if there
        are parts that it does not know. The message shows both values.
        """
        if len(results) != INFO.size:
            raise ArrayError(f"INFO must answer {INFO.size} bytes, not {len(results)}: not a qcloop engine?")
        magic, version, lanes, side, cells, buffer, parts, digest = INFO.unpack(results)
        if magic != MAGIC:
            raise ArrayError(f"the magic word must be {MAGIC:#010x}, not {magic:#010x}: not a qcloop engine")
        if version != VERSION:
            raise ArrayError(
                f"this host speaks version {VERSION} of the operations, the gateware version {version}: "
                f"build both from one release"
            )
        try:
            info = cls(ArrayConfig(lanes, cells, side, parts=ArrayPart(parts)), buffer, version)
        except ConfigError as error:
            raise ArrayError(f"INFO must describe an array that can be, but {error}") from error
        if buffer < MIN_BUFFER:
            raise ArrayError(f"INFO must tell an operand buffer of {MIN_BUFFER} bytes or more, not {buffer}")
        if digest != info.digest:
            raise ArrayError(
                f"the configuration digest must be {info.digest.hex()}, not {digest.hex()}: "
                f"build host and gateware from one release"
            )
        return info


# -- requests and answers -------------------------------------------------------------------------


def request(operation: int, operands: bytes = b"") -> bytes:
    """Return the bytes of a request; ArrayError when it has more than :data:`MAX_LENGTH` operand bytes."""
    if len(operands) > MAX_LENGTH:
        raise ArrayError(f"an operation has at most {MAX_LENGTH} operand bytes, not {len(operands)}")
    return HEADER.pack(operation, len(operands)) + operands


def check_status(status: int, operation: IntEnum) -> None:
    """Raise ArrayError unless an answer's status is OK."""
    if status == Status.OK:
        return
    known = status in _REASONS
    reason = _REASONS[Status(status)] if known else "an operation for a reason unknown to this host"
    raise ArrayError(f"the engine refused {reason} (status {status} for {operation.name})")


def encode_region(region: Region) -> bytes:
    """Return the bytes of a region; ArrayError when it starts beyond word 65535."""
    if region.base > REGION["base"].most:
        raise ArrayError(f"a region must start below word {REGION['base'].most + 1}, not at {region.base}")
    return REGION.pack(region.base, region.rows, region.cols)


def configure_request(settings: ArraySettings, positions: Positions, lanes: int) -> bytes:
    """Return the request that configures an engine of so many lanes and sets its generators' positions."""
    programming, read = (
        seed_bytes(*seed_state(settings.seed, stream, position), width)
        for stream, position, width in (
            (Stream.PROGRAMMING, positions.programming, 1),
            (Stream.READ, positions.read, lanes),
        )
    )
    mean, spread = np.array(settings.mean, "<u4"), np.array(settings.spread, "<u4")
    table = _low_bytes(TABLE_ENTRY.join(mean=mean, spread=spread), TABLE_ENTRY.size)
    settings_bytes = SETTINGS.pack_named(**settings.fields())
    return request(Operation.CONFIGURE, settings_bytes + programming + read + table)


def split_region(region: Region, lanes: int, most: int) -> Iterator[tuple[Region, slice]]:
    """Cut a region into regions of at most ``most`` cells, in the order of its cells, row by row.

    Programming, loading or reading these regions one after the other is the same as doing so with the whole.

    Yields
    ------
    region : Region
    cells : slice
        Where its cells are among those of the whole, counted row by row.
    """
    words = -(-region.cols // lanes)
    if region.cols <= most:
        step = most // region.cols
        for row in range(0, region.rows, step):
            rows = min(step, region.rows - row)
            start = row * region.cols
            yield (
                Region(region.base + row * words, rows, region.cols),
                slice(start, start + rows * region.cols),
            )
        return
    step = most // lanes * lanes
    for row in range(region.rows):
        for col in range(0, region.cols, step):
            cols = min(step, region.cols - col)
            start = row * region.cols + col
            yield Region(region.base + row * words + col // lanes, 1, cols), slice(start, start + cols)


def program_requests(
    region: Region, cells: npt.NDArray[np.int64], levels: U8, lanes: int, buffer: int
) -> Iterator[bytes]:
    """Yield the requests that program a list of cells (see ``Array.program``); none for no cells.

    The offset of a listed cell has few bits, so a larger region is cut into windows, and each request lists
    cells of one window only. A list in the order of the cells therefore takes the fewest requests.
    """
    windows, first = _windows(region, lanes)
    window = np.searchsorted(first, cells, "right") - 1
    inside = cells - first[window]
    # Windows of different widths have one row each, and then `inside // cols` is 0.
    cols = windows[0].cols
    offsets = inside + inside // cols * (-cols % lanes)
    listed = LISTED_CELL.join(offset=offsets.astype("<u2"), level=levels.astype("<u2"))
    bounds = [0, *(np.flatnonzero(np.diff(window)) + 1), len(cells)] if len(cells) else []
    step = buffer // LISTED_CELL.size
    for start, end in pairwise(bounds):
        head = encode_region(windows[window[start]])
        for cut in range(start, end, step):
            yield request(Operation.PROGRAM, head + listed[cut : min(cut + step, end)].tobytes())


@lru_cache
def _windows(region: Region, lanes: int) -> tuple[list[Region], npt.NDArray[np.int64]]:
    """Cut a region into windows whose cells all have an offset; also return the first cell of each window."""
    reach, stride = LISTED_CELL["offset"].most + 1, -(-region.cols // lanes) * lanes
    most = reach // stride * region.cols if stride <= reach else reach
    windows = list(split_region(region, lanes, most))
    return [window for window, _ in windows], np.array([cells.start for _, cells in windows])


def block_requests(region: Region, levels: U8, lanes: int, buffer: int) -> Iterator[bytes]:
    """Yield the requests that program a block; ``levels`` is (rows, cols)."""
    flat = levels.reshape(-1)
    for section, cells in split_region(region, lanes, buffer):
        yield request(Operation.PROGRAM_BLOCK, encode_region(section) + flat[cells].tobytes())


def load_requests(region: Region, levels: U8, codes: I16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write raw cells; ``levels`` and ``codes`` are (rows, cols)."""
    yield from _load_words(Operation.LOAD, region, cell_words(levels, codes), lanes)


def read_requests(region: Region, lanes: int, operation: Operation = Operation.READ) -> Iterator[bytes]:
    """Yield the requests of an operation that reads a word of 16 bits of each cell.

    Their joined results are decoded by :func:`decode_cells`, :func:`decode_accumulators`,
    :func:`decode_variation` or :func:`decode_endurance`.
    """
    for section, _ in split_region(region, lanes, MAX_LENGTH // CELL.size):
        yield request(operation, encode_region(section))


def forward_operation(bits: int) -> Operation:
    """Return the operation of a forward product with inputs of 1 or 8 bits."""
    return Operation.FORWARD1 if bits == 1 else Operation.FORWARD8


def forward_requests(region: Region, x: U8, bits: int) -> Iterator[bytes]:
    """Yield the requests of a forward product; ``x`` is (n, rows), ``bits`` 1 or 8."""
    vectors = np.packbits(x, axis=1, bitorder="little") if bits == 1 else x
    yield from _product_requests(forward_operation(bits), region, vectors, region.cols)


def backward_requests(region: Region, d: I8) -> Iterator[bytes]:
    """Yield the requests of a backward product; ``d`` is (n, cols)."""
    yield from _product_requests(Operation.BACKWARD, region, d.view(np.uint8), region.rows)


def _product_requests(operation: Operation, region: Region, vectors: U8, results: int) -> Iterator[bytes]:
    operand_room = (MAX_LENGTH - REGION.size - COUNT.size) // vectors.shape[1]
    step = min(operand_room, MAX_LENGTH // (PRODUCT_BYTES * results))
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step]
        yield request(operation, encode_region(region) + COUNT.pack(len(some)) + some.tobytes())


def plan_requests(plan: TrainingPlan, settings: ArraySettings) -> Iterator[bytes]:
    """Yield the requests that load a training plan: PLAN, and a LAYER for each layer, in their order.

    Parameters
    ----------
    plan : TrainingPlan
        One that an array with these settings can carry out (see :meth:`TrainingPlan.check_array`).
    settings : ArraySettings
        Their means decide the gaps.
    """
    head = PLAN.pack_named(layers=len(plan.layers), flags=_flags(plan), batch=plan.batch)
    tables = np.array([*_gaps(plan, settings), *plan.exponential], "<u2")
    yield request(Operation.PLAN, head + tables.tobytes())
    for layer in plan.layers:
        yield request(Operation.LAYER, encode_region(layer.region) + _layer(layer))


def _flags(plan: TrainingPlan) -> int:
    flags: int = PLAN_FLAGS.join(
        bytes=int(plan.input_bits == 8),
        pairs=int(plan.devices == 2),
        biases=int(plan.biases),
        rule=int(plan.rule),
    )
    return flags


def _gaps(plan: TrainingPlan, settings: ArraySettings) -> list[int]:
    """Return the gap above each level but the highest, zeros, and the reach."""
    gaps = plan.gaps(settings)
    return [*gaps, *[0] * (REACH - len(gaps)), plan.reach(settings)]


def _layer(layer: PlanLayer) -> bytes:
    exponent = layer.exponent & LAYER["exponent"].most
    tables = np.frombuffer(layer.activations + layer.slopes, np.uint8).reshape(2, -1)
    return LAYER.pack_named(shift=layer.shift, rate=layer.rate, exponent=exponent) + tables.T.tobytes()


def rates_request(plan: TrainingPlan) -> bytes:
    """Return the request that gives the plan in force the rates of another one that is else equal."""
    rates = b"".join(
        RATE.pack_named(rate=layer.rate, exponent=layer.exponent & LAYER["exponent"].most)
        for layer in plan.layers
    )
    return request(Operation.RATES, rates.ljust(RATES_BYTES, b"\0"))


def train_requests(plan: TrainingPlan, x: U8, labels: U8) -> Iterator[bytes]:
    """Yield the requests that train (n, inputs) images with (n,) labels and settle the rest of a batch."""
    images = np.column_stack([labels, _images(plan, x)])
    yield from _image_requests(Operation.TRAIN, images)
    if len(x) % plan.batch:
        yield request(Operation.TRAIN, COUNT.pack(0))


def classify_requests(plan: TrainingPlan, x: U8) -> Iterator[bytes]:
    """Yield the requests that classify (n, inputs) images; :func:`decode_classes` decodes their results."""
    yield from _image_requests(Operation.CLASSIFY, _images(plan, x))


def _images(plan: TrainingPlan, x: U8) -> U8:
    return packed_inputs(x, plan.input_bits, plan.biases)


def image_bytes(plan: TrainingPlan) -> int:
    """Return the bytes of an image of a plan, its label apart."""
    rows = plan.layers[0].region.rows
    return -(-rows // 8) if plan.input_bits == 1 else rows


def packed_inputs(x: U8, bits: int, biases: bool) -> U8:
    """Return a row of bytes for each of the (n, inputs) vectors, with the input of the biases at its end."""
    if biases:
        x = np.pad(x, ((0, 0), (0, 1)), constant_values=255 if bits == 8 else 1)
    return np.packbits(x, axis=1, bitorder="little") if bits == 1 else x


def _image_requests(operation: Operation, images: U8) -> Iterator[bytes]:
    step = min(MAX_IMAGES, (MAX_LENGTH - COUNT.size) // images.shape[1])
    for start in range(0, len(images), step):
        some = images[start : start + step]
        yield request(operation, COUNT.pack(len(some)) + some.tobytes())


def load_accumulator_requests(region: Region, values: I16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write accumulators; ``values`` is (rows, cols)."""
    yield from _load_words(Operation.LOAD_ACCUMULATORS, region, values, lanes)


def _load_words(
    operation: Operation, region: Region, words: npt.NDArray[np.integer], lanes: int
) -> Iterator[bytes]:
    """Yield the requests that write a word of 16 bits for each cell."""
    flat = words.reshape(-1).astype(words.dtype.newbyteorder("<"))
    for section, cells in split_region(region, lanes, (MAX_LENGTH - REGION.size) // CELL.size):
        yield request(operation, encode_region(section) + flat[cells].tobytes())


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
    yield from _load_words(Operation.LOAD_VARIATION, region, words, lanes)


def load_endurance_requests(region: Region, left: U16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write how many writes cells have left; ``left`` is (rows, cols)."""
    yield from _load_words(Operation.LOAD_ENDURANCE, region, left, lanes)


def product_bytes(operation: Operation, region: Region) -> int:
    """Return how many bytes a product has: :data:`NARROW_BYTES` if every possible sum fits into them.

    8192 * 1023, 31 * 255 * 1023 and 63 * 128 * 1023 are below 2^23.
    """
    narrow = {
        Operation.FORWARD1: True,
        Operation.FORWARD8: region.rows <= NARROW_ROWS,
        Operation.BACKWARD: region.cols <= NARROW_COLS,
    }
    return NARROW_BYTES if narrow[operation] else PRODUCT_BYTES


def decode_products(results: bytes, operation: Operation, region: Region) -> I32:
    """Decode the joined results of product requests: (n, cols) int32 or, backward, (n, rows) int32.

    Raises ArrayError if the results are no whole number of vectors.
    """
    length = region.rows if operation is Operation.BACKWARD else region.cols
    size = product_bytes(operation, region)
    if len(results) % (size * length):
        raise ArrayError(f"products must come as vectors of {size * length} bytes, not {len(results)} bytes")
    # Each product is put into the high bytes of 32 bits; the shift down then extends its sign.
    words = np.zeros((len(results) // size, PRODUCT_BYTES), np.uint8)
    words[:, PRODUCT_BYTES - size :] = np.frombuffer(results, np.uint8).reshape(-1, size)
    products: I32 = (words.view("<i4") >> 8 * (PRODUCT_BYTES - size)).astype(np.int32)
    return products.reshape(-1, length)


def decode_cells(results: bytes, region: Region) -> tuple[U8, I16]:
    """Return the (rows, cols) levels and codes in the joined results of READ requests.

    Raises ArrayError if there are more or fewer.
    """
    words = _words(results, Operation.READ, region)
    return CELL.extract("level", words).astype(np.uint8), CELL.extract("code", words).astype(np.int16)


def decode_accumulators(results: bytes, region: Region) -> I16:
    """Return the (rows, cols) accumulators in the joined results of READ_ACCUMULATORS requests.

    Raises ArrayError if there are more or fewer, or if one is below -32767.
    """
    values = _words(results, Operation.READ_ACCUMULATORS, region).view("<i2").astype(np.int16)
    if values.min() < -ACCUMULATOR_MAX:
        raise ArrayError(
            f"READ_ACCUMULATORS must answer -{ACCUMULATOR_MAX}..{ACCUMULATOR_MAX}, not {values.min()}"
        )
    return values


def _words(results: bytes, operation: Operation, region: Region) -> npt.NDArray[np.uint16]:
    """Return the (rows, cols) words in the joined results of an operation that reads a region."""
    length = CELL.size * region.rows * region.cols
    if len(results) != length:
        raise ArrayError(
            f"{operation.name} must answer {length} bytes for {region.rows} x {region.cols} cells, not "
            f"{len(results)}"
        )
    return np.frombuffer(results, "<u2").reshape(region.rows, region.cols)


def decode_variation(results: bytes, region: Region) -> tuple[I8, I8]:
    """Return the (rows, cols) deviations of gain and offset in the joined results of READ_VARIATION.

    Raises ArrayError if there are more or fewer.
    """
    words = _words(results, Operation.READ_VARIATION, region)
    gains, offsets = (DEVIATION.extract(name, words).astype(np.uint8) for name in ("gain", "offset"))
    return gains.view(np.int8), offsets.view(np.int8)


def decode_endurance(results: bytes, region: Region) -> U16:
    """Return the (rows, cols) writes left in the joined results of READ_ENDURANCE requests.

    Raises ArrayError if there are more or fewer.
    """
    return _words(results, Operation.READ_ENDURANCE, region).astype(np.uint16)


def decode_classes(results: bytes, plan: TrainingPlan, images: int) -> U8:
    """Return the (n,) classes in the joined results of CLASSIFY requests.

    Raises ArrayError unless there is one for each image, below the number of classes of the plan.
    """
    if len(results) != images:
        raise ArrayError(f"CLASSIFY of {images} images must answer as many classes, not {len(results)}")
    classes = np.frombuffer(results, np.uint8).copy()
    if images and classes.max() >= plan.classes:
        raise ArrayError(f"CLASSIFY must answer classes of 0..{plan.classes - 1}, not {classes.max()}")
    return classes


@dataclass(frozen=True)
class TrainingCounts:
    """What the array has counted since it was configured, besides :class:`Counters`."""

    #: Images whose class was found before the step.
    hits: int = 0
    #: Sum of the penalties, in 1/256 (see :class:`qcloop.contract.plan.TrainingResult`).
    penalty: int = 0
    #: Words of stream 0 that the rule ``STOCHASTIC`` took.
    roundings: int = 0
    #: Cells that were aged.
    aged: int = 0

    @property
    def samples(self) -> int:
        """Samples of stream 0 that were not taken by programming."""
        return self.roundings + AGE_SAMPLES * self.aged


def decode_training(results: bytes) -> TrainingCounts:
    """Return what the results of COUNTERS say besides :class:`Counters`; ArrayError for a wrong length."""
    count = _counts(results)
    return TrainingCounts(
        count[Counter.HITS], count[Counter.PENALTY], count[Counter.ROUNDINGS], count[Counter.AGED]
    )


def training_result(
    before: tuple[Counters, TrainingCounts], after: tuple[Counters, TrainingCounts], images: int
) -> TrainingResult:
    """Return what the training of so many images has added to the counters.

    Raises ArrayError if it cannot be: more hits than images, a larger penalty than they can have, or fewer
    programmed cells than before.
    """
    hits, penalty = after[1].hits - before[1].hits, after[1].penalty - before[1].penalty
    programmed = after[0].programmed - before[0].programmed
    if not (0 <= hits <= images and 0 <= penalty <= images * MAX_PENALTY and programmed >= 0):
        raise ArrayError(
            f"{images} images have at most as many hits and a penalty of {images * MAX_PENALTY}, but the "
            f"counters rose by {hits} hits, a penalty of {penalty} and {programmed} programmed cells"
        )
    return TrainingResult(hits, programmed, penalty)


def _counts(results: bytes) -> list[int]:
    if len(results) != COUNTERS * COUNTER_BYTES:
        raise ArrayError(f"counters take {COUNTERS * COUNTER_BYTES} bytes, not {len(results)}")
    return [
        int.from_bytes(results[k : k + COUNTER_BYTES], "little")
        for k in range(0, len(results), COUNTER_BYTES)
    ]


def decode_counters(results: bytes) -> Counters:
    """Return the counters in the results of COUNTERS; ArrayError if their length is wrong."""
    count = _counts(results)
    attempts = count[:MAX_STATES]
    return Counters(
        set_pulses=count[Counter.SET],
        reset_pulses=count[Counter.RESET],
        programmed=sum(attempts) - count[Counter.RETRIES],
        unverified=count[Counter.UNVERIFIED],
        clipped=count[Counter.CLIPPED],
        saturated=count[Counter.SATURATED],
        cycles=count[Counter.CYCLES],
        attempts=tuple(attempts),
    )


def positions_after(
    start: Positions, counters: Counters, settings: ArraySettings, lanes: int, others: int = 0
) -> Positions:
    """Return the positions now.

    An attempt takes one sample, and a word that is read with noise takes ``lanes``. ``others`` are
    :attr:`TrainingCounts.samples`.
    """
    read = counters.cycles * lanes if settings.read_spread else 0
    return Positions(start.programming + sum(counters.attempts) + others, start.read + read)


def _low_bytes(values: npt.NDArray[np.uint32], size: int) -> bytes:
    """Return the lowest ``size`` bytes of each value, little-endian."""
    return values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
