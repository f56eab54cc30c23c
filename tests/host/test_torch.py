"""QCLinear: the bits of `qcloop train`, ordinary autograd around it, and errors for a wrong use."""

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.contract.types import Counters
from qcloop.device import builtin
from qcloop.errors import ArrayError, CheckpointError, ConfigError
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCLinear, Sigmoid, cross_entropy
from qcloop.training.trainer import Trainer


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(settings, array=None):
    """Return the network of a run's settings in PyTorch, and its crossbar."""
    names = (
        "states",
        "scheme",
        "update",
        "policy",
        "seed",
        "weight_range",
        "read_noise",
        "adc_bits",
        "stuck_off",
        "variation_gain",
        "variation_offset",
        "chip",
    )
    chosen = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    crossbar = Crossbar(settings.device, array=array, **chosen)
    sizes, relu = settings.layer_sizes(), settings.activation == "relu"
    hidden = "scaled" if relu else "unit"
    modules = []
    for index in range(len(sizes) - 1):
        inputs = hidden if index else ("binary" if settings.input_bits == 1 else "unit")
        bias = settings.bias == "float"
        modules += [QCLinear(*sizes[index : index + 2], crossbar, inputs, bias=bias, dtype=torch.float64)]
        modules += [nn.ReLU() if relu else Sigmoid()]
    return nn.Sequential(*modules[:-1]), crossbar


def loop(net, optimizer, reduction="mean"):
    """Return a training step as PyTorch has it."""

    def step(x, labels):
        optimizer.zero_grad()
        loss = cross_entropy(net(x), labels, reduction)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def train(net, settings, data, make_step=loop):
    """Train a network as the trainer does for one epoch of batches in its order."""
    array = GoldenArray(settings.array_config)
    trainer = Trainer(settings, builtin(settings.device, settings.states or 32), data, array)
    order, optimizer = trainer._order(0), QCSGD(net.parameters(), lr=1.0)
    step = make_step(net, optimizer, "sum")
    for start in range(0, settings.images, settings.batch):
        chosen = order[start : start + settings.batch]
        optimizer.param_groups[0]["lr"] = settings.rate / len(chosen)
        step(torch.from_numpy(trainer._train_x[chosen]), torch.from_numpy(data.train_labels[chosen]))


def layers(net):
    return [module for module in net if isinstance(module, QCLinear)]


RUNS = {
    "nearest": {"recipe": "paper"},
    "stochastic": {"update": "stochastic"},
    "mixed": {"update": "mixed", "batch": 20},
    "relu": {"recipe": "best", "network": "784-24-10", "shift": 0},
    "8 bits, differential": {"input_bits": 8, "scheme": "differential", "activation": "relu"},
    "noise and converter": {"read_noise": 0.5, "adc_bits": 8, "policy": "verify"},
    "stuck cells": {"stuck_off": 0.02, "device": "B", "states": 16},
    "devices that differ": {"variation_gain": 0.1, "variation_offset": 0.3, "chip": 7},
}


@pytest.mark.parametrize("make_step", [loop, FusedStep])
@pytest.mark.parametrize("run", RUNS)
def test_a_network_in_pytorch_is_trained_to_the_bits_of_qcloop_train(run, make_step, mnist, make_settings):
    settings = make_settings(**{**RUNS[run], "images": 330})
    array = GoldenArray(settings.array_config)
    trainer = Trainer(settings, builtin(settings.device, settings.states or 32), mnist, array)
    trainer.initialise()
    for _ in trainer.run_epoch():
        if trainer.progress.image >= 330:
            break
    net, crossbar = build(settings)
    train(net, settings, mnist, make_step)
    for layer, mine in zip(trainer.network.layers, layers(net), strict=True):
        assert (layer.levels == mine.on_array.levels).all()
        assert layer.rule.memory.tobytes() == mine.on_array.rule.memory.tobytes()
        for wanted, got in zip(
            trainer.array.read(layer.region), crossbar.array.read(layer.region), strict=True
        ):
            assert (wanted == got).all()
        if mine.bias is not None:
            assert layer.bias.tobytes() == mine.bias.detach().numpy().tobytes()
    assert trainer.network.crossbar.rounding_position == crossbar.rounding_position
    assert trainer.array.positions().programming == crossbar.array.positions().programming


