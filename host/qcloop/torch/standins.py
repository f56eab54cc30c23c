"""Tensors that stand for devices: what would change them without any effect raises an error instead."""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qcloop.errors import ConfigError

if TYPE_CHECKING:
    from qcloop.torch.layer import DeviceLayer


class ReadOnlyWeights(torch.Tensor):
    """The weights of a layer, to be read: writing to them raises ConfigError, since no device would move.

    What is computed from them is an ordinary tensor. What shares their memory, such as ``.data``, is
    read-only as well.
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry an operation out, unless it writes to such weights."""
        kwargs = kwargs or {}
        written = [kwargs.get("out")]
        if _writes(func.__name__):
            written += [*args[:1], kwargs.get("tensor")]  # some of nn.init give their tensor by this name
        if any(isinstance(tensor, cls) for tensor in _flat(written)):
            raise ConfigError(
                f"{func.__name__} on the weight of a device layer would move no device: program weights by "
                "layer.write_weights(w), or train them by QCSGD; weight.clone() is a tensor to write to"
            )
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            if isinstance(result, np.ndarray):
                result.setflags(write=False)
            if not isinstance(result, torch.Tensor):
                return result
            memory = result.untyped_storage().data_ptr()
            sources = (tensor for tensor in _flat(args) if isinstance(tensor, cls))
            shared = any(tensor.untyped_storage().data_ptr() == memory for tensor in sources)
            return result.as_subclass(cls) if shared else result


class DeviceGradient(torch.Tensor):
    """Stands for the gradient of a layer's devices, as an empty tensor.

    Setting it to zero forgets the gradient, multiplying it by a number scales it, and its norm is that of the
    real gradient: that is all that ``torch.nn.utils.clip_grad_norm_`` needs. Any other operation raises
    ConfigError: what looks at gradients or changes them would pass over the devices without a word.
    """

    #: The layer, or None for what a backward pass hands on before the layer's own is made.
    layer: "DeviceLayer | None"

    @classmethod
    def of(cls, layer: "DeviceLayer | None") -> "DeviceGradient":
        """Return what stands for the gradient of a layer."""
        gradient = torch.zeros(0, dtype=torch.float32).as_subclass(cls)
        gradient.layer = layer
        return gradient

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry an operation out if it reaches the devices or asks for a property; refuse others."""
        name, kwargs = func.__name__, kwargs or {}
        if name in _NORMS or name in _SCALES or name in _ZEROS:
            if name.startswith("_foreach_"):
                return _each(getattr(torch.Tensor, name.removeprefix("_foreach_")), *args)
            layer = args[0].layer if isinstance(args[0], cls) else None
            if layer is not None:
                return _on_devices(func, layer, args, kwargs)
        if name not in _HARMLESS:
            raise ConfigError(
                f"{name} does not see the gradient of devices, which has no numbers here: train devices by "
                "qcloop.torch.QCSGD or QCAdam, clip by torch.nn.utils.clip_grad_norm_, scale by mul_; "
                "layer.gradient has the numbers to read"
            )
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)


def _on_devices(func: Callable[..., Any], layer: "DeviceLayer", args: Any, kwargs: Any) -> Any:
    """Carry an operation out on the gradient of a layer's devices; return what it returns."""
    name = func.__name__
    if name in _NORMS:
        gradient = layer.gradient
        numbers = torch.zeros(1, dtype=torch.float64) if gradient is None else gradient
        return func(numbers, *args[1:], **kwargs)
    if name in _ZEROS:
        layer._forget_gradient()
        return args[0]
    factor = float(args[1] if len(args) > 1 else kwargs["other"])
    if not isfinite(factor) or (factor == 0 and "div" in name):
        raise ConfigError(f"the gradient of devices is scaled by a finite number, not {name} {factor}")
    layer._scale_gradient(1.0 / factor if "div" in name else factor)
    return args[0]


def _each(func: Callable[..., Any], tensors: Any, *args: Any) -> list[Any]:
    """Do to each tensor what an operation on a list of them does, with an argument for all or for each."""
    given = args[0] if args and isinstance(args[0], (list, tuple)) else None
    return [func(tensor, *((given[k],) if given else args)) for k, tensor in enumerate(tensors)]


_NORMS = {"norm", "linalg_vector_norm", "_foreach_norm"}
_SCALES = {"mul_", "div_", "__imul__", "__itruediv__", "_foreach_mul_", "_foreach_div_"}
_ZEROS = {"zero_", "_foreach_zero_"}
#: What ``zero_grad`` and ``print`` do with a gradient; the properties are read as ``__get__``.
_HARMLESS = {
    "__get__",
    "detach_",
    "requires_grad_",
    "__repr__",
    "is_complex",
    "size",
    "dim",
    "numel",
    "_is_view",
}


def _writes(name: str) -> bool:
    """Return whether a function of this name writes to its first argument: ``fill_``, ``__iadd__``."""
    if name.startswith("__"):
        return name in ("__setitem__", "__set__") or name.startswith("__i")
    return name.endswith("_")


def _flat(arguments: Any) -> Iterator[Any]:
    """Yield the arguments of an operation, also those in lists."""
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            yield from _flat(argument)
        else:
            yield argument
