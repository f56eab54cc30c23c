"""PyTorch's layers with several cells a weight: training, optimizers, states and copies."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from qcloop.errors import CheckpointError, ConfigError
from qcloop.torch import QCSGD, Crossbar, QCAdam, QCLinear


def network(**given):
    """Return a network of two layers on a crossbar of its own."""
    crossbar = Crossbar("A", **{"cells_per_weight": 2, "update": "carry", **given})
    return nn.Sequential(QCLinear(12, 8, crossbar, inputs="unit"), nn.Sigmoid(), QCLinear(8, 3, crossbar))


def train(net, optimizer, steps=12):
    """Train on fixed inputs; return the losses."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(30, 12, generator=generator)
    labels, losses = (x[:, :3]).argmax(dim=1), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def levels(net):
    return [net[k].on_array.levels.tobytes() for k in (0, 2)]


@pytest.mark.parametrize("update", ["carry", "mixed"])
def test_a_network_learns_by_sgd_and_goes_on_from_its_state(update):
    net = network(update=update)
    losses = train(net, QCSGD(net.parameters(), lr=0.5), 40)
    assert losses[-1] < 0.9 * losses[0]
    other = network(update=update, seed=1)
    other.load_state_dict(net.state_dict())
    other[0].crossbar.load_state_dict(net[0].crossbar.state_dict())
    copied = copy.deepcopy(net)
    found = [train(each, QCSGD(each.parameters(), lr=0.5)) for each in (net, other, copied)]
    assert found[0] == found[1] == found[2]
    assert levels(net) == levels(other) == levels(copied)


def test_weights_are_read_and_written():
    layer = QCLinear(12, 8, Crossbar("ideal", cells_per_weight=2, ratio=16), inputs="unit")
    weight = np.linspace(-1, 1, 96).reshape(8, 12) * layer.weight_max
    assert layer.write_weights(torch.tensor(weight)) == 0
    step = 2 * layer.weight_max / (31 * 17)
    assert np.abs(layer.read_weights().numpy() - weight).max() < 0.51 * step
    assert torch.allclose(layer.weight, layer.read_weights())
    assert layer.n_weights == 96 and layer.n_devices == 192


def test_adam_moves_the_accumulators_of_mixed_and_carry_has_none():
    net = network(update="mixed")
    losses = train(net, QCAdam(net.parameters(), lr=0.02))
    assert losses[-1] < losses[0]
    with pytest.raises(ConfigError, match="Adam of devices needs the accumulators of update rule mixed"):
        QCAdam(network().parameters())


def test_a_state_of_other_slices_is_refused():
    with pytest.raises(CheckpointError, match="1024 weight levels, and this crossbar's 1024 are others"):
        network(ratio=4).load_state_dict(network(ratio=8).state_dict())
    with pytest.raises(CheckpointError, match="cells_per_weight 2, not 3"):
        network(cells_per_weight=3)[0].crossbar.load_state_dict(network()[0].crossbar.state_dict())