def ideal(seed=1, **settings):
    return Crossbar("ideal", states=64, seed=seed, weight_range=3.0, **settings)


def small_chain(activation=Sigmoid, inputs="unit", seed=1, **options):
    crossbar = ideal(seed, update="stochastic")
    return nn.Sequential(
        QCLinear(12, 6, crossbar, "unit", dtype=torch.float64, **options),
        activation(),
        QCLinear(6, 4, crossbar, inputs, dtype=torch.float64),
    )


def tensors(net):
    """Return what a network was trained to: biases, levels and codes."""
    biases = [layer.bias.detach() for layer in layers(net) if layer.bias is not None]
    return biases + [value for layer in layers(net) for value in layer.get_extra_state().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def batches(count, n=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.rand(n, 12, generator=generator), torch.randint(0, 4, (n,), generator=generator)


def grouped(net):
    """Return an optimizer whose groups are not in the order of the layers, with a rate each."""
    first, last = layers(net)
    return QCSGD(
        [
            {"params": [last.devices, first.bias], "lr": 2.0},
            {"params": [first.devices]},
            {"params": [last.bias], "lr": 0.1},
        ],
        lr=4.0,
    )


def frozen(net):
    layers(net)[0].devices.requires_grad_(False)
    layers(net)[1].bias.requires_grad_(False)
    return QCSGD([p for p in net.parameters() if p.requires_grad], lr=3.0)


@pytest.mark.parametrize("chain", [small_chain, lambda: small_chain(nn.ReLU, "scaled")])
@pytest.mark.parametrize("optimizer", [lambda net: QCSGD(net.parameters(), lr=3.0), grouped, frozen])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_fused_step_is_a_step_of_the_loop(chain, optimizer, reduction):
    one, other, untrained = chain(), chain(), chain()
    step, looped = FusedStep(one, optimizer(one), reduction), loop(other, optimizer(other), reduction)
    for x, labels in batches(5):
        assert step(x, labels) == looped(x, labels)
    assert same(one, other) and not same(one, untrained)


def test_fused_steps_go_on_when_a_network_was_loaded_converted_or_trained_in_a_loop():
    one, other = small_chain(), small_chain()
    optimizers = [QCSGD(net.parameters(), lr=3.0) for net in (one, other)]
    step, looped = FusedStep(one, optimizers[0]), loop(other, optimizers[1])
    (x, labels), *rest = batches(4)
    step(x, labels), looped(x, labels)
    saved = small_chain(seed=2).state_dict()
    for net in (one, other):
        net.load_state_dict(saved)
        nn.utils.vector_to_parameters(torch.ones(10, dtype=torch.float64), [p.bias for p in layers(net)])
    step(*rest[0]), looped(*rest[0])
    one.float()
    with pytest.raises(ConfigError, match=r"float64 on the host: .*, not torch.float32 on cpu"):
        step(x, labels)
    for net in (one.double(), other.float().double()):
        net(x)
    step(*rest[1]), looped(*rest[1])
    loop(one, optimizers[0])(*rest[2]), looped(*rest[2])
    assert same(one, other)


def test_fused_steps_go_by_a_scheduler():
    one, other = (
        nn.Sequential(
            net[0],
            net[1],
            QCLinear(6, 6, net[0].crossbar, dtype=torch.float64),
            net[1],
            QCLinear(6, 4, net[0].crossbar, dtype=torch.float64),
        )
        for net in (small_chain(), small_chain())
    )
    for net, make_step in ((one, FusedStep), (other, loop)):
        optimizer = QCSGD(net.parameters(), lr=3.0)
        scheduler, step = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), make_step(net, optimizer)
        for x, labels in batches(4):
            step(x, labels)
            scheduler.step()  # warns where no step went before
    assert same(one, other)


def test_a_backward_pass_from_before_a_fused_step_is_refused():
    net = small_chain(bias=False)
    step, ((x, labels),) = FusedStep(net, QCSGD(net.parameters(), lr=3.0)), batches(1)
    loss = cross_entropy(net(x), labels)
    step(x, labels)
    with pytest.raises(ArrayError, match="programmed between forward and backward"):
        loss.backward()


def test_a_fused_step_says_what_it_does_not_take():
    crossbar = ideal()
    chain, ours = r"between each two of them qcloop\.torch\.Sigmoid", small_chain()

    def layer(rows, cols, inputs="unit", on=crossbar):
        return QCLinear(rows, cols, on, inputs)

    class Own(QCLinear):
        """A layer that may do what a fused step does not know of."""

    twice = layer(3, 3)

    for net, message in (
        (nn.Sequential(layer(4, 3), nn.Tanh(), layer(3, 2)), rf"{chain}.* not Sequential of .*; Tanh; "),
        (nn.Sequential(layer(4, 3), nn.Sigmoid(), layer(3, 2)), chain),
        (nn.Sequential(layer(4, 3), nn.ReLU(), layer(3, 2)), chain),
        (nn.Sequential(layer(4, 3), Sigmoid(), layer(3, 2, "binary")), chain),
        (nn.Sequential(layer(4, 3), Sigmoid(), layer(3, 2), nn.ReLU(), layer(2, 2, "scaled")), chain),
        (nn.Sequential(layer(4, 3), Sigmoid(), layer(3, 2, on=ideal())), chain),
        (nn.Sequential(layer(4, 3), Sigmoid(), layer(2, 2)), chain),
        (nn.Sequential(layer(4, 3), Sigmoid()), chain),
        (nn.Sequential(twice, Sigmoid(), twice), chain),
        (nn.Sequential(Own(3, 3, crossbar)), rf"{chain}.* not Sequential of Own"),
        (nn.Sequential(nn.Linear(4, 3), Sigmoid(), layer(3, 2)), chain),
        (nn.Sequential(), rf"{chain}.* not Sequential of nothing"),
        (layer(4, 3), chain),
    ):
        with pytest.raises(ConfigError, match=message):
            FusedStep(net, QCSGD([nn.Parameter(torch.zeros(1))], lr=1.0))
    everything = [*ours.parameters(), nn.Parameter(torch.zeros(1))]
    for parameters in (layers(ours)[0].parameters(), everything):
        with pytest.raises(ConfigError, match=r"make it by QCSGD\(net.parameters\(\), lr\)"):
            FusedStep(ours, QCSGD(parameters, lr=1.0))
    with pytest.raises(ConfigError, match="by QCSGD or QCAdam, not SGD"):
        FusedStep(ours, torch.optim.SGD(ours.parameters(), lr=1.0))
    with pytest.raises(ConfigError, match="mean or sum, not 'none'"):
        FusedStep(ours, QCSGD(ours.parameters(), lr=1.0), "none")


def test_a_fused_step_that_cannot_be_done_changes_nothing():
    net, untrained = small_chain(), small_chain()
    step, ((x, labels),) = FusedStep(net, QCSGD(net.parameters(), lr=3.0)), batches(1)
    for arguments, message in (
        ((x[:, :5], labels), r"inputs must be \(n, 12\), not \(7, 5\)"),
        ((x[0], labels), r"inputs must be \(n, 12\), not \(12,\)"),
        ((2 * x, labels), r"inputs must be 0\.\.1 \(unit\)"),
        ((x, labels[:3]), r"one for each vector, and at least one, not \(3,\) for 7 vectors"),
        ((x[:0], labels[:0]), r"at least one, not \(0,\) for 0 vectors"),
        ((x, labels + 3), r"labels must be integers 0\.\.3, not torch\.int64 3\.\."),
        ((x, labels - 1), r"labels must be integers 0\.\.3, not torch\.int64 -1\.\."),
        ((x, labels.double().requires_grad_()), r"labels must be integers 0\.\.3, not torch\.float64"),
    ):
        with pytest.raises(ConfigError, match=message):
            step(*arguments)
    assert same(net, untrained)
    with torch.no_grad():
        layers(net)[1].bias.fill_(float("nan"))
    with pytest.raises(
        ConfigError,
        match="the loss of a FusedStep is not a finite number, as the bias of layer 2 is nan: use",
    ):
        step(x, labels)
    layers(net)[1].bias.data.zero_()
    assert same(net, untrained)
    with torch.no_grad():
        layers(net)[1].devices.mul_(0.9)  # as another optimizer does
    with pytest.raises(ConfigError, match=r"train its parameters by qcloop\.torch\.QCSGD"):
        step(x, labels)


@pytest.mark.parametrize("update", ["nearest", "stochastic", "mixed"])
def test_the_gradient_is_the_hosts_to_the_last_bit(update, mnist, make_settings):
    settings = make_settings(update=update, images=32)
    trainer = Trainer(settings, builtin("A"), mnist, GoldenArray())
    trainer.initialise()
    wanted = {}

    def note(layer, x, x_scale, delta, rate):
        d, largest, top = trainer.network.crossbar.errors(layer, delta, x_scale)
        wanted[layer.index] = (x.astype(np.int64).T @ d).T * (largest / top), delta.sum(axis=0)

    trainer.network.crossbar.update = note
    x, labels = trainer._train_x, trainer._train_labels
    trainer.network.train(x, labels, 0.1, np.zeros(32))
    net, _ = build(settings)
    cross_entropy(net(torch.from_numpy(x)), torch.tensor(labels), reduction="sum").backward()
    for index, layer in enumerate(layers(net)):
        gradient, total = wanted[index]
        assert np.abs(gradient).max() > 0
        assert layer.gradient.numpy().tobytes() == np.ascontiguousarray(gradient).tobytes()
        assert layer.bias.grad.numpy() == pytest.approx(total, rel=1e-12)


def test_gradients_of_a_mixed_network_are_those_of_a_float_network():
    """Float layers before and after, 64 ideal states: off by the quantisation to 8 bits and no more."""
    torch.manual_seed(3)
    crossbar = ideal()
    qc = QCLinear(20, 12, crossbar, dtype=torch.float64)
    before, after = nn.Linear(5, 20).double(), nn.Linear(12, 3).double()
    x, weights = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)

    def loss(middle):
        return (after(middle(torch.sigmoid(before(x)))) * weights).sum()

    found = {}
    for name, middle in (("qc", qc), ("float", lambda a: a @ qc.weight.T + qc.bias)):
        for module in (before, after, qc):
            module.zero_grad()
        loss(middle).backward()
        found[name] = [p.grad.clone() for module in (before, after) for p in module.parameters()] + [
            qc.bias.grad
        ]
        if name == "qc":
            gradient = qc.gradient
    assert torch.allclose(
        after(qc(torch.sigmoid(before(x)))),
        after(torch.sigmoid(before(x)) @ qc.weight.T + qc.bias),
        atol=0.02,
    )
    for got, wanted in zip(found["qc"], found["float"], strict=True):
        assert (got - wanted).abs().max() < 0.02 * wanted.abs().max()
    weight = qc.weight.clone().requires_grad_()
    loss(lambda a: a @ weight.T + qc.bias).backward()
    assert (gradient - weight.grad).abs().max() < 0.02 * weight.grad.abs().max()


