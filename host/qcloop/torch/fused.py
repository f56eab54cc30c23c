"""A training step of a plain network in one call: the bits of a loop, without the time of autograd."""

from itertools import pairwise
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from torch import nn

from qcloop.errors import ConfigError, DivergenceError
from qcloop.torch.encoding import Inputs
from qcloop.torch.exchange import untraced
from qcloop.torch.functions import Sigmoid, check_labels, check_reduction, cross_entropy_of
from qcloop.torch.layer import DeviceWeights
from qcloop.torch.linear import QCLinear
from qcloop.torch.optimizer import DeviceOptimizer, rate_of
from qcloop.training import compiled
from qcloop.training.chain import Batch, Chain
from qcloop.training.settings import Activation

#: Modules that may be between two layers: the activation that each is, and the inputs of the next layer.
_BETWEEN: dict[type[nn.Module], tuple[Activation, Inputs]] = {
    Sigmoid: (Activation.SIGMOID, Inputs.UNIT),
    nn.ReLU: (Activation.RELU, Inputs.SCALED),
}


class FusedStep:
    """Trains a chain of :class:`QCLinear` layers: one call is one step on one batch.

    A step does what ``zero_grad``, ``net(x)``, :func:`cross_entropy`, ``backward`` and ``optimizer.step`` do,
    to the last bit, and takes as long as a step of ``qcloop train``. It neither uses nor leaves gradients,
    and calls no hooks. On a board, several micro-batches of a batch are in flight together.

    Parameters
    ----------
    net : nn.Sequential
        Layers of dtype float64 on one crossbar. Between each two of them is :class:`Sigmoid`, and the second
        has inputs ``unit``; or nn.ReLU, and it has inputs ``scaled``.
    optimizer : QCSGD or QCAdam
        Has every parameter of the network that is to be trained, and no other. Its rates may change from step
        to step, but not its groups.
    reduction : {"mean", "sum"}
        Reduction of the cross-entropy.

    Raises
    ------
    ConfigError
        If network, optimizer or reduction are not as described above.
    """

    def __init__(
        self, net: nn.Sequential, optimizer: DeviceOptimizer, reduction: Literal["mean", "sum"] = "mean"
    ) -> None:
        check_reduction(reduction)
        self._linears, activation = _take_apart(net)
        self._layers = [linear.on_array for linear in self._linears]
        self._chain = Chain(self._linears[0].crossbar, self._layers, activation)
        self._optimizer, self._reduction = optimizer, reduction
        index = {p: index for index, linear in enumerate(self._linears) for p in linear.parameters()}
        _check_optimizer(optimizer, set(index))
        #: Parameters in the order of a step: group, parameter, and index of its layer.
        self._order = [(group, parameter, index[parameter]) for group, parameter in optimizer.in_order()]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ConfigError(
            "a FusedStep cannot be copied or pickled: copy network and optimizer together, "
            "copy.deepcopy((net, optimizer)), and make a FusedStep of both"
        )

    @untraced
    def __call__(self, x: torch.Tensor, labels: torch.Tensor) -> float:
        """Train on a batch; return the loss that it had before.

        Parameters
        ----------
        x : (n, in_features) Tensor
            As :meth:`QCLinear.forward` takes it.
        labels : (n,) Tensor of integers
            As :func:`cross_entropy` takes them.

        Raises
        ------
        ConfigError
            If either is not as described, the loss is not a finite number, or a layer has another dtype by
            now. Nothing is programmed then.
        """
        first, n = self._linears[0], len(x)
        if x.shape != (n, first.in_features):
            raise ConfigError(f"inputs must be (n, {first.in_features}), not {tuple(x.shape)}")
        classes = check_labels(labels, n, self._linears[-1].out_features)
        for linear in self._linears:
            linear._lend_bias()
        batch, picked = Batch(self._layers, *first._encode(x)), np.empty(n)
        divisor = n if self._reduction == "mean" else 1
        try:
            self._chain.propagate(batch, classes, picked, 1.0 / divisor)
        except DivergenceError as error:
            raise ConfigError(
                f"the loss of a FusedStep is not a finite number, as {error}: use a smaller rate"
            ) from error
        loss: float = cross_entropy_of(picked, divisor)
        self._descend(batch)
        return loss

    def _descend(self, batch: Batch) -> None:
        """Program devices and move biases."""
        for group, parameter, index in self._order:
            if not parameter.requires_grad:
                continue
            delta = batch.deltas[index]
            if isinstance(parameter, DeviceWeights):
                scaled = batch.inputs[index], batch.input_scales[index], delta
                self._optimizer.descend_devices(group, parameter, *scaled)
            elif self._optimizer._is_plain(group):
                compiled.descend_bias(self._layers[index].bias, delta, rate_of(group))
            else:
                total = np.zeros(delta.shape[1])
                compiled.descend_bias(total, delta, -1.0)
                with torch.no_grad():
                    self._optimizer.descend_floats(group, parameter, torch.from_numpy(total))
        self._optimizer._opt_called = True  # type: ignore[attr-defined]  # otherwise a scheduler warns


def _check_optimizer(optimizer: DeviceOptimizer, parameters: set[nn.Parameter]) -> None:
    """Raise ConfigError unless an optimizer programs devices and has the parameters of a network."""
    if not isinstance(optimizer, DeviceOptimizer):
        raise ConfigError(f"a FusedStep programs devices by QCSGD or QCAdam, not {type(optimizer).__name__}")
    given = {parameter for _, parameter in optimizer.in_order()}
    if not {p for p in parameters if p.requires_grad} <= given <= parameters:
        raise ConfigError(
            "the optimizer of a FusedStep has the parameters of its network that are trained, and no "
            "others: make it by QCSGD(net.parameters(), lr)"
        )


def _take_apart(net: nn.Sequential) -> tuple[list[QCLinear], Activation]:
    """Return the layers of a network and their activation; raises ConfigError unless it is a chain."""
    modules = list(net) if isinstance(net, nn.Sequential) else []
    linears = [module for module in modules[::2] if type(module) is QCLinear]
    kinds = {type(module) for module in modules[1::2]}
    activation, inputs = _BETWEEN.get(next(iter(kinds), Sigmoid), (None, None))
    fits = (
        len(kinds) <= 1
        and len(set(linears)) == len(modules) // 2 + 1
        and len({id(linear.crossbar) for linear in linears}) == 1
        and all(linear.inputs is inputs for linear in linears[1:])
        and all(a.out_features == b.in_features for a, b in pairwise(linears))
    )
    if activation is None or not fits:
        names = (m.extra_repr() if type(m) is QCLinear else type(m).__name__ for m in modules)
        raise ConfigError(
            "a FusedStep takes an nn.Sequential of QCLinear layers on one crossbar, between each two of them "
            f"qcloop.torch.Sigmoid (inputs unit) or nn.ReLU (scaled), not {type(net).__name__} of "
            f"{'; '.join(names) or 'nothing'}: train others by a loop with backward()"
        )
    return linears, activation
