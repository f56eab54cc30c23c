"""Opcodes, statuses, and the header that requests and answers begin with."""

from enum import IntEnum

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ArrayError


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
