import re
from dataclasses import replace

from amaranth.back import rtlil
from engine_bench import SimulatedEngine, failure, random_program, tiny

from qcloop.array import ArrayConfig
from qcloop.contract.operations import Info
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine


class Unannounced(EngineConfig):
    """An engine with a second plane that says nothing of it."""

    @property
    def info(self):
        return Info(replace(self.array, parts=STANDARD_PARTS), self.buffer)


def test_an_engine_with_a_second_plane_computes_the_same():
    one = tiny(2)
    two = Unannounced(one.name, replace(one.array, parts=LEARNING_PARTS), one.memory, one.buffer)
    engine = SimulatedEngine(two)
    engine.config = one
    assert failure(engine, random_program(5, 12), None) is None


def test_the_memory_of_an_engine_has_the_planes_of_its_configuration():
    half = ArrayConfig(lanes=4, cells=1 << 15, side=1024, parts=LEARNING_PARTS)
    engine = Engine(EngineConfig("half", half, MemoryKind.SPRAM))
    text = rtlil.convert(engine, emit_src=False)
    assert (engine.array.memory.words, engine.array.memory.planes) == (1 << 13, 2)
    assert len(re.findall(r"cell \\SB_SPRAM256KA", text)) == 4
