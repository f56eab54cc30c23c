"""Signed inputs, convolutions, and weights that are written: against integers, float layers and QCLinear."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.crossbar import compiled, reference
from qcloop.errors import ArrayError, ConfigError, DivergenceError
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCConv2d, QCLinear, Sigmoid, cross_entropy, summary

F64 = torch.float64


def ideal(states=64, **settings):
    return Crossbar("ideal", states=states, weight_range=3.0, **settings)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def far(got, wanted):
    """Return the largest difference as a share of the largest value."""
    return ((got - wanted).abs().max() / wanted.abs().max()).item()


# -- signed inputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["single", "differential"])
def test_signed_inputs_are_two_products_that_are_subtracted(scheme):
    """By integers: an input is a step of its vector's largest magnitude; the sums are exact."""
    crossbar = ideal(scheme=scheme)
    layer = QCLinear(6, 4, crossbar, "signed", bias=False, dtype=F64)
    x = normal(5, 6)
    x[3] = 0.0
    top = x.abs().amax(1, keepdim=True)
    integers = (x.abs() * torch.where(top > 0, 255 / top, 0.0) + 0.5).floor() * x.sign()
    codes = torch.from_numpy(crossbar.device_codes(layer.on_array).astype(np.int64))
    cycles = crossbar.counters().cycles
    y = layer(x)
    assert crossbar.counters().cycles - cycles == 2 * 5 * 6  # two products, 5 vectors, 6 rows of a word each
    assert (y == (integers.long() @ codes) * (top / 255 * layer.on_array.weight_per_code)).all()
    assert torch.equal(layer(-x), -y) and torch.equal(layer(4 * x), 4 * y)
    assert (y[3] == 0).all() and far(layer.weight @ x[0], y[0]) < 0.02


def test_signed_inputs_without_a_minus_are_scaled_ones():
    crossbar = ideal()
    signed = QCLinear(6, 4, crossbar, "signed", dtype=F64)
    scaled = QCLinear(6, 4, crossbar, "scaled", dtype=F64, weight=signed.weight)
    x = normal(5, 6).abs()
    assert torch.equal(signed(x), scaled(x))
    assert torch.equal(signed((x * 50).to(torch.uint8)), scaled((x * 50).to(torch.uint8)))


@pytest.mark.parametrize("update", ["nearest", "stochastic", "mixed"])
@pytest.mark.parametrize("kernels", [compiled, reference])
def test_the_gradient_of_signed_inputs_is_exact(update, kernels):
    """Sums of signed products are those of a batch of positive and one of negative parts, subtracted."""
    codes = {}
    for way in ("signed", "parts"):
        crossbar = ideal(update=update)
        crossbar._kernels = kernels
        layer = QCLinear(6, 4, crossbar, "signed", dtype=F64)
        x, x_scale = layer._encode(normal(5, 6))
        delta = normal(5, 4, seed=2).numpy()
        d, largest, top = crossbar.errors(layer.on_array, delta, x_scale)
        assert x.dtype == np.int16 and (x < 0).any() and np.abs(x).max() == 255
        arguments = np.float32(300 * largest / top), layer.on_array.levels, layer.on_array.changes
        if way == "signed":
            layer.on_array.rule.descend(x, d, *arguments)
        else:
            parts = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]).astype(np.uint8)
            layer.on_array.rule.descend(parts, np.concatenate([d, -d]), *arguments)
        codes[way] = layer.on_array.levels.tobytes() + layer.on_array.rule.memory.tobytes()
    assert codes["signed"] == codes["parts"]


def test_gradients_of_signed_inputs_are_those_of_a_float_layer():
    layer, x, w = QCLinear(20, 12, ideal(), "signed", dtype=F64), normal(7, 20), normal(7, 12, seed=2)
    x.requires_grad_()
    (layer(x) * w).sum().backward()
    weight, x_float = layer.read_weights().requires_grad_(), x.detach().clone().requires_grad_()
    ((x_float @ weight.T) * w).sum().backward()
    assert far(x.grad, x_float.grad) < 0.01 and far(layer.gradient, weight.grad) < 0.01


def test_a_fused_step_takes_signed_inputs():
    nets = []
    for _ in range(2):
        crossbar = ideal()
        layers = QCLinear(6, 5, crossbar, "signed", dtype=F64), QCLinear(5, 3, crossbar, dtype=F64)
        nets.append(nn.Sequential(layers[0], Sigmoid(), layers[1]))
    x, labels = normal(8, 6), torch.arange(8) % 3
    optimizers = [QCSGD(net.parameters(), lr=2.0) for net in nets]
    step, before = FusedStep(nets[0], optimizers[0]), nets[1][0].weight.clone()
    for _ in range(3):
        optimizers[1].zero_grad()
        loss = cross_entropy(nets[1](x), labels)
        loss.backward()
        optimizers[1].step()
        assert step(x, labels) == loss.item()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(nets[0][0].read_weights(), nets[1][0].read_weights())
    assert not torch.equal(before, nets[0][0].weight)


