"""What PyTorch does with a network on devices works, or says in one line why it does not."""

import copy
import io
import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from qcloop.array import GoldenArray
from qcloop.errors import ConfigError
from qcloop.torch import QCSGD, Crossbar, FusedStep, QCAdam, QCConv2d, QCLinear, Sigmoid, cross_entropy


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


#: PyTorch hides this warning of its own, but not where warnings are errors.
DYNAMO = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def make(**settings):
    crossbar = Crossbar("A", seed=1, **settings)
    return nn.Sequential(QCLinear(12, 6, crossbar, "binary"), nn.Sigmoid(), QCLinear(6, 4, crossbar))


def batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(9, 12, generator=generator), torch.randint(0, 4, (9,), generator=generator)


def learn(net, optimizer=None, called=None, steps=3):
    """Train for some steps; return the losses."""
    optimizer = optimizer or QCSGD(net.parameters(), lr=0.5)
    x, labels = batch()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy((called or net)(x).float(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def state(net):
    """Return all that decides how training goes on, as text."""
    parts = {**net.state_dict(), "crossbar": net[0].crossbar.state_dict()}
    return str({name: numbers(part) for name, part in parts.items()})


def numbers(part):
    if isinstance(part, dict):
        return {name: numbers(value) for name, value in part.items()}
    return part.tolist() if isinstance(part, torch.Tensor) else part


# -- copies -------------------------------------------------------------------------------------


def test_a_copied_network_goes_on_as_the_original_does_bit_for_bit_and_shares_nothing_with_it():
    net = make(read_noise=0.1, stuck_off=0.05, update="stochastic", array=None)
    net[2].devices.requires_grad_(False)
    optimizer = QCSGD(net.parameters(), lr=0.5)
    learn(net, optimizer)
    copied, others = copy.deepcopy((net, optimizer))
    assert state(copied) == state(net)
    assert copied[0].crossbar is copied[2].crossbar is not net[0].crossbar
    assert [name for name, _ in copied.named_parameters()] == [name for name, _ in net.named_parameters()]
    assert copied[0].gradient is None and not copied[2].devices.requires_grad
    before = state(net)
    losses = learn(copied, others)
    assert state(net) == before != state(copied)
    assert learn(net, optimizer) == losses
    assert state(net) == state(copied)
    assert torch.equal(*(QCLinear(3, 3, n[0].crossbar).weight for n in (net, copied)))


def test_a_copied_optimizer_keeps_what_it_remembers():
    net = make()
    optimizer = QCAdam(net.parameters(), lr=0.05)
    learn(net, optimizer)
    copied, others = copy.deepcopy((net, optimizer))
    assert learn(copied, others) == learn(net, optimizer)


def test_a_convolution_with_adam_and_clipping_is_copied_as_well():
    crossbar = Crossbar("A", seed=1)
    net = nn.Sequential(
        QCConv2d(1, 2, 3, crossbar, "signed"), nn.Flatten(), QCLinear(8, 4, crossbar, "signed")
    )
    optimizer, x = QCAdam(net.parameters(), lr=0.05), torch.randn(5, 1, 4, 4)

    def step(net, optimizer):
        optimizer.zero_grad()
        loss = cross_entropy(net(x), torch.tensor([0, 1, 2, 3, 0]))
        loss.backward()
        assert nn.utils.clip_grad_norm_(net.parameters(), 0.1) > 0.1
        optimizer.step()
        return loss.item()

    first = step(net, optimizer)
    copied, others = copy.deepcopy((net, optimizer))
    assert first != step(net, optimizer) == step(copied, others)
    assert torch.equal(net[0].read_weights(), copied[0].read_weights())
    assert state(net) == state(copied)


def test_a_crossbar_on_a_board_is_not_copied():
    class Board(GoldenArray):
        """Not a golden model as such."""

    net = make()
    net[0].crossbar.array.__class__ = Board
    copy.deepcopy(net)  # a golden model of another name is one
    net[0].crossbar.array = object()
    with pytest.raises(
        ConfigError, match="a Crossbar on a board cannot be copied, since its devices are there"
    ):
        copy.deepcopy(net)


def test_networks_are_not_pickled_and_say_what_to_save():
    net = make()
    step = FusedStep(*fused())
    for what, save in (
        ("QCLinear", lambda: torch.save(net, io.BytesIO())),
        ("QCLinear", lambda: torch.save(list(net.parameters()), io.BytesIO())),
        ("QCLinear", lambda: torch.save(QCSGD(net.parameters(), 0.1), io.BytesIO())),
        ("QCLinear", lambda: copy.copy(net[0])),
        ("Crossbar", lambda: copy.copy(net[0].crossbar)),
    ):
        with pytest.raises(
            ConfigError,
            match=rf"a {what} cannot be pickled or copied by copy\.copy, .*save the state_dict of",
        ):
            save()
    with pytest.raises(ConfigError, match=r"a FusedStep cannot be copied or pickled: copy network and optim"):
        copy.deepcopy(step)
    assert copy.copy(net)[0] is net[0]


def fused():
    crossbar = Crossbar("A", seed=1)
    net = nn.Sequential(
        QCLinear(12, 6, crossbar, "binary", dtype=torch.float64),
        Sigmoid(),
        QCLinear(6, 4, crossbar, dtype=torch.float64),
    )
    return net, QCSGD(net.parameters(), lr=0.5)


def test_an_average_of_networks_is_noticed():
    net = make()
    average = torch.optim.swa_utils.AveragedModel(net)
    average.update_parameters(net)
    with pytest.raises(
        ConfigError, match=r"\(an optimizer, an average of networks, nn\.init\) has written to"
    ):
        average(batch()[0])


# -- graphs and transformations -----------------------------------------------------------------


@DYNAMO
def test_a_compiled_network_has_the_bits_of_one_that_is_not():
    torch._dynamo.reset()
    one, other = make(), make()
    compiled = torch.compile(one, backend="eager")
    assert learn(one, called=compiled) == learn(other)
    assert torch.equal(compiled.eval()(batch()[0]), other.eval()(batch()[0]))
    assert state(one) == state(other)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"(?s)devices are on an array.* compile without fullgraph=True"):
        torch.compile(make(), backend="eager", fullgraph=True)(batch()[0])


@pytest.mark.slow
@DYNAMO
def test_a_whole_step_can_be_compiled():
    torch._dynamo.reset()
    one, other = make(), make()
    optimizer, (x, labels) = QCSGD(one.parameters(), lr=0.5), batch()

    @torch.compile(backend="eager")
    def step():
        optimizer.zero_grad()
        loss = cross_entropy(one(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    looped = QCSGD(other.parameters(), lr=0.5)
    for _ in range(3):
        step()
        looped.zero_grad()
        cross_entropy(other(x), labels).backward()
        looped.step()
    assert state(one) == state(other)


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_exports_and_transformations_are_refused_in_one_line():
    net, (x, _) = make(), batch()
    for call, message in (
        (
            lambda: torch.jit.trace(net, x),
            "devices cannot be exported: torch.jit and torch.export would keep",
        ),
        (lambda: torch.export.export(net, (x,)), "devices cannot be exported: torch.jit and torch.export"),
        (lambda: torch.jit.script(net), r"a QCLinear cannot be scripted by torch\.jit"),
        (lambda: torch.func.vmap(net)(x.unsqueeze(1)), r"torch\.func \(vmap, grad, jvp, jacrev\) cannot"),
        (
            lambda: torch.func.grad(lambda a: net(a).sum())(x),
            r"torch\.func \(vmap, grad, jvp, jacrev\) cannot",
        ),
        (lambda: torch.func.vmap(Sigmoid())(x), r"torch\.func \(vmap, grad, jvp, jacrev\) cannot"),
        (net[0]._replicate_for_data_parallel, r"a QCLinear cannot be replicated by nn\.DataParallel"),
        (lambda: net(x.to("meta")), "a tensor on the device meta has no numbers to compute with"),
        (lambda: net((x > 0.5).to(torch.uint8).to("meta")), "a tensor on the device meta has no numbers"),
        (lambda: make().to("meta")(x), "a tensor on the device meta has no numbers to compute with"),
    ):
        with pytest.raises(ConfigError, match=message) as raised:
            call()
        assert "\n" not in str(raised.value)
    assert torch.func.functional_call(net, dict(net.named_parameters()), (x,)).shape == (9, 4)
    assert nn.DataParallel(net)(x).shape == (9, 4)


# -- the rest of an ordinary script -------------------------------------------------------------


def test_a_hook_on_the_devices_cannot_change_their_gradient():
    net, (x, _) = make(), batch()
    net[0].devices.register_hook(lambda gradient: gradient * 0.5)
    with pytest.raises(ConfigError, match="mul does not see the gradient of devices"):
        net(x).sum().backward()
    net = make()
    gradients = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    with pytest.raises(ConfigError, match="abs does not see the gradient of devices"):
        gradients[0].abs()


def test_a_state_is_loaded_by_assigning():
    net, other = make(), make()
    learn(net)
    other.load_state_dict(copy.deepcopy(net.state_dict()), assign=True)
    other[0].crossbar.load_state_dict(net[0].crossbar.state_dict())
    assert learn(net) == learn(other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_outputs_have_the_dtype_of_the_layer(dtype):
    net, (x, _) = make().to(dtype), batch()
    assert net(x).dtype is dtype and learn(net)[-1] > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(x).dtype is dtype


def test_modes_hooks_slices_and_graphs_that_are_retained():
    net, (x, labels) = make(), batch()
    seen = []
    net[2].register_full_backward_hook(lambda *of: seen.append(tuple(of[1][0].shape)))
    net[0].register_forward_hook(lambda *of: seen.append("forward"))
    loss = cross_entropy(net(x), labels)
    loss.backward(retain_graph=True)
    once = net[0].gradient
    loss.backward()
    assert torch.equal(net[0].gradient, 2 * once) and seen == ["forward", (9, 6), (9, 6)]
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert not net(x).requires_grad
    assert learn(net)[-1] < loss.item()
    assert net[:2](x).shape == (9, 6)
    with pytest.raises(ConfigError, match="on the weight of a device layer would move no device"):
        net.apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, QCLinear) else None)


class Doubled(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((12,), index / 8), index % 4


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_images_may_come_from_worker_processes():
    losses = []
    for workers in (0, 1):
        net = make()
        optimizer = QCSGD(net.parameters(), lr=0.5)
        context = "fork" if workers else None
        for x, labels in DataLoader(Doubled(), 4, num_workers=workers, multiprocessing_context=context):
            optimizer.zero_grad()
            loss = cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    data = TensorDataset((batch()[0] * 255).to(torch.uint8), batch()[1])
    assert all(net(x.to(torch.float32) / 255).shape == (len(y), 4) for x, y in DataLoader(data, 4))


def test_several_processes_with_devices_of_their_own_are_told_so(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for count in (1, 2):
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda count=count: count)
        if count == 1:
            QCSGD(make().parameters(), lr=0.1)
            continue
        with pytest.warns(
            UserWarning, match="has 2 processes, and each programs devices of its own"
        ) as noted:
            QCSGD(make().parameters(), lr=0.1)
        assert noted[0].filename == __file__