def test_two_backward_passes_are_one_of_both_batches():
    torch.manual_seed(1)
    x, w = torch.rand(8, 6), torch.randn(8, 4)
    together, apart = QCLinear(6, 4, ideal()), QCLinear(6, 4, ideal())
    (together(x) * w).sum().backward()
    for half in (slice(0, 3), slice(3, 8)):
        (apart(x[half]) * w[half]).sum().backward()
    assert torch.equal(together.gradient, apart.gradient)
    QCSGD(together.parameters(), lr=0.3).step()
    QCSGD(apart.parameters(), lr=0.3).step()
    assert torch.equal(together.weight, apart.weight) and torch.allclose(together.bias, apart.bias)
    assert not torch.equal(together.weight, QCLinear(6, 4, ideal()).weight)
    apart.zero_grad()
    assert apart.gradient is None
    (apart(x) * w).sum().backward()
    assert len(apart._record.batches) == 1


def test_shapes_types_and_codings_of_inputs():
    crossbar = ideal()
    layer, binary, scaled = (
        QCLinear(4, 3, crossbar),
        QCLinear(4, 3, crossbar, "binary"),
        QCLinear(4, 3, crossbar, "scaled"),
    )
    x = torch.tensor([[0.0, 0.2, 0.6, 1.0]])
    pixels = torch.tensor([[0, 51, 153, 255]], dtype=torch.uint8)
    assert torch.equal(layer(x), layer(pixels))
    assert torch.equal(binary(x), binary((x > 0.5).to(torch.uint8)))
    assert torch.equal(scaled(x * 4), scaled(x) * 4)
    assert layer(x.expand(2, 5, 4)).shape == (2, 5, 3) and layer(x[0]).shape == (3,)
    assert layer(x.double()).dtype is torch.float32 and layer.double()(x).dtype is torch.float64
    assert layer.bias.dtype is torch.float64 and isinstance(layer.devices, nn.Parameter)
    y = layer(x.to(torch.bfloat16).requires_grad_())
    assert y.requires_grad
    assert "in_features=4, out_features=3, inputs=scaled" in repr(scaled)