# -- convolutions -----------------------------------------------------------------------------------------

SHAPES = {
    "plain": {"kernel_size": 3},
    "all": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    "same": {"kernel_size": (4, 3), "padding": "same"},
    "valid": {"kernel_size": 2, "stride": 3, "padding": "valid"},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_is_that_of_a_float_layer(shape):
    layer = QCConv2d(3, 4, crossbar=ideal(), inputs="signed", dtype=F64, **SHAPES[shape])
    plain = nn.Conv2d(3, 4, dtype=F64, **SHAPES[shape])
    with torch.no_grad():
        plain.weight.copy_(layer.read_weights())
        layer.bias.copy_(plain.bias)
    x, found = normal(2, 3, 9, 8), []
    for conv in (layer, plain):
        x_grad = x.clone().requires_grad_()
        y = conv(x_grad)
        (y * normal(*y.shape, seed=2)).sum().backward()
        found.append((y.detach(), x_grad.grad, conv.bias.grad))
    found[0] += (layer.gradient,)
    found[1] += (plain.weight.grad,)
    for got, wanted in zip(*found, strict=True):
        assert got.shape == wanted.shape and far(got, wanted) < 0.01
    assert torch.equal(layer(x[0]), layer(x)[0])
    assert repr(layer).startswith("QCConv2d(3, 4, kernel_size=(")


def test_a_convolution_is_a_linear_layer_on_patches():
    """To the last bit: sums, errors of the inputs, gradient, and devices after a step."""
    made = []
    for conv in (True, False):
        crossbar = ideal()
        shared = {"crossbar": crossbar, "inputs": "scaled", "dtype": F64}
        layer = QCConv2d(2, 3, 2, **shared) if conv else QCLinear(8, 3, **shared)
        x = normal(4, 2, 5, 5).abs().requires_grad_()
        if conv:
            y = layer(x)
        else:
            y = layer(functional.unfold(x, 2).transpose(1, 2)).transpose(1, 2).reshape(4, 3, 4, 4)
        (y * normal(*y.shape, seed=2)).sum().backward()
        gradient = layer.gradient.reshape(3, 8)
        QCSGD(layer.parameters(), lr=0.01).step()
        made.append([y, x.grad, gradient, layer.bias, layer.read_weights().reshape(3, 8)])
    (y, x_grad, *ours), (wanted, x_wanted, *theirs) = made
    assert far(x_grad, x_wanted) < 1e-14  # the patches of a pixel are added in another order
    for one, other in zip((y, *ours), (wanted, *theirs), strict=True):
        assert torch.equal(one, other)


def test_errors_of_a_convolution_keep_their_bits_in_many_vectors():
    """8,464 vectors: with sums of 32 bits errors would have 10 bits, and the smallest of them be 0."""
    layer = QCConv2d(1, 1, 5, ideal(), bias=False, dtype=F64)
    x = torch.full((4, 1, 50, 50), 1.0, dtype=F64)
    y = layer(x)
    errors = torch.full_like(y, 3e-5)
    errors[0, 0, 0, 0] = 1.0
    y.backward(errors)
    wanted = errors.sum().item()
    assert layer.gradient.numpy() == pytest.approx(wanted, rel=0.05)
    with pytest.raises(DivergenceError, match=r"the learning step of layer 1 is \S+ codes"):
        layer.descend(1e30)
    layer.on_array.wide = False
    assert (layer.gradient < 1.01).all()


def test_images_of_bytes_drive_the_rows_as_they_are():
    crossbar, images = ideal(), torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8) * 4
    unit, binary = QCConv2d(1, 2, 3, crossbar, padding=1), QCConv2d(1, 2, 3, crossbar, "binary")
    assert torch.equal(unit(images), unit(images / 255))
    assert torch.equal(binary((images > 127).to(torch.uint8)), binary(images / 255))
    assert unit(images[:0]).shape == (0, 2, 8, 8) and unit(images).dtype is torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 2}, "groups=1, not 2"),
        ({"padding_mode": "reflect"}, "padded with zeros, not by 'reflect'"),
        ({"kernel_size": 0}, "kernel_size must be an integer of 1 or more, or two of them, not 0"),
        ({"out_channels": (4, 4)}, r"out_channels must be an integer of 1 or more, not \(4, 4\)"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size must be .*, not \(3, 3, 3\)"),
        ({"stride": 1.5}, "stride must be an integer of 1 or more, or two of them, not 1.5"),
        ({"padding": -1}, "padding must be an integer of 0 or more"),
        ({"padding": "full"}, "'valid' or 'same', not 'full'"),
        ({"padding": "same", "stride": 2}, r"'same' needs stride 1, not \(2, 2\)"),
        ({"weight": torch.zeros(4, 3, 2, 2)}, r"weights must be \(4, 3, 3, 3\), not \(4, 3, 2, 2\)"),
        ({"weight_max": 0.0}, "weight_max must be a finite number above 0, not 0.0"),
        ({"weight": torch.full((4, 3, 3, 3), 9.0)}, "108 of 108 weights are beyond the range"),
        ({"out_of_range": "wrap", "weight": torch.zeros(4, 3, 3, 3)}, "error, clip, rescale, not 'wrap'"),
    ],
)
def test_a_layer_that_cannot_be_leaves_the_crossbar_as_it_was(options, message):
    crossbar = ideal()
    with pytest.raises(ConfigError, match=message):
        QCConv2d(3, **{"out_channels": 4, "kernel_size": 3, "crossbar": crossbar, **options})
    assert not crossbar.layers and crossbar.counters().programmed == 0


