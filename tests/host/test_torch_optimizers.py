"""QCSGD with momentum and weight decay, QCAdam, and gradients of devices that are clipped."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from qcloop.crossbar import compiled, reference
from qcloop.errors import CheckpointError, ConfigError, DivergenceError
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCAdam, QCLinear, Sigmoid, cross_entropy
from qcloop.torch.descent import adam, momentum, power


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(seed=1, update="mixed", **settings):
    """Return a small network of dtype float64 in which devices and biases learn."""
    crossbar = Crossbar("ideal", states=64, seed=seed, update=update, weight_range=6.0, **settings)
    return nn.Sequential(
        QCLinear(12, 6, crossbar, dtype=torch.float64),
        Sigmoid(),
        QCLinear(6, 4, crossbar, dtype=torch.float64),
    )


def layers(net):
    return [module for module in net if isinstance(module, QCLinear)]


def batches(count, n=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield (
            torch.rand(n, 12, generator=generator, dtype=torch.float64),
            torch.randint(0, 4, (n,), generator=generator),
        )


def learn(net, optimizer, count=4, seed=1):
    for x, labels in batches(count, seed=seed):
        optimizer.zero_grad()
        cross_entropy(net(x), labels).backward()
        optimizer.step()


def everything(net):
    """Return all that decides how training goes on, as bytes."""
    tensors = [layer.bias.detach() for layer in layers(net)]
    tensors += [value for layer in layers(net) for value in layer.get_extra_state().values()]
    return [tensor.numpy().tobytes() for tensor in tensors]


def accumulated(layer):
    """Return the (out, in) weights that rule mixed has come to."""
    return torch.from_numpy(layer.crossbar.accumulated(layer.on_array).T * layer.on_array.weight_per_code)


PAIRS = {
    "momentum": (
        lambda p: QCSGD(p, 0.5, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.5, momentum=0.9),
    ),
    "nesterov": (
        lambda p: QCSGD(p, 0.5, momentum=0.8, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.5, momentum=0.8, nesterov=True),
    ),
    "weight decay": (
        lambda p: QCSGD(p, 0.5, weight_decay=0.3),
        lambda p: torch.optim.SGD(p, 0.5, weight_decay=0.3),
    ),
    "all of it": (
        lambda p: QCSGD(p, 0.5, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.5, momentum=0.9, weight_decay=0.1),
    ),
    "Adam": (lambda p: QCAdam(p, 0.02), lambda p: torch.optim.Adam(p, 0.02)),
    "Adam with decay": (
        lambda p: QCAdam(p, 0.02, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.02, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1),
    ),
    "AdamW": (
        lambda p: QCAdam(p, 0.02, weight_decay=0.5, decoupled_weight_decay=True),
        lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.5),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_accumulators_and_biases_go_where_the_optimizer_of_pytorch_goes(name):
    ours, theirs = PAIRS[name]
    net = make()
    optimizer = ours(net.parameters())
    floats = [accumulated(layer).double().requires_grad_() for layer in layers(net)]
    floats += [layer.bias.detach().clone().requires_grad_() for layer in layers(net)]
    twin = theirs(floats)
    started = [tensor.detach().clone() for tensor in floats]
    for x, labels in batches(6):
        optimizer.zero_grad()
        cross_entropy(net(x), labels).backward()
        for tensor, layer in zip(floats, layers(net) * 2, strict=True):
            tensor.grad = layer.gradient if tensor.ndim == 2 else layer.bias.grad.clone()
        optimizer.step()
        twin.step()
    for tensor, layer, before in zip(floats, layers(net) * 2, started, strict=True):
        got = accumulated(layer) if tensor.ndim == 2 else layer.bias
        assert (got - tensor).abs().max() < 3e-6 * layer.weight_max
        assert (tensor - before).abs().max() > 1e-2
    level = [layer.weight_max / 31.5 for layer in layers(net)]
    for layer, width in zip(layers(net), level, strict=True):  # devices follow to half a level
        assert (accumulated(layer) - layer.weight).abs().max() <= 0.501 * width


@pytest.mark.parametrize("update", ["mixed", "nearest", "stochastic"])
def test_without_momentum_and_decay_the_bits_are_those_of_plain_descent(update):
    one, other = make(update=update), make(update=update)
    learn(one, QCSGD(one.parameters(), 0.5, momentum=0.0, weight_decay=0.0))
    for x, labels in batches(4):
        other.zero_grad()
        cross_entropy(other(x), labels).backward()
        for layer in reversed(layers(other)):
            with torch.no_grad():
                layer.bias.sub_(layer.bias.grad * 0.5)
            layer.descend(0.5)
    assert everything(one) == everything(other)


def test_a_rule_of_mixed_that_takes_the_gradient_as_a_step_of_its_own_ends_where_it_does_by_itself():
    kernels = []
    for module in (compiled, reference):
        rng = np.random.default_rng(1)
        means, levels = np.arange(0, 320, 10, dtype=np.float32), rng.integers(0, 32, (9, 17)).astype(np.uint8)
        x, d = (
            rng.integers(0, 256, (5, 9)).astype(np.uint8),
            rng.integers(-9999, 9999, (5, 17)).astype(np.int32),
        )
        d[0, 0], x[:, 4] = 2**20, 0
        found = []
        for own in (True, False):
            now, changes, offsets = levels.copy(), np.zeros((3, 153), np.int64), np.zeros((9, 17), np.float32)
            gradient = np.full((9, 17), 7, np.int32)
            module.sum_gradient(x, d, gradient)
            assert (gradient == x.T.astype(int) @ d).all()
            factor = np.float32(3e-5)
            if own:
                step = factor * gradient.astype(np.float32)
                n = module.move_mixed(step, means, np.float32(5), now, changes, offsets)
            else:
                n = module.update_mixed(x, d, factor, means, np.float32(5), now, changes, offsets)
            found.append((n, now.tobytes(), changes.tobytes(), offsets.tobytes()))
        assert found[0] == found[1] and found[0][0] > 0
        kernels.append(found[0])
    assert kernels[0] == kernels[1]


MAKERS = {
    "momentum": lambda p: QCSGD(p, 0.5, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: QCAdam(p, 0.05),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("default", [torch.float32, torch.float16])
def test_training_goes_on_bit_for_bit_from_the_states_of_network_crossbar_and_optimizer(name, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        net = make()
        optimizer = MAKERS[name](net.parameters())
        learn(net, optimizer)
        file = io.BytesIO()
        torch.save([net.state_dict(), net[0].crossbar.state_dict(), optimizer.state_dict()], file)
        file.seek(0)
        saved = torch.load(file)
        other = make()
        resumed = MAKERS[name](other.parameters())
        other.load_state_dict(saved[0])
        other[0].crossbar.load_state_dict(saved[1])
        resumed.load_state_dict(saved[2])
        learn(net, optimizer, seed=2)
        learn(other, resumed, seed=2)
    finally:
        torch.set_default_dtype(before)
    assert everything(net) == everything(other)


@pytest.mark.parametrize("name", MAKERS)
def test_a_fused_step_is_a_step_of_the_loop_with_each_optimizer(name):
    one, other = make(), make()
    optimizers = [MAKERS[name](net.parameters()) for net in (one, other)]
    step = FusedStep(one, optimizers[0])
    for x, labels in batches(4):
        loss = step(x, labels)
        optimizers[1].zero_grad()
        looped = cross_entropy(other(x), labels)
        looped.backward()
        optimizers[1].step()
        assert loss == looped.item()
    assert everything(one) == everything(other)


def test_groups_have_options_of_their_own_and_a_scheduler_moves_rate_and_momentum():
    net, plain = make(), make()
    first, last = layers(net)
    optimizer = QCSGD(
        [
            {"params": [first.devices], "momentum": 0.9},
            {"params": [last.devices, last.bias], "weight_decay": 0.1},
            {"params": [first.bias]},
        ],
        lr=0.5,
    )
    learn(net, optimizer, 1)
    assert list(optimizer.state[first.devices]) == ["momentum_buffer"]
    assert optimizer.state[first.devices]["momentum_buffer"].shape == (12, 6)
    assert not optimizer.state[last.devices] and not optimizer.state[first.bias]
    learn(plain, QCSGD(plain.parameters(), 0.5), 1)
    assert torch.equal(first.bias, layers(plain)[0].bias)
    assert torch.allclose(accumulated(first), accumulated(layers(plain)[0]), atol=1e-6)  # no velocity yet
    assert not torch.equal(accumulated(last), accumulated(layers(plain)[1]))
    optimizer = QCSGD(net.parameters(), lr=0.5, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=4)
    for _ in range(3):
        learn(net, optimizer, 1)
        scheduler.step()
    (group,) = optimizer.param_groups
    assert 0.5 < group["momentum"] < 1 and group["lr"] != 0.5


def test_one_optimizer_has_devices_and_floats_of_any_dtype_and_shape():
    crossbar = Crossbar("ideal", states=64, weight_range=3.0)
    net = nn.Sequential(nn.Linear(5, 12), nn.Sigmoid(), QCLinear(12, 4, crossbar), nn.LayerNorm(4))
    net[3].to(torch.bfloat16)
    gain = nn.Parameter(torch.tensor(1.0))
    for optimizer in (
        QCAdam([*net.parameters(), gain], 0.1),
        QCSGD([*net.parameters(), gain], 0.1, momentum=0.9),
    ):
        before = [p.detach().clone() for p in [*net.parameters(), gain]]
        weight = accumulated(net[2])
        for _ in range(2):
            optimizer.zero_grad()
            (net[3](net[:3](torch.rand(6, 5)).to(torch.bfloat16))[:, 0].float().sum() * gain).backward()
            optimizer.step()
        for was, now in zip(before, [*net.parameters(), gain], strict=True):
            assert was.numel() == 0 or not torch.equal(was, now)
            assert was.dtype == now.dtype and was.shape == now.shape
        assert not torch.equal(weight, accumulated(net[2]))
    transposed = nn.Parameter(torch.rand(3, 4).T)
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = QCAdam([transposed, *embedding.parameters()], lr=0.1)
    (transposed.sum() + embedding(torch.tensor([1])).sum()).backward()
    before, row = transposed.detach().clone(), embedding.weight.detach().clone()
    optimizer.step()
    assert torch.allclose(transposed, before - 0.1, atol=1e-6)
    assert torch.allclose((row - embedding.weight)[1], torch.full((2,), 0.1), atol=1e-6)
    assert torch.equal(row[2:], embedding.weight[2:])
    with pytest.raises(ConfigError, match=r"QCAdam moves real parameters, not torch\.complex64"):
        number = nn.Parameter(torch.ones(1, dtype=torch.complex64))
        number.grad = torch.ones_like(number)
        QCAdam([number]).step()


def test_options_out_of_range_are_refused_by_name():
    parameters = [nn.Parameter(torch.zeros(1))]
    for make_one, message in (
        (lambda: QCSGD(parameters, 0.0), "lr must be a finite number above 0, not 0"),
        (lambda: QCSGD(parameters, None), "lr must be a number, not None"),
        (lambda: QCSGD(parameters, 1.0, momentum="a"), "momentum must be a number, not 'a'"),
        (lambda: QCSGD(parameters, 1.0, momentum=1.0), r"momentum must be 0 to below 1, not 1\.0"),
        (lambda: QCSGD(parameters, 1.0, momentum=-0.1), r"momentum must be 0 to below 1, not -0\.1"),
        (
            lambda: QCSGD(parameters, 1.0, weight_decay=-1),
            "weight_decay must be a finite number, 0 or more, not -1",
        ),
        (lambda: QCSGD(parameters, 1.0, nesterov=True), "nesterov needs a momentum above 0"),
        (lambda: QCSGD([{"params": parameters, "momentum": 2}], 1.0), "momentum must be 0 to below 1, not 2"),
        (lambda: QCAdam(parameters, lr=float("nan")), "lr must be a finite number above 0, not nan"),
        (lambda: QCAdam(parameters, betas=(0.9, 1.0)), r"betas\[1\] must be 0 to below 1, not 1\.0"),
        (lambda: QCAdam(parameters, betas=0.9), r"betas must be two numbers, not 0\.9"),
        (lambda: QCAdam(parameters, eps=0.0), r"eps must be a finite number above 0, not 0\.0"),
        (lambda: QCAdam(parameters, weight_decay=float("inf")), "weight_decay must be a finite number"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_one()
    optimizer = QCSGD(parameters, 1.0)
    parameters[0].grad = torch.ones(1)
    for name, value, message in (
        ("lr", -1.0, r"lr of a parameter group has become -1\.0: it must be a finite number, 0 or more"),
        ("momentum", 1.5, r"momentum must be 0 to below 1, not 1\.5"),
    ):
        optimizer.param_groups[0][name] = value
        with pytest.raises(ConfigError, match=message):
            optimizer.step()
        optimizer.param_groups[0] |= {"lr": 1.0, "momentum": 0.0}


@pytest.mark.parametrize("update", ["nearest", "stochastic"])
def test_other_rules_than_mixed_have_no_accumulators_for_such_steps(update):
    net = make(update=update)
    needs = f"needs the accumulators of update rule mixed, and this crossbar has rule {update}: make it with "
    with pytest.raises(ConfigError, match=f"Adam of devices {needs}update='mixed'"):
        QCAdam(net.parameters())
    with pytest.raises(ConfigError, match=f"momentum or weight decay of devices {needs}"):
        QCSGD(net.parameters(), 0.1, momentum=0.9)
    optimizer = QCSGD(net.parameters(), 0.1)
    with pytest.raises(ConfigError, match=needs):
        optimizer.add_param_group({"params": make(update=update).parameters(), "weight_decay": 0.1})
    assert len(optimizer.param_groups) == 1
    optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(ConfigError, match=needs):
        learn(net, optimizer, 1)
    QCAdam([layer.bias for layer in layers(net)])
    with pytest.raises(
        ConfigError, match=f"update rule {update} has no accumulators that a step could go into"
    ):
        net[0].crossbar.descend_by(net[0].on_array, np.zeros((12, 6), np.float32))


def test_states_of_other_layers_are_refused_and_older_states_keep_the_defaults():
    net, optimizer = make(), None
    optimizer = QCAdam(net.parameters())
    learn(net, optimizer, 1)
    crossbar = Crossbar("ideal", states=64)
    other = nn.Sequential(QCLinear(12, 5, crossbar), Sigmoid(), QCLinear(5, 4, crossbar))
    resumed = QCAdam(other.parameters())
    resumed.load_state_dict(optimizer.state_dict())
    with pytest.raises(CheckpointError, match=r"exp_avg is of parameters of shape \(6, 4\), not \(5, 4\)"):
        learn(other, resumed, 1)
    plain = QCSGD(net.parameters(), 0.5)
    saved = plain.state_dict()
    for name in ("momentum", "weight_decay", "nesterov"):  # as before there was momentum
        del saved["param_groups"][0][name]
    plain.load_state_dict(saved)
    learn(net, plain, 1)
    assert plain.param_groups[0]["momentum"] == 0


def test_a_step_that_is_not_finite_moves_no_device():
    net = make()
    before = [accumulated(layer) for layer in layers(net)]
    for x, labels in batches(1):
        cross_entropy(net(x), labels).backward()
    with pytest.raises(DivergenceError, match=r"the learning step of layer 2 is inf codes"):
        QCSGD([layer.devices for layer in layers(net)], 1e300, momentum=0.5).step()
    assert all(torch.equal(a, accumulated(layer)) for a, layer in zip(before, layers(net), strict=True))


def test_a_closure_an_empty_batch_and_a_parameter_without_gradient():
    net = make()
    optimizer = QCAdam(net.parameters())
    (x, labels), *_ = batches(1)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(net(x), labels)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    state = copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.zero_grad()
    optimizer.step()
    net[0](x[:0]).sum().backward()
    optimizer.step()
    assert str(state[0]) == str(optimizer.state_dict()["state"][0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formulas_have_the_same_bits_where_nothing_is_compiled(dtype):
    rng = np.random.default_rng(1)
    gradient = rng.integers(-9999, 9999, 50).astype(np.int32) if dtype is np.float32 else rng.normal(size=50)
    weight, *moments = (rng.random(50).astype(dtype) for _ in range(3))
    for kernel, count, options in (
        (momentum, 1, (0.3, 0.9, 0.1, True)),
        (adam, 2, (0.3, 0.9, 0.999, 1.7, 30.1, 1e-8, 0.1, False)),
        (adam, 2, (0.3, 0.9, 0.999, 1.7, 30.1, 1e-8, 0.1, True)),
    ):
        found = []
        for function in (kernel, getattr(kernel, "py_func", kernel)):
            kept, step = [values.copy() for values in moments[:count]], np.empty(50, dtype)
            function(gradient, 1e-4, weight, 0.2, *kept, *options, step)
            found.append([values.tobytes() for values in (*kept, step)])
        assert found[0] == found[1]


def test_the_power_is_that_of_repeated_multiplication():
    assert power(0.999, 0) == 1.0 and power(0.5, 10) == 2.0**-10
    assert power(0.999, 12345) == pytest.approx(0.999**12345, rel=1e-12)


# -- clipping -----------------------------------------------------------------------------------


def with_gradient(net=None):
    net = net or make()
    for x, labels in batches(1):
        (20 * cross_entropy(net(x), labels)).backward()
    return net


def full_norm(net, order=2.0):
    parts = [layer.gradient.flatten() for layer in layers(net)] + [layer.bias.grad for layer in layers(net)]
    return torch.linalg.vector_norm(torch.cat(parts), order)


@pytest.mark.parametrize("order", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("foreach", [None, True, False])
def test_clip_grad_norm_of_pytorch_clips_devices_and_floats_together(order, foreach):
    net, free = with_gradient(), with_gradient()
    wanted = full_norm(net, order)
    total = nn.utils.clip_grad_norm_(net.parameters(), 0.5, norm_type=order, foreach=foreach)
    assert total.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert full_norm(net, order).item() == pytest.approx(0.5, rel=1e-5)
    coefficient = 0.5 / (wanted + 1e-6)
    for a, b in zip(layers(net), layers(free), strict=True):
        assert torch.allclose(a.gradient, b.gradient * coefficient, rtol=1e-12)
    untouched = with_gradient()
    nn.utils.clip_grad_norm_(untouched.parameters(), 1e9)
    QCSGD(untouched.parameters(), 0.5).step()
    QCSGD(free.parameters(), 0.5).step()
    assert everything(untouched) == everything(free)


@pytest.mark.parametrize("make_one", [lambda p: QCSGD(p, 0.25), *MAKERS.values()])
def test_a_scaled_gradient_is_a_scaled_step(make_one):
    scaled, halved = with_gradient(), make()
    for p in scaled.parameters():
        p.grad *= 0.5
    for x, labels in batches(1):
        (10 * cross_entropy(halved(x), labels)).backward()
    for net in (scaled, halved):
        make_one(net.parameters()).step()
    assert everything(scaled) == everything(halved)


def test_a_gradient_scaled_between_two_backward_passes_is_scaled_in_part():
    net, later = with_gradient(), with_gradient()
    alone = layers(net)[0].gradient
    for p in net.parameters():
        p.grad.div_(4)
    with_gradient(net)
    assert torch.allclose(layers(net)[0].gradient, 1.25 * alone, atol=1e-3 * alone.abs().max())
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert full_norm(net).item() == pytest.approx(1.0, rel=1e-5)
    later.zero_grad(set_to_none=False)
    assert nn.utils.clip_grad_norm_(later.parameters(), 1.0) == 0.0
    with_gradient(later)
    assert torch.equal(layers(later)[0].gradient, alone)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_gradient_is_scaled_by_finite_numbers(scale):
    net = with_gradient()
    with pytest.raises(ConfigError, match=f"scaled by a finite number, not mul_ {scale}"):
        net[0].devices.grad.mul_(scale)
    with pytest.raises(ConfigError, match=r"scaled by a finite number, not div_ 0\.0"):
        net[0].devices.grad.div_(0)
