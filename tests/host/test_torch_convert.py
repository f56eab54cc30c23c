"""A float network on devices: the same outputs, what is copied, what is refused by its path."""

import copy

import pytest
import torch
from torch import nn

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.errors import ConfigError
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCConv2d, QCLinear, Sigmoid, convert, summary


def ideal(**settings):
    return Crossbar("ideal", states=64, **settings)


def small_net():
    """Return a network with nested modules, a batch norm, and inputs of every kind."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 3, 3, stride=2), nn.Tanh(), nn.Flatten()),
        nn.Dropout(), nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 5),
    ).double()  # fmt: skip


def images(n=6):
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def kinds(net):
    return {layer.path: layer.inputs for layer in summary(net).layers}


def test_a_converted_network_computes_what_the_float_one_does_which_stays_as_it_was():
    model, x, crossbar = small_net(), images(), ideal()
    before = copy.deepcopy(model.state_dict())
    net = convert(model, crossbar, calibration=x)
    assert model.training and net.training  # calibration ran in evaluation mode
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model[0]) is nn.Conv2d and type(net[0]) is QCConv2d and net[1] is not model[1]
    assert kinds(net) == {"0": "scaled", "4.0": "scaled", "6": "signed", "8": "scaled"}
    model.eval(), net.eval()
    wanted = model(x)
    assert (net(x) - wanted).abs().max() < 0.05 * wanted.abs().max()
    for path in ("0", "4.0", "6", "8"):
        old, new = model.get_submodule(path), net.get_submodule(path)
        assert new.weight_max == pytest.approx(old.weight.abs().max().item())
        assert (new.weight - old.weight).abs().max() <= new.weight_max / 62
        assert new.dtype is torch.float64 and (new.bias is None) == (old.bias is None)
        assert new.bias is None or torch.equal(new.bias, old.bias)
    assert crossbar.counters().programmed == summary(net).devices == 36 + 108 + 216 + 40


def test_a_converted_network_trains_and_its_state_is_loaded():
    model, x, labels = small_net(), images(20), torch.arange(20) % 5
    net = convert(model, Crossbar("A"), calibration=x)
    optimizer, losses = QCSGD(net.parameters(), lr=0.2), []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(net(x), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.95 * losses[0]
    second = convert(small_net(), Crossbar("A", seed=2), calibration=x)
    second.load_state_dict(net.state_dict())
    net.eval(), second.eval()
    assert torch.equal(net(x), second(x))


def test_inputs_are_signed_unless_they_are_given_or_calibrated():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 3), nn.Linear(3, 2))
    assert set(kinds(convert(model, ideal())).values()) == {"signed"}
    assert set(kinds(convert(model, ideal(), "unit")).values()) == {"unit"}
    ones = torch.eye(4)
    assert kinds(convert(model, ideal(), calibration=(ones,))) == {
        "0": "binary",
        "2": "scaled",
        "3": "signed",
    }
    mixed = convert(model, ideal(), {"2": "unit"}, calibration=ones)
    assert kinds(mixed) == {"0": "binary", "2": "unit", "3": "signed"}
    assert kinds(convert(model, ideal(), {"2": "unit"})) == {"0": "signed", "2": "unit", "3": "signed"}


def test_a_model_may_be_a_single_layer_of_any_dtype():
    torch.manual_seed(1)
    plain = nn.Linear(6, 4).to(torch.bfloat16).eval()
    plain.weight.requires_grad_(False)
    layer = convert(plain, ideal(), "unit")
    x = torch.rand(3, 6).to(torch.bfloat16)
    assert type(layer) is QCLinear and layer.dtype is torch.bfloat16 and not layer.training
    assert not layer.devices.requires_grad and layer.bias.requires_grad
    assert (layer(x) - plain(x)).abs().max() < 0.05


def test_a_chain_can_be_trained_by_fused_steps():
    model = nn.Sequential(nn.Linear(6, 5), Sigmoid(), nn.Linear(5, 3)).double()
    net = convert(model, ideal(), {"2": "unit"})
    step = FusedStep(net, QCSGD(net.parameters(), lr=1.0))
    x, labels = torch.randn(9, 6), torch.arange(9) % 3
    losses = [step(x, labels) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_a_percentile_makes_the_levels_of_the_other_weights_finer():
    torch.manual_seed(1)
    plain = nn.Linear(100, 20, bias=False, dtype=torch.float64)
    with torch.no_grad():
        plain.weight[0, :5] = 3.0
    whole, most = (convert(plain, Crossbar("A", sigma=0.0), percentile=p) for p in (100, 99))
    assert whole.weight_max == 3.0 and 0.09 < most.weight_max < 0.11
    assert (whole.written.clipped, most.written.clipped) == (0, 20)
    plain_ones = plain.weight.abs() <= most.weight_max
    off = [(layer.weight - plain.weight)[plain_ones].abs().mean() for layer in (whole, most)]
    assert off[1] < 0.1 * off[0]
    empty = nn.Linear(3, 2)
    with torch.no_grad():
        empty.weight.zero_()
    assert convert(empty, ideal(), percentile=50).weight_max == pytest.approx(8 / 3**0.5)


def test_one_module_in_two_places_is_one_layer():
    shared = nn.Linear(4, 4)
    net = convert(nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared)), ideal())
    assert net[0] is net[1][1] and summary(net).weights == 16


def test_tied_weights_are_refused():
    model = nn.ModuleDict({"in": nn.Embedding(7, 4), "out": nn.Linear(4, 7)})
    model["out"].weight = model["in"].weight
    with pytest.raises(
        ConfigError, match=r"^'out' \(Linear\) .* a parameter of another module as well \(tied\)"
    ):
        convert(model, ideal())


class Half(nn.Module):
    """A network that does not use one of its layers."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.used(x)


