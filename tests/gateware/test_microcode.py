"""The assembler of the microprogrammed learner, its program, and engines that it is not for."""

from dataclasses import replace

import pytest

from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.config import MICROCODE_SIDE, SIZES
from qcloop_hdl.microcode.assembler import Assembler
from qcloop_hdl.microcode.instructions import DATA_WORDS, PROGRAM_WORDS, Op, OutPort
from qcloop_hdl.microcode.program import assembled


def small(**options):
    return replace(SIZES["small"].shaped(lanes=2, **options), microprogrammed=True)


def test_an_instruction_is_an_operation_and_an_operand():
    text = (
        "at T 5; array A N+1; var B # a comment\nstart: LD T; ST B; ADD =-1; LDL [1+]\nJN start; OUT REGION 2"
    )
    made = Assembler(text, 16, {"N": 2}).assembled
    assert made.names == {"N": 2, "T": 5, "A": 16, "B": 19}
    assert [Op(code >> 11) for code in made.program] == [Op.LD, Op.ST, Op.ADD, Op.LDL, Op.JN, Op.OUT]
    assert [code & 0x7FF for code in made.program] == [5, 19, 20, 0x403, 0, OutPort.REGION << 3 | 2]
    assert made.data[20] == 0xFFFFFFFF and made.labels == {"start": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LD NOWHERE", "a program has the line 'LD NOWHERE', which says nothing: "),
        ("FLY =1", "a program has the line 'FLY =1', which says nothing: 'FLY'"),
        ("JMP", "a program has the line 'JMP', which says nothing: "),
        ("OUT WINDOW", "a program has the line 'OUT WINDOW', which says nothing: 'WINDOW'"),
        ("var A; var A", "a program has the name A twice"),
        (
            "NOP;" * (PROGRAM_WORDS + 1),
            f"at most {PROGRAM_WORDS} words and its data {DATA_WORDS}, not {PROGRAM_WORDS + 1} and 0",
        ),
        ("array A 1025", f"at most {PROGRAM_WORDS} words and its data {DATA_WORDS}, not 0 and 1025"),
    ],
)
def test_what_cannot_be_assembled_is_refused(text, message):
    with pytest.raises(ConfigError) as error:
        Assembler(text, 0, {})
    assert message in str(error.value)


def test_the_program_fits_and_begins_with_a_table_of_jumps():
    made = assembled(small())
    assert len(made.program) <= PROGRAM_WORDS and len(made.data) == DATA_WORDS
    assert all(code >> 11 == Op.JMP for code in made.program[:8])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: replace(SIZES["small"], microprogrammed=True),
            "is for 2 lanes of cells in SPRAM, not for 4 lanes in SPRAM",
        ),
        (
            lambda: replace(SIZES["medium"], microprogrammed=True),
            "not for 8 lanes in block RAM: use a larger board",
        ),
        (
            lambda: small(side=2 * MICROCODE_SIDE),
            f"for regions of up to {MICROCODE_SIDE} rows and columns, not 2048",
        ),
    ],
)
def test_the_small_learner_is_not_for_other_engines(config, message):
    with pytest.raises(ConfigError) as error:
        config().with_parts(ArrayPart.LEARNING)
    assert message in str(error.value)