def test_a_convolution_says_what_images_it_takes():
    layer = QCConv2d(3, 4, 5, ideal(), dilation=2)
    for shape, message in (
        ((2, 1, 20, 20), r"\(n, 3, height, width\), not \(2, 1, 20, 20\)"),
        ((3, 20), r"not \(3, 20\)"),
        ((2, 3, 20, 8), "9 x 9 pixels or more, padding included, not 20 x 8"),
    ):
        with pytest.raises(ConfigError, match=message):
            layer(torch.zeros(shape))
    with pytest.raises(ConfigError, match=r"inputs must be 0\.\.1 \(unit\), not -1"):
        layer(-torch.ones(1, 3, 9, 9))
    with pytest.raises(
        ConfigError, match=r"FusedStep takes an nn.Sequential of QCLinear .* of QCConv2d: train"
    ):
        FusedStep(nn.Sequential(layer), QCSGD(layer.parameters(), lr=1.0))


# -- weights that are written -----------------------------------------------------------------------------


def test_weights_are_written_to_the_nearest_level_and_counted():
    crossbar = Crossbar("A", weight_range=3.0, array=GoldenArray(ArrayConfig(lanes=4, cells=1024)))
    layer = QCLinear(9, 5, crossbar, weight_max=1.0, dtype=F64)
    before, wanted = crossbar.counters(), normal(5, 9).clamp(-1, 1)
    assert layer.write_weights(wanted) == 0
    step = 2 / 31
    assert (layer.weight - wanted).abs().max() <= step / 2 + 1e-9
    assert crossbar.counters().programmed - before.programmed == 45 == layer.n_devices
    assert crossbar.cost().writes == 90
    off = (layer.read_weights() - layer.weight).abs()
    assert 0 < off.max() < 0.3  # the fluctuation of a write
    assert layer.written.clipped == 0
    assert layer.written.mean_error == pytest.approx((layer.read_weights() - wanted).abs().mean().item())
    accumulators = layer.weight + torch.from_numpy(
        layer.on_array.rule.memory.T * layer.on_array.weight_per_code
    )
    assert (accumulators - wanted).abs().max() < 1e-6  # rule mixed goes on from the weights themselves


def test_what_was_read_can_be_written_and_numpy_and_integers_too():
    layer = QCLinear(6, 4, ideal())
    for weight in (layer.weight, layer.weight.numpy(), layer.weight.double().requires_grad_()):
        before = layer.weight.clone()
        assert layer.write_weights(weight) == 0 and torch.equal(before, layer.weight)
    layer.write_weights(np.ones((4, 6), np.int64), "clip")
    assert layer.weight.unique().tolist() == [layer.weight.max().item()]


def test_weights_beyond_the_range():
    layer = QCLinear(4, 3, ideal(), weight_max=0.5, dtype=F64)
    weight = torch.linspace(-0.75, 0.5, 12, dtype=F64).reshape(3, 4)
    before = layer.weight.clone()
    with pytest.raises(ConfigError, match=r"3 of 12 weights are beyond .* -0\.5\.\.0\.5; .* is 0\.75: clip"):
        layer.write_weights(weight)
    assert torch.equal(before, layer.weight) and layer.written is None
    assert layer.write_weights(weight, out_of_range="clip") == 3 == layer.written.clipped
    assert layer.weight_max == pytest.approx(0.5) and layer.weight.min() == pytest.approx(-0.5, abs=1e-3)
    assert layer.write_weights(weight, "rescale") == 0
    assert layer.weight_max == 0.75 and far(layer.weight, weight) < 0.02
    layer.write_weights(torch.zeros(3, 4), "rescale")
    assert layer.weight_max == 0.75 and layer.weight.abs().max() < 0.02


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(4, 3), r"weights must be \(3, 4\), not \(4, 3\)"),
        (torch.full((3, 4), float("nan")), r"finite numbers, not nan \(12 of 12\)"),
        (torch.zeros(3, 4, dtype=torch.complex64), "real numbers, not torch.complex64"),
        (torch.zeros(3, 4, dtype=torch.bool), "real numbers, not torch.bool"),
        (0.5, r"weights must be \(3, 4\), not \(\)"),
        ("ones", "real numbers, not <U4"),
    ],
)
def test_what_is_no_weight_is_not_written(weight, message):
    layer = QCLinear(4, 3, ideal())
    before = layer.weight.clone()
    with pytest.raises(ConfigError, match=message):
        layer.write_weights(weight)
    assert torch.equal(before, layer.weight)


