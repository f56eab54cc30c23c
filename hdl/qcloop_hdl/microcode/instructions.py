"""What the instructions of the microprogrammed learner are: their codes and the numbers of its ports."""

from enum import IntEnum

#: Bits of an address of the program, of one of the data memory, and of an instruction, whose code is on top.
ADDRESS_BITS, DATA_BITS, INSTRUCTION_BITS = 11, 10, 16
#: The program is in two memories, one behind the other.
PROGRAM_BANKS, DATA_WORDS = (1024, 256), 1 << DATA_BITS
PROGRAM_WORDS = sum(PROGRAM_BANKS)
#: Words of a layer: those of the layer in work are seen in place of those of layer 0. There are as many
#: layers as words, and the last one is none.
LAYER_WORDS, LAYERS_AT, LAYERS = 16, 0x3C0, 4
#: Bits of the number of a word in a row: the words that ROW reads lie at a multiple of their number.
INDEX_BITS = 6
#: Bits of the numbers whose size is kept: of errors, before they are scaled.
SIZE_BITS = 24
#: Where an operand is, if it is not at a fixed address: at the first pointer, the second one, or the third
#: one, of which the first two may move on.
INDEXED, SECOND, MOVES, THIRD = 1 << DATA_BITS, 1, 2, 4
#: What is added to the operand of ROW.
LISTED, LOOKS = 1, 2


class Op(IntEnum):
    """Bits 15 to 11 of an instruction. Those of :data:`READS` read a word m of the data memory."""

    NOP = 0
    #: acc = m; acc = the low half of m, without sign.
    LD = 6
    LDL = 1
    #: acc = the factor times the high half of m without sign, or times the low half with its sign.
    MUL = 2
    MULL = 13
    ADD = 4
    SUB = 5
    #: Pointers, counter of loops and number of shifts become m.
    SETP0 = 8
    SETP1 = 9
    SETC = 10
    SETN = 11
    #: Update weights of a row: add the factor of STEP times the words from m on, whose number is a multiple
    #: of 64, or with :data:`LISTED` of all listed rows; with :data:`LOOKS` only look for weights to be
    #: settled. The flag says that one is.
    ROW = 7
    #: Divide acc by m, which is more, as far as the number of shifts says: the quotient has so many bits of
    #: fraction, and acc is of no more use.
    DIV = 14
    #: Write acc; its low half to one half of the word. ST where a pointer moves on keeps which bits the
    #: numbers have, or if negative have not, since the last NORM or SWITCH.
    ST = 16
    STU = 17
    STL = 18
    #: Shift acc, which is not negative, down until it has 7 bits, or with operand 1 has 15, and keep the
    #: number of shifts. Shift acc down by the number of shifts; the flag is the bit that was shifted out
    #: last, or 0.
    NORM = 3
    SHR = 20
    #: Add m, which is 1, if the flag is 1; but a number of as many bits as NORM took last is not rounded to
    #: one of more, and the lowest one of so many bits becomes the next one.
    ROUND = 15
    #: Bytes of the request become those of a vector, as often as the counter of loops says; or the low
    #: halves of words from a pointer on.
    PASS = 12
    #: Jumps: a weight has one device; a layer is awaited; always, acc < 0, acc >= 0, the counter minus 1 is
    #: not 0, the flag.
    JS = 19
    JA = 23
    JMP = 24
    JN = 25
    JP = 26
    DJNZ = 27
    JF = 28
    CALL = 29
    RET = 30
    #: Wait for a request, and jump by its operation.
    WAIT = 31
    #: Ports.
    IN = 21
    OUT = 22


READS = (
    *(Op.LD, Op.LDL, Op.MUL, Op.MULL, Op.ADD, Op.SUB, Op.DIV, Op.ROUND),
    *(Op.SETP0, Op.SETP1, Op.SETC, Op.SETN),
)
WRITES = (Op.ST, Op.STU, Op.STL)


class InPort(IntEnum):
    """What IN reads."""

    #: The next result of a product; a byte of the request; a word of stream 0.
    RESULT = 0
    BYTE = 1
    WORD = 2
    #: The accumulator, or the cell, that was read; the number of shifts.
    ACCUMULATOR = 3
    SHIFTS = 4
    #: First word of the region; bytes left of the request.
    BASE = 5
    REMAINING = 6
    #: The last 16 bits of quotients.
    QUOTIENT = 7
    #: Bits that numbers had which were stored: see :data:`Op.ST`.
    SIZES = 8


class OutPort(IntEnum):
    """What OUT does, in bits 10 to 3; bits 2 to 0 say more."""

    #: A byte of a vector; a class.
    VECTOR = 0
    CLASS = 1
    #: Ask for a product; bits 1 and 0 are a ``Product``.
    PRODUCT = 2
    #: Shift a byte into the region, bit 0: the high byte of acc.
    REGION = 3
    #: Words of a row - 1 = acc.
    WORDS = 4
    #: List the active rows of the first layer, which the region is.
    LIST = 5
    #: Read the cell, or with bit 0 its accumulator; write the accumulator.
    READ = 6
    WRITE = 7
    #: Program the cell.
    PROGRAM = 8
    #: Count: bits 1 and 0 are an ``Event``.
    COUNT = 9
    #: Accept or (bit 0) refuse a request of images; refuse operands (status in bits 1 and 0); answer.
    ACCEPT = 10
    REFUSE = 11
    ANSWER = 12
    #: Switch on or off (bit 0) one of :class:`Switch`: bits 2 and 1, and bit 8.
    SWITCH = 13
    #: The factor = acc; the reach = acc; the third pointer = acc.
    FACTOR = 14
    REACH = 15
    INDEX = 16
    #: The layer in work = acc; the factor of ROW = acc.
    LAYER = 17
    STEP = 18


class Switch(IntEnum):
    """What SWITCH switches."""

    PRODUCTS = 0
    COMPLETE = 1
    AWAITED = 2
    PAIRS = 3
    #: The cell in work is a pair's second device.
    SECOND = 4
    #: ROW settles the weights that have a next level.
    FAST = 5
