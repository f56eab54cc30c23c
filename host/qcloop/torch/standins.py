"""Tensors that stand for devices: what would change them without any effect raises an error instead."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from qcloop.errors import ConfigError


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
    """Stands for the gradient of a layer's devices, as an empty tensor: it only tells that there is one.

    Setting it to zero forgets the gradient. Any other operation raises ConfigError: what clips, scales or
    looks at gradients would pass over the devices without a word.
    """

    #: Forgets the gradient of the devices.
    forget: Callable[[], None]

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry an operation out if it sets gradients to zero or asks for a property; refuse others."""
        name = func.__name__
        if name in ("zero_", "_foreach_zero_"):
            for tensor in _flat(args):
                if isinstance(tensor, cls):
                    tensor.forget()
        elif name not in _HARMLESS:
            raise ConfigError(
                f"{name} does not see the gradient of devices, which has no numbers here: clip or scale "
                "gradients of the other parameters only, and let qcloop.torch.QCSGD step on devices; "
                "layer.gradient has the numbers to read"
            )
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


#: What ``zero_grad`` and ``print`` do with a gradient; the properties are read as ``__get__``.
_HARMLESS = {"__get__", "detach_", "requires_grad_", "__repr__", "is_complex", "size", "dim", "numel"}


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
