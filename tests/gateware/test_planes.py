import re
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from engine_bench import SimulatedEngine, failure, random_program, tiny

from qcloop.array import ArrayConfig
from qcloop.contract.operations import Info
from qcloop.errors import ArrayError
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine


class Unannounced(EngineConfig):
    """An engine that says nothing of its second plane: INFO has no field for it, hosts refuse its digest."""

    @property
    def info(self):
        return Info(replace(self.array, planes=1), self.buffer)


def test_an_engine_with_a_second_plane_computes_the_same():
    one = tiny(2)
    two = Unannounced(one.name, replace(one.array, planes=2), one.memory, one.buffer)
    engine = SimulatedEngine(two)
    engine.config = one
    assert failure(engine, random_program(5, 12), None) is None


def test_the_digest_tells_the_planes():
    one = tiny(2)
    two = replace(one, array=replace(one.array, planes=2))
    with pytest.raises(ArrayError, match=rf"{one.info.digest.hex()}, not {two.info.digest.hex()}"):
        Info.decode(two.info.encode())


def test_the_memory_of_an_engine_has_the_planes_of_its_configuration():
    half = ArrayConfig(lanes=4, cells=1 << 15, side=1024, planes=2)
    engine = Engine(EngineConfig("half", half, MemoryKind.SPRAM))
    text = rtlil.convert(engine, emit_src=False)
    assert (engine.array.memory.words, engine.array.memory.planes) == (1 << 13, 2)
    assert len(re.findall(r"cell \\SB_SPRAM256KA", text)) == 4