def test_a_saved_network_goes_on_bit_for_bit_on_other_lanes(mnist, make_settings):
    settings = make_settings(update="stochastic", images=320)

    def rest(net):
        train(net, settings, mnist)
        return [array for layer in layers(net) for array in layer.crossbar.array.read(layer.on_array.region)]

    net, crossbar = build(settings)
    train(net, settings, mnist)
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "crossbar": crossbar.state_dict()}, file)
    writes = crossbar.cost().writes
    wanted = rest(net)
    file.seek(0)
    saved = torch.load(file)
    other, fresh = build(settings, GoldenArray(ArrayConfig(lanes=4, cells=1 << 16)))
    other.load_state_dict(saved["net"])
    fresh.load_state_dict(saved["crossbar"])
    assert fresh.cost().writes == writes
    for a, b in zip(wanted, rest(other), strict=True):
        assert (a == b).all()
    without_lanes = [replace(each.counters(), cycles=0) for each in (fresh, crossbar)]
    assert without_lanes[0] == without_lanes[1] and fresh.cost() == crossbar.cost()


def test_states_of_another_crossbar_are_refused_and_change_nothing():
    crossbar, other = ideal(), Crossbar("A", seed=2)
    layer, wrong, small = QCLinear(4, 3, crossbar), QCLinear(4, 3, other), QCLinear(3, 3, other)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError, match="32 weight levels, and this crossbar's 64"):
        layer.set_extra_state(wrong.get_extra_state())
    with pytest.raises(CheckpointError, match=r"cell_levels must be \(3, 3\), not \(4, 3\)"):
        small.set_extra_state(wrong.get_extra_state())
    with pytest.raises(CheckpointError, match="not the state of a QCLinear"):
        layer.set_extra_state({})
    with pytest.raises(CheckpointError, match=r"seed 2, not 1|mean codes|spread codes"):
        crossbar.load_state_dict(other.state_dict())
    with pytest.raises(CheckpointError, match="not the state of a crossbar"):
        crossbar.load_state_dict({})
    with pytest.raises(
        CheckpointError, match=r"layers \{'transitions': \(65, 64\), 'layer0.shadow': \(12,\)"
    ):
        ideal().load_state_dict(crossbar.state_dict())
    assert torch.equal(before, layer.weight)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("foreach", [True, False])
