"""PyTorch's layers on devices that age."""

import copy

import pytest
import torch

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.device import Relaxation
from qcloop.errors import ArrayError, ConfigError, DeviceError
from qcloop.torch import Crossbar, QCLinear

LAW = Relaxation(drift=-0.05, sigma=0.2)


def layer(**given):
    return QCLinear(12, 8, Crossbar("A", **given), inputs="unit")


def test_devices_age_alike_and_go_on_from_a_state():
    torch.manual_seed(1)
    one, other, x = layer(), layer(), torch.rand(5, 12)
    before = one(x)
    for each in (one, other):
        each.crossbar.age_to("1h", LAW)
    assert not torch.equal(one(x), before) and torch.equal(one(x), other(x))
    assert torch.equal(one.weight, layer().weight)  # what was asked for stays
    loaded = layer()
    loaded.load_state_dict(one.state_dict())
    loaded.crossbar.load_state_dict(one.crossbar.state_dict())
    copied = copy.deepcopy(one)
    for each in (one, loaded, copied):
        each.crossbar.age_to(10 * 365.25 * 86400)
    aged, *others = (each.read_weights() for each in (one, loaded, copied, other))
    assert [torch.equal(aged, weights) for weights in others] == [True, True, False]


def test_the_age_is_the_sum_of_its_steps():
    """Means fall as far in many steps as in one: all devices of a layer, from the highest level."""
    fallen = []
    for times in (("1d",), tuple(f"{hour}h" for hour in range(1, 25))):
        wide = QCLinear(100, 50, Crossbar("ideal"), inputs="unit")
        wide.write_weights(torch.full((50, 100), 0.5 * wide.weight_max))
        start = float(wide.read_weights().mean())
        for time in times:
            wide.crossbar.age_to(time, LAW)
        fallen.append(start - float(wide.read_weights().mean()))
    assert fallen[0] > 0 and abs(fallen[1] / fallen[0] - 1) < 0.05


@pytest.mark.parametrize(
    ("calls", "error", "message"),
    [
        ([("1h", None)], DeviceError, r"device A has no \[relaxation\]: say what time does to it by relax"),
        ([("1h", LAW), ("1h", None)], ConfigError, "aged for 1 h already: give a later time than 1 h"),
        ([("1h", LAW), ("2h", "wan-2022")], ConfigError, "another relaxation already: leave relaxation out"),
        ([("soon", LAW)], ConfigError, "a time must be a number above 0 and its unit"),
        ([("1h", "fast")], DeviceError, "unknown relaxation 'fast'"),
        ([(0.5, LAW)], DeviceError, "known from 1 s on, not at 0.5 s"),
    ],
)
def test_what_cannot_be_is_refused(calls, error, message):
    ageing = layer()
    for time, law in calls[:-1]:
        ageing.crossbar.age_to(time, law)
    before = ageing.read_weights()
    with pytest.raises(error, match=message):
        ageing.crossbar.age_to(*calls[-1])
    assert torch.equal(ageing.read_weights(), before)
    ageing.crossbar.age_to("1d", LAW)


def test_an_array_without_ageing_says_so():
    ageing = layer(array=GoldenArray(ArrayConfig()))
    with pytest.raises(ArrayError, match="this array has no ageing"):
        ageing.crossbar.age_to("1h", LAW)
    assert ageing.crossbar.state_dict()["ages"] == []
