from dataclasses import replace

import pytest
from engine_bench import SimulatedEngine, failure, random_program, tiny

from qcloop.array import ArrayConfig
from qcloop.contract.operations import Info
from qcloop.errors import ArrayError, ConfigError
from qcloop_hdl.config import SIZES, EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine


class Unannounced(EngineConfig):
    """An engine that says nothing of its second plane: INFO has no field for it, hosts refuse its digest."""

    @property
    def info(self):
        return Info(replace(self.array, planes=1), self.buffer)


def test_an_engine_with_a_second_plane_computes_the_same():
    one = tiny(2)
    two = Unannounced(one.name, replace(one.array, planes=2), one.memory, one.buffer)
    assert Engine(two).array.memory.planes == 2
    engine = SimulatedEngine(two)
    engine.config = one
    assert failure(engine, random_program(5, 12), None) is None


def test_the_digest_tells_the_planes():
    one = tiny(2)
    two = replace(one, array=replace(one.array, planes=2))
    with pytest.raises(ArrayError, match=rf"{one.info.digest.hex()}, not {two.info.digest.hex()}"):
        Info.decode(two.info.encode())


def test_two_planes_that_are_larger_than_the_sprams_do_not_fit():
    array = replace(SIZES["small"].array, planes=2)
    with pytest.raises(ConfigError, match="16384 words of 4 lanes in 2 planes take 8 SPRAM blocks"):
        Engine(EngineConfig("too much", array, MemoryKind.SPRAM))
    half = ArrayConfig(lanes=4, cells=1 << 15, side=1024, planes=2)
    assert Engine(EngineConfig("half", half, MemoryKind.SPRAM)).array.memory.words == 1 << 13