def test_an_optimizer_that_cannot_program_is_noticed(make, foreach):
    layer = QCLinear(4, 3, ideal())
    optimizer = make(layer.parameters(), lr=0.1, foreach=foreach)
    layer(torch.rand(2, 4)).sum().backward()
    with pytest.raises(ConfigError, match=r"does not see the gradient of devices.*qcloop\.torch\.QCSGD"):
        optimizer.step()


def test_a_parameter_that_was_changed_without_its_gradient_is_noticed():
    layer = QCLinear(4, 3, ideal())
    with torch.no_grad():
        layer.devices.mul_(0.9)  # as an optimizer's weight decay does
    with pytest.raises(ConfigError, match=r"qcloop\.torch\.QCSGD"):
        layer(torch.rand(2, 4))


WRITES = {
    "init": lambda layer: nn.init.xavier_uniform_(layer.weight),
    "init of another kind": lambda layer: nn.init.zeros_(layer.weight),
    "init normal": lambda layer: nn.init.normal_(layer.weight),
    "init uniform": lambda layer: nn.init.uniform_(layer.weight),
    "init constant": lambda layer: nn.init.constant_(layer.weight, 0.0),
    "init kaiming": lambda layer: nn.init.kaiming_uniform_(layer.weight),
    "data": lambda layer: layer.weight.data.fill_(0.0),
    "elements of its data": lambda layer: layer.weight.data.__setitem__(slice(None), torch.zeros(3, 4)),
    "all elements": lambda layer: layer.weight.__setitem__(slice(None), torch.zeros(3, 4)),
    "detached": lambda layer: layer.weight.detach().mul_(2.0),
    "a row of it": lambda layer: layer.weight[0].copy_(torch.zeros(4)),
    "an element": lambda layer: layer.weight.__setitem__((0, 0), 1.0),
    "in place": lambda layer: layer.weight.__iadd__(1.0),
    "out": lambda layer: torch.add(torch.ones(3, 4), 1.0, out=layer.weight),
    "its data": lambda layer: setattr(layer.weight, "data", torch.zeros(3, 4)),
    "several": lambda layer: torch._foreach_mul_([layer.weight], 2.0),
}


