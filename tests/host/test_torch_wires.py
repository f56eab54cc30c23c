"""PyTorch's layers behind wires with resistance."""

import pytest
import torch

from qcloop.errors import CheckpointError, ConfigError
from qcloop.torch import QCSGD, Crossbar, QCLinear, cross_entropy

OPTIONS = {"tile_rows": 16, "wire_resistance": 4.0, "cells": 1 << 14}


def make(**given):
    crossbar = Crossbar("A", **{**OPTIONS, **given})
    return crossbar, QCLinear(40, 4, crossbar, "unit", dtype=torch.float64)


def some(n=12):
    return torch.rand(n, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_layer_knows_its_wires_and_classifies_behind_them():
    crossbar, layer = make()
    plain = make(wire_resistance=0.0)[1]
    with torch.no_grad():
        known, ideal = layer(some()), plain(some())
        with crossbar.behind_wires():
            real = layer(some())
        again = layer(some())
    assert (known - real).std() < 0.2 * real.std() < 0.2 * ideal.std()
    assert torch.equal(known, again)


def test_a_step_programs_devices_outside_of_the_block_only():
    crossbar, layer = make()
    optimizer = QCSGD(layer.parameters(), lr=5.0)
    cross_entropy(layer(some()), torch.zeros(12, dtype=torch.long)).backward()
    with crossbar.behind_wires(), pytest.raises(ConfigError, match="block of behind_wires"):
        optimizer.step()
    writes = crossbar.cost().writes
    optimizer.step()
    assert crossbar.cost().writes > writes


def test_gains_are_in_the_state_and_measured_where_they_are_not():
    crossbar, layer = make()
    layer.write_weights(torch.full((4, 40), layer.weight_max))
    _, other = make()
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        assert torch.equal(other(some()), layer(some()))
    ideal = make(wire_resistance=0.0)[1]
    ideal.load_state_dict(layer.state_dict())
    for given in ({}, {"tile_rows": 20}):
        fresh = make(**given)[1]
        fresh.load_state_dict(ideal.state_dict())
        expected = fresh.on_array.wired.columns
        fresh.crossbar.measure_wires()
        assert (expected == fresh.on_array.wired.columns).all()
        assert expected.max() < 256
    with pytest.raises(CheckpointError, match=r"wire_resistance 0\.0, not 4\.0"):
        crossbar.load_state_dict(make(wire_resistance=0.0)[0].state_dict())
