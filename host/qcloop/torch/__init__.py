"""PyTorch layers whose weights are devices of an array, and their optimizer, loss and training step."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("qcloop.torch needs PyTorch: pip install 'qcloop[torch]'") from error

from qcloop.torch.crossbar import Crossbar
from qcloop.torch.functions import Sigmoid, cross_entropy, sigmoid
from qcloop.torch.fused import FusedStep
from qcloop.torch.linear import DeviceWeights, Inputs, QCLinear
from qcloop.torch.optimizer import QCSGD, QCAdam

__all__ = [
    "QCSGD",
    "Crossbar",
    "DeviceWeights",
    "FusedStep",
    "Inputs",
    "QCAdam",
    "QCLinear",
    "Sigmoid",
    "cross_entropy",
    "sigmoid",
]