@pytest.mark.parametrize("write", WRITES)
def test_writing_to_the_weight_of_a_layer_is_an_error(write):
    layer = QCLinear(4, 3, ideal())
    with pytest.raises(ConfigError, match=r"weight of a device layer would move no device: .*write_weights"):
        WRITES[write](layer)


def test_the_weight_of_a_layer_cannot_be_set_but_read():
    layer = QCLinear(4, 3, ideal())
    for value in (torch.zeros(3, 4), nn.Parameter(torch.zeros(3, 4)), 0.0):
        with pytest.raises(ConfigError, match="the weight of a QCLinear cannot be set"):
            layer.weight = value
    copied = layer.weight.clone()
    assert type(copied) is type(layer.weight * 2) is type(layer.weight.float().abs().sum()) is torch.Tensor
    copied.fill_(0.0)
    assert (layer.weight != 0).any()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.numpy()[:] = 0.0


@pytest.mark.parametrize("rate", [torch.zeros(3, 4), np.zeros((3, 4)), -1.0, float("nan"), "0.1", None])
def test_descend_takes_a_rate(rate):
    layer = QCLinear(4, 3, ideal())
    layer(torch.rand(2, 4)).sum().backward()
    with pytest.raises(ConfigError, match="descend takes the rate by which to descend along the gradient"):
        layer.descend(rate)
    with pytest.raises(ConfigError, match=r"write_weights\(w\) programs weights, and descend\(rate\)"):
        layer.program(rate)


