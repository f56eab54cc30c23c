"""What the engine's components know of operations: the groups they belong to, their products, comparisons."""

from functools import reduce
from itertools import groupby
from operator import or_
from typing import Any

from amaranth import Const, Shape
from amaranth.lib.wiring import Out, Signature

from qcloop.contract.operations import Operation, Status
from qcloop.errors import ConfigError
from qcloop_hdl.array.walk import Product

PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)
PROGRAMS = (Operation.PROGRAM, Operation.PROGRAM_BLOCK)
#: Operations on a region.
REGIONS = (*PRODUCTS, *PROGRAMS, Operation.LOAD, Operation.READ)
#: Bits of an opcode that the engine keeps: enough for those it knows.
OPERATION_BITS = max(Operation).bit_length()
#: Bits of a region's fields and of all other counts.
WORD_BITS = 16

#: What all components know of the request in work.
REQUEST = Signature(
    {
        "operation": Out(OPERATION_BITS),
        #: Bytes of operands that are still to come, and later of results that are still to be sent.
        "remaining": Out(WORD_BITS),
        #: The first reason that was found to refuse it.
        "status": Out(Status),
    }
)

#: What each operation on a region multiplies.
PRODUCT_OF = {
    Operation.FORWARD1: Product.FORWARD1,
    Operation.FORWARD8: Product.FORWARD8,
    Operation.BACKWARD: Product.BACKWARD,
}


def is_one_of(operation: Any, *operations: Operation) -> Any:
    """Return whether a signal is one of some opcodes."""
    return reduce(or_, (operation == one for one in operations))


def product_bits() -> int:
    """Return how many low bits of an opcode are the :class:`Product` of :data:`PRODUCT_OF`.

    Raises ConfigError where opcodes or products were given other numbers, so that they are not.
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
    """Return ``value > limit`` as gates: of the operator, synthesis makes a carry chain, a cell a bit."""
    greater: Any = Const(0, 1)
    first = 0
    for one, run in groupby(limit >> k & 1 for k in range(len(value))):
        bits = value[first : (first := first + len(list(run)))]
        greater = bits.all() & greater if one else bits.any() | greater
    return greater