class Grown(nn.Linear):
    """A layer that may compute something else than its base."""


def damaged():
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[1, 1] = float("inf")
    return layer


REFUSED = {
    "groups": (nn.Conv2d(2, 4, 3, groups=2), r"groups=1, not 2"),
    "padding": (nn.Conv2d(2, 4, 3, padding_mode="circular"), "padded with zeros, not by 'circular'"),
    "transposed": (nn.ConvTranspose2d(2, 2, 3), r"only nn\.Linear and nn\.Conv2d can"),
    "attention": (nn.MultiheadAttention(4, 2), r"only nn\.Linear and nn\.Conv2d can"),
    "recurrent": (nn.LSTM(3, 4), r"only nn\.Linear and nn\.Conv2d can"),
    "subclass": (Grown(3, 2), "it is a subclass"),
    "infinite": (damaged(), "its weights .torch.float32. are not all finite real numbers"),
    "on devices": (QCLinear(3, 2, ideal()), "is a device layer already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_named_by_its_path_or_stays(case):
    module, message = REFUSED[case]
    model = nn.ModuleDict({"body": nn.ModuleDict({"odd": module}), "head": nn.Linear(3, 2)})
    crossbar = ideal()
    kind = type(module).__name__
    with pytest.raises(
        ConfigError, match=rf"^'body\.odd' \({kind}\) .*{message}.*keep=\['body\.odd'\]"
    ) as caught:
        convert(model, crossbar)
    assert "\n" not in str(caught.value) and not crossbar.layers
    for options in ({"keep": ["body.odd"]}, {"keep": "body"}, {"strict": False}):
        net = convert(model, ideal(), **options)
        assert type(net["body"]["odd"]) is type(module) and type(net["head"]) is QCLinear
        assert (net["body"]["odd"] is module) == (case == "on devices")


def test_what_convert_does_not_take():
    model, crossbar = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), ideal()
    x = torch.rand(2, 4)
    for arguments, options, message in (
        ((model, "A"), {}, r"a torch\.nn\.Module and a qcloop\.torch\.Crossbar, not Sequential and str"),
        ((nn.ReLU(), crossbar), {}, "the ReLU has no nn.Linear or nn.Conv2d"),
        ((model, crossbar), {"keep": ["1", "5"]}, "keep has '5', but the network has no module of that path"),
        ((model, crossbar), {"percentile": 0}, "percentile must be above 0 and at most 100, not 0"),
        ((model, crossbar, "bytes"), {}, "binary, unit, scaled, signed, not 'bytes'"),
        ((model, crossbar, {"1": "unit"}), {}, "inputs has '1', but the layers to be converted are 0, 2"),
        ((model, crossbar), {"calibration": x / 0}, "in calibration, '0' gets inputs that are not finite"),
        ((nn.ModuleList(model), crossbar), {"calibration": x}, None),
        ((nn.LSTM(3, 4), crossbar), {}, r"^the model \(LSTM\) cannot be converted: only nn.Linear .* can$"),
        ((nn.Sequential(nn.Linear(9000, 2)), crossbar), {}, "^'0': a layer of 9000 x 2 weights needs"),
    ):
        with pytest.raises(ConfigError if message else NotImplementedError, match=message):
            convert(*arguments, **options)
    with pytest.raises(ConfigError, match=r"in calibration, 'spare' gets no inputs: .*\{'spare': \.\.\.\}"):
        convert(Half(), crossbar, calibration=x)
    assert not crossbar.layers and crossbar.counters().programmed == 0
    assert [module.training for module in model.modules()] == [True] * 4


def test_a_network_for_which_there_is_no_room_is_not_begun():
    crossbar = Crossbar("A", array=GoldenArray(ArrayConfig(lanes=4, cells=64)))
    with pytest.raises(
        ConfigError, match=r"^'1': a layer of 8 x 4 weights needs 32 cells .* but 0 of 64 are left"
    ):
        convert(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), crossbar)
    assert not crossbar.layers