@pytest.mark.parametrize(
    "look",
    [
        lambda parameters: nn.utils.clip_grad_value_(parameters, 1.0),
        lambda parameters: nn.utils.clip_grad_value_(parameters, 1.0, foreach=False),
        lambda parameters: sum(p.grad.abs().max() for p in parameters),
        lambda parameters: [p.grad * 0.5 for p in parameters],
        lambda parameters: [p.grad.add_(p, alpha=0.1) for p in parameters],
    ],
)
def test_what_looks_at_gradients_or_changes_them_is_told_that_it_does_not_see_devices(look):
    layer = QCLinear(4, 3, ideal())
    for _ in range(2):
        layer(torch.rand(2, 4)).sum().backward()
        with torch.no_grad(), pytest.raises(ConfigError, match="does not see the gradient of devices"):
            look(list(layer.parameters()))


def test_gradients_set_to_zero_are_forgotten():
    layer = QCLinear(4, 3, ideal())
    optimizer = QCSGD(layer.parameters(), lr=1.0)
    layer(torch.rand(2, 4)).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    before = layer.weight.clone()
    optimizer.step()
    assert layer.gradient is None
    assert torch.equal(before, layer.weight)
    x = torch.rand(2, 4)
    layer(x).sum().backward()
    alone = layer.gradient
    layer.zero_grad()
    layer(x).sum().backward()
    assert torch.equal(alone, layer.gradient)


def test_an_empty_batch_teaches_nothing():
    crossbar = ideal()
    layer = QCLinear(4, 3, crossbar)
    before = layer.weight.clone()
    y = layer(torch.rand(0, 4))
    assert y.shape == (0, 3)
    y.sum().backward()
    QCSGD(layer.parameters(), lr=1.0).step()
    assert layer.gradient is None
    assert torch.equal(before, layer.weight)


def test_states_and_copies_are_of_one_chip():
    def make(**given):
        crossbar = ideal(**given)
        return crossbar, QCLinear(4, 3, crossbar)

    (crossbar, layer), (other, _), (alike, _) = (
        make(variation_gain=0.1),
        make(variation_gain=0.1, chip=2),
        make(),
    )
    for theirs in (other, alike):
        for a, b in ((crossbar, theirs), (theirs, crossbar)):
            with pytest.raises(CheckpointError, match="of a crossbar with variation"):
                a.load_state_dict(b.state_dict())
    assert layer.read_weights().ne(layer.weight).any()
    copied = copy.deepcopy(layer).crossbar
    (gains, _), (same, _) = (c.array.read_variation(c.layers[0].region) for c in (crossbar, copied))
    assert gains.any() and (gains == same).all()


def test_a_crossbar_is_not_copied():
    for copy_of in (copy.copy, pickle.dumps):
        with pytest.raises(ConfigError, match=r"a Crossbar cannot be pickled or copied by copy\.copy"):
            copy_of(ideal())