def test_writing_forgets_the_gradient_and_stuck_cells_stay():
    crossbar = Crossbar("A", stuck_off=0.2)
    layer = QCLinear(20, 10, crossbar)
    stuck = crossbar.array.read(layer.on_array.region)[0] >= 32
    codes = crossbar.device_codes(layer.on_array)[stuck]
    y = layer(torch.rand(2, 20))
    y.sum().backward(retain_graph=True)
    layer.write_weights(torch.zeros(10, 20))
    assert stuck.any() and (crossbar.device_codes(layer.on_array)[stuck] == codes).all()
    assert layer.gradient is None
    with pytest.raises(ArrayError, match="programmed between forward and backward"):
        y.sum().backward()


def test_the_state_of_a_float_layer_is_written():
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    crossbar = ideal()
    net = nn.Sequential(
        QCConv2d(1, 2, 3, crossbar, dtype=F64),
        nn.ReLU(),
        nn.Flatten(),
        QCLinear(8, 3, crossbar, "scaled", dtype=F64),
    )
    assert str(net.load_state_dict(plain.state_dict())) == "<All keys matched successfully>"
    for index in (0, 3):
        assert far(net[index].weight, plain[index].weight) < 0.1
        assert torch.equal(net[index].bias, plain[index].bias)
    assert net[3].devices.layer is net[3] and crossbar.counters().programmed == 2 * (18 + 24)
    plain[3].weight.data[0, 0] = 7.0
    with pytest.raises(
        RuntimeError, match=r"3\.weight: 1 of 24 weights are beyond .* qcloop\.torch\.convert"
    ):
        net.load_state_dict(plain.state_dict())
    with pytest.raises(RuntimeError, match=r"3\.weight: weights must be \(3, 8\), not \(3, 9\)"):
        net.load_state_dict({**plain.state_dict(), "3.weight": torch.zeros(3, 9)})
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "bias"'):
        net[3].load_state_dict({"weight": torch.zeros(3, 8)})


def test_a_state_has_the_range_of_its_weights():
    crossbar, other = ideal(), ideal()
    layer = QCLinear(4, 3, crossbar, weight=normal(3, 4), weight_max=4.0, dtype=F64)
    loaded = QCLinear(4, 3, other, dtype=F64)
    state = layer.state_dict()
    loaded.load_state_dict(state, assign=True)
    assert torch.equal(loaded.read_weights(), layer.read_weights()) and loaded.weight_max == 4.0
    assert loaded.devices.layer is loaded
    del state["_extra_state"]["weight_per_code"]  # a state from before layers had ranges of their own
    old = QCLinear(4, 3, other, dtype=F64)
    old.load_state_dict(state)
    assert old.weight_max == 1.5 and far(old.weight * 4, layer.weight * 1.5) < 1e-6


# -- what is counted --------------------------------------------------------------------------------------


def test_a_summary_counts_weights_and_devices():
    crossbar = Crossbar("A", scheme="differential")
    shared = QCLinear(12, 12, crossbar)
    net = nn.Sequential(QCConv2d(1, 3, 2, crossbar), nn.BatchNorm2d(3), nn.Flatten(), shared, shared)
    found = summary(net)
    assert (found.weights, found.devices, found.floats) == (156, 312, 3 + 12 + 6)
    assert [layer.path for layer in found.layers] == ["0", "3"]
    assert (net[0].n_weights, net[0].n_devices) == (12, 24) and found.layers[1].words == (0, 24)
    assert str(found).splitlines() == [
        "layer  kind      weights        inputs  devices  words   largest weight",
        "0      QCConv2d  3 x 1 x 2 x 2  unit    24       24..27  4",
        "3      QCLinear  12 x 12        unit    288      0..23   2.309",
        "total            156                    312",
        "21 floats beside the devices",
    ]
    shared.write_weights(torch.full((12, 12), 9.0), "clip")
    assert str(summary(net)).splitlines()[2].split()[-2] == "144"
    assert str(summary(nn.ReLU())).endswith("\n0 floats beside the devices")
