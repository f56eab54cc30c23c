"""QCLinear on the gateware behind its link: the codes of the golden model."""

import numpy as np
import torch
from link_bench import remote_array
from torch import nn

from qcloop.array import GoldenArray
from qcloop.torch import QCSGD, Crossbar, QCLinear, Sigmoid, cross_entropy
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard


def trained(array):
    """Return the cells and the counters after some steps of a network on an array."""
    crossbar = Crossbar("B", array=array, update="stochastic", read_noise=0.3, adc_bits=10, seed=5)
    net = nn.Sequential(
        QCLinear(40, 12, crossbar, inputs="binary"), nn.ReLU(),
        QCLinear(12, 8, crossbar, inputs="scaled"), Sigmoid(),
        QCLinear(8, 4, crossbar),
    )  # fmt: skip
    optimizer, draw = QCSGD(net.parameters(), lr=0.5), np.random.default_rng(2)
    for _ in range(6):
        optimizer.zero_grad()
        x, labels = draw.integers(0, 2, (16, 40), np.uint8), draw.integers(0, 4, 16)
        cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        optimizer.step()
    return [array.read(region) for region in crossbar.regions], crossbar.counters(), array.positions()


def test_a_network_on_a_board_has_the_codes_of_the_golden_model():
    remote, _ = remote_array(CompiledBoard(SIZES["small"]))
    cells, counters, positions = trained(remote)
    wanted, golden_counters, golden_positions = trained(GoldenArray(remote.config))
    for (levels, codes), (levels_wanted, codes_wanted) in zip(cells, wanted, strict=True):
        np.testing.assert_array_equal(levels, levels_wanted)
        np.testing.assert_array_equal(codes, codes_wanted)
    assert (counters, positions) == (golden_counters, golden_positions)
