"""What several components of the engine need: groups of operations, a request's signals, comparisons."""

from functools import reduce
from itertools import groupby
from operator import or_
from typing import Any

from amaranth import Const, Shape
from amaranth.lib.wiring import Out, Signature

from qcloop.contract.operations import NEEDED, Operation, Status
from qcloop.errors import ConfigError
from qcloop_hdl.array.products import Product
from qcloop_hdl.config import EngineConfig

PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)
PROGRAMS = (Operation.PROGRAM, Operation.PROGRAM_BLOCK)
#: Operations on words that are known of each device; their region need not have been programmed.
VARIATION = (Operation.LOAD_VARIATION, Operation.READ_VARIATION)
ENDURANCE = (Operation.LOAD_ENDURANCE, Operation.READ_ENDURANCE)
DEVICES = (*VARIATION, *ENDURANCE)
#: Operations that write, or read, a word of each cell as it is.
LOADS = (Operation.LOAD, Operation.LOAD_ACCUMULATORS, VARIATION[0], ENDURANCE[0])
READS = (Operation.READ, Operation.READ_ACCUMULATORS, VARIATION[1], ENDURANCE[1])
#: Those on the second plane.
ACCUMULATORS = (Operation.LOAD_ACCUMULATORS, Operation.READ_ACCUMULATORS)
#: Operations on images.
IMAGES = (Operation.TRAIN, Operation.CLASSIFY)
#: Operations on a region.
REGIONS = (*PRODUCTS, *PROGRAMS, *LOADS, *READS, Operation.LAYER, Operation.AGE)
#: Bits of an opcode that the engine keeps: enough for all known opcodes.
OPERATION_BITS = max(Operation).bit_length()
#: Bits of a region's fields and of all other counts.
WORD_BITS = 16

#: What the components know of the request in work.
REQUEST = Signature(
    {
        "operation": Out(OPERATION_BITS),
        #: Bytes of the operands that are still to come. While the answer is sent, bytes of the results that
        #: are still to be sent.
        "remaining": Out(WORD_BITS),
        #: OK, or the first reason to refuse the request that was found.
        "status": Out(Status),
    }
)

#: The product that each of the product operations computes.
PRODUCT_OF = {
    Operation.FORWARD1: Product.FORWARD1,
    Operation.FORWARD8: Product.FORWARD8,
    Operation.BACKWARD: Product.BACKWARD,
}


def built(config: EngineConfig, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return those of some operations that an engine has: it refuses those that need a part it lacks."""
    return tuple(
        operation for operation in operations if operation not in NEEDED or config.has(NEEDED[operation])
    )


def is_one_of(operation: Any, *operations: Operation) -> Any:
    """Return a signal that is high if ``operation`` is one of some opcodes."""
    return reduce(or_, (operation == one for one in operations), Const(0, 1))


def product_bits() -> int:
    """Return how many low bits of an opcode are the :class:`Product` of :data:`PRODUCT_OF`.

    Raises ConfigError if opcodes or products were given numbers for which this is not so.
    """
    bits: int = Shape.cast(Product).width
    for operation, product in PRODUCT_OF.items():
        if operation & (1 << bits) - 1 != (number := Const.cast(product).value):
            raise ConfigError(
                f"the low {bits} bits of opcode {operation.name} must be product {number}, not "
                f"{operation:#b}: the engine takes them as they are"
            )
    return bits


def above(value: Any, limit: int) -> Any:
    """Return ``value > limit`` as gates: synthesis turns the operator into a carry chain, a cell a bit."""
    greater: Any = Const(0, 1)
    first = 0
    for one, run in groupby(limit >> k & 1 for k in range(len(value))):
        bits = value[first : (first := first + len(list(run)))]
        greater = bits.all() & greater if one else bits.any() | greater
    return greater
