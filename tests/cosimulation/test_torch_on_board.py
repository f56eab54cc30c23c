"""Device layers on the gateware behind its link: the codes of the golden model."""

import numpy as np
import pytest
import torch
from link_bench import remote_array
from torch import nn

from qcloop.array import GoldenArray
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCLinear, Sigmoid, convert, cross_entropy
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard


def looped(array):
    """Train a network with read noise by a loop; return its crossbar."""
    crossbar = Crossbar("B", array=array, update="stochastic", read_noise=0.3, adc_bits=10, seed=5)
    net = nn.Sequential(
        QCLinear(40, 12, crossbar, inputs="binary"), nn.ReLU(),
        QCLinear(12, 8, crossbar, inputs="scaled"), Sigmoid(),
        QCLinear(8, 4, crossbar),
    )  # fmt: skip
    optimizer = QCSGD(net.parameters(), lr=0.5)
    for x, labels in batches(16):
        optimizer.zero_grad()
        cross_entropy(net(x), labels).backward()
        optimizer.step()
    return crossbar


def fused(array):
    """Train a chain by fused steps, on a link in three micro-batches; return its crossbar."""
    crossbar = Crossbar("A", array=array, update="mixed", seed=5)
    net = nn.Sequential(
        QCLinear(40, 12, crossbar, "binary", dtype=torch.float64), nn.ReLU(),
        QCLinear(12, 4, crossbar, "scaled", dtype=torch.float64),
    )  # fmt: skip
    step = FusedStep(net, QCSGD(net.parameters(), lr=0.5))
    for x, labels in batches(40):
        step(x, labels)
    return crossbar


def convolved(array):
    """Convert a float network with a convolution and signed inputs, and train it; return its crossbar."""
    torch.manual_seed(3)
    crossbar = Crossbar("B", array=array, update="stochastic", seed=5)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 4))
    net = convert(plain, crossbar)
    optimizer = QCSGD(net.parameters(), lr=0.5)
    for x, labels in batches(6):
        optimizer.zero_grad()
        cross_entropy(net(x.reshape(-1, 1, 5, 8) - 0.5), labels).backward()
        optimizer.step()
    net[3].write_weights(plain[3].weight)
    return crossbar


def batches(n):
    draw = np.random.default_rng(2)
    for _ in range(6):
        yield (
            torch.from_numpy(draw.integers(0, 2, (n, 40), np.uint8)),
            torch.from_numpy(draw.integers(0, 4, n)),
        )


@pytest.mark.parametrize("train", [looped, fused, convolved])
def test_a_network_on_a_board_has_the_codes_of_the_golden_model(train):
    remote, _ = remote_array(CompiledBoard(SIZES["small"]))
    on_board, golden = train(remote), train(GoldenArray(remote.config))
    for region in golden.regions:
        for got, wanted in zip(remote.read(region), golden.array.read(region), strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert on_board.counters() == golden.counters()
    assert remote.positions() == golden.array.positions()