def test_what_cannot_be_done_says_so():
    crossbar = ideal()
    layer = QCLinear(4, 3, crossbar)
    for values, message in (
        ([0.0, 0.5, 1.5, 0.0], r"0\.\.1 \(unit\), not 1\.5: put a sigmoid"),
        ([0.0, float("nan"), 0.0, 0.0], r"0\.\.1 \(unit\), not nan"),
        ([0.0, 0.0, 0.0], r"inputs must be \(\.\.\., 4\), not \(1, 3\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            layer(torch.tensor([values]))
    with pytest.raises(ConfigError, match=r"0 or more \(scaled\), not -1: put a ReLU .* inputs='signed'"):
        QCLinear(4, 3, crossbar, "scaled")(-torch.ones(1, 4))
    with pytest.raises(ConfigError, match=r"finite numbers \(signed\), not inf"):
        QCLinear(4, 3, crossbar, "signed")(torch.tensor([[-1.0, 0.0, float("inf"), 0.0]]))
    with pytest.raises(ConfigError, match="binary, unit, scaled, signed, not 'both'"):
        QCLinear(4, 3, crossbar, "both")
    x = torch.rand(2, 4, requires_grad=True)
    y = layer(x)
    with pytest.raises(ConfigError, match="not a finite number"):
        y.backward(torch.full_like(y, float("nan")))
    with pytest.raises(ConfigError, match="no second derivative"):
        torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    with pytest.raises(ConfigError, match=r"cannot be pickled or copied by copy\.copy"):
        copy.copy(layer)
    y = layer(x)
    layer(x).sum().backward()
    QCSGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(ArrayError, match="programmed between forward and backward"):
        y.sum().backward()


def test_a_crossbar_says_what_it_does_not_take():
    array = GoldenArray(ArrayConfig(lanes=4, cells=64))
    for settings, message in (
        ({"rate": 0.1}, "unknown setting 'rate': expected one of device, states, reading, sigma, scheme, "),
        ({"lanes": 4}, "lanes is not a setting of this crossbar: the array decides it"),
        ({"stats": 4}, "unknown setting 'stats'"),
        ({"states": "many"}, "states must be of type int, not 'many'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Crossbar("A", array=array, **settings)
    crossbar = Crossbar("A", array=array)
    QCLinear(8, 4, crossbar)
    with pytest.raises(
        ConfigError, match=r"8 x 5 weights needs 64 cells \(single, 4 lanes\), but 32 of 64 are left"
    ):
        QCLinear(8, 5, crossbar)
    QCLinear(4, 8, crossbar)
    with pytest.raises(ConfigError, match="lr must be a finite number above 0, not 0"):
        QCSGD([], lr=0)


def test_a_loss_says_what_it_does_not_take():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    assert cross_entropy(logits, labels).item() == pytest.approx(np.log(3))
    for arguments, message in (
        ((logits, labels, "none"), "reduction must be mean or sum, not 'none'"),
        ((logits, labels[:1]), r"one for each vector, and at least one, not \(1,\) for 2 vectors"),
        ((logits, labels + 1), r"integers 0\.\.2, not torch.int64 1\.\.3"),
        ((logits, labels.float()), r"integers 0\.\.2, not torch.float32"),
    ):
        with pytest.raises(ConfigError, match=message):
            cross_entropy(*arguments)


def test_own_sigmoid_and_loss_agree_with_torch():
    torch.manual_seed(1)
    z = (10 * torch.randn(6, 5, dtype=torch.float64)).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    for ours, theirs in (
        (lambda: (Sigmoid()(z) ** 2).sum(), lambda: (torch.sigmoid(z) ** 2).sum()),
        (lambda: cross_entropy(z, labels), lambda: nn.functional.cross_entropy(z, labels)),
        (
            lambda: cross_entropy(z, labels, "sum"),
            lambda: nn.functional.cross_entropy(z, labels, reduction="sum"),
        ),
    ):
        values = []
        for loss in (ours(), theirs()):
            z.grad = None
            loss.backward()
            values.append((loss.detach(), z.grad.clone()))
        assert torch.allclose(values[0][0], values[1][0], rtol=1e-12)
        assert torch.allclose(values[0][1], values[1][1], rtol=1e-9, atol=1e-15)


def test_frozen_devices_are_not_programmed():
    layer = QCLinear(4, 3, ideal())
    layer.devices.requires_grad_(False)
    layer(torch.rand(2, 4)).sum().backward()
    optimizer = QCSGD(layer.parameters(), lr=1.0)
    before = layer.weight.clone()
    optimizer.step()
    assert torch.equal(before, layer.weight) and layer.gradient is None and layer.bias.abs().sum() > 0


def test_counters_and_cost_are_those_of_the_array():
    crossbar = Crossbar("A")
    QCLinear(4, 3, crossbar)
    assert crossbar.counters().programmed == crossbar.cost().writes == 12
    assert isinstance(crossbar.counters(), Counters)
