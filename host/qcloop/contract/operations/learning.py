"""PLAN to READ_ACCUMULATORS: the training step, which needs the part ``LEARNING``.

PLAN forgets the training plan that there was and begins a new one (:data:`PLAN`). As many LAYERs as it
announces follow, from the first to the last (:data:`LAYER`), and the last one completes the plan. Each LAYER
but the last carries the tables of its units (:data:`ACTIVATION`). An *image* is a vector of the first layer's
rows: packed bits, or bytes where the plan has 8-bit inputs. If the plan has biases, their input comes last,
and is 1 or 255. An *accumulator* is a signed integer of 16 bits. TRAIN is answered when all its images are
trained. The images of a batch may come in several requests, and a TRAIN of no images settles what is left of
a batch.
"""

from collections.abc import Iterator

import numpy as np

from qcloop.contract.fields import ByteLayout, Field, Layout
from qcloop.contract.formats import MAX_STATES
from qcloop.contract.operations.opcodes import MAX_LENGTH, Operation, request
from qcloop.contract.operations.regions import COUNT, decode_words, encode_region, load_words
from qcloop.contract.plan import (
    ACCUMULATOR_MAX,
    MAX_LAYERS,
    MAX_SHIFT,
    TABLE_ENTRIES,
    PlanLayer,
    StepRule,
    TrainingPlan,
)
from qcloop.contract.types import I16, U8, ArraySettings, Region
from qcloop.errors import ArrayError

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
#: An activation entry of LAYER: what a unit sends on, and its slope.
ACTIVATION = ByteLayout(Field("activation", 8), Field("slope", 8))


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
    tables = np.array([*gap_entries(plan, settings), *plan.exponential], "<u2")
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


def gap_entries(plan: TrainingPlan, settings: ArraySettings) -> list[int]:
    """Return the gap above each level but the highest, zeros, and the reach."""
    gaps = plan.gaps(settings)
    return [*gaps, *[0] * (REACH - len(gaps)), plan.reach(settings)]


def _layer(layer: PlanLayer) -> bytes:
    exponent = layer.exponent & LAYER["exponent"].most
    tables = np.frombuffer(layer.activations + layer.slopes, np.uint8).reshape(2, -1)
    return LAYER.pack_named(shift=layer.shift, rate=layer.rate, exponent=exponent) + tables.T.tobytes()


#: What RATES says of each of 8 layers, as LAYER does; layers behind the last may have any rate.
RATE = ByteLayout(LAYER["rate"], LAYER["exponent"])
RATES_BYTES = MAX_LAYERS * RATE.size


def rates_request(plan: TrainingPlan) -> bytes:
    """Return the request that gives the plan in force the rates of another one that is else equal."""
    rates = b"".join(
        RATE.pack_named(rate=layer.rate, exponent=layer.exponent & LAYER["exponent"].most)
        for layer in plan.layers
    )
    return request(Operation.RATES, rates.ljust(RATES_BYTES, b"\0"))


#: The label, which precedes each image of TRAIN.
LABEL = ByteLayout(Field("label", 8))
#: Most images of a request.
MAX_IMAGES = 4095


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


#: Bytes of an accumulator.
ACCUMULATOR_BYTES = 2


def load_accumulator_requests(region: Region, values: I16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write accumulators; ``values`` is (rows, cols)."""
    yield from load_words(Operation.LOAD_ACCUMULATORS, region, values, lanes)


def decode_accumulators(results: bytes, region: Region) -> I16:
    """Return the (rows, cols) accumulators in the joined results of READ_ACCUMULATORS requests.

    Raises ArrayError if there are more or fewer, or if one is below -32767.
    """
    values = decode_words(results, Operation.READ_ACCUMULATORS, region).view("<i2").astype(np.int16)
    if values.min() < -ACCUMULATOR_MAX:
        raise ArrayError(
            f"READ_ACCUMULATORS must answer -{ACCUMULATOR_MAX}..{ACCUMULATOR_MAX}, not {values.min()}"
        )
    return values
