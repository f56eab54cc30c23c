"""PyTorch layers whose weights are devices of an array, and their optimizer, loss and training step."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("qcloop.torch needs PyTorch: pip install 'qcloop[torch]'") from error

from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs
from qcloop.torch.functions import Sigmoid, cross_entropy, sigmoid
from qcloop.torch.fused import FusedStep
from qcloop.torch.linear import DeviceWeights, QCLinear
from qcloop.torch.optimizer import QCSGD

__all__ = [
    "QCSGD",
    "Crossbar",
    "DeviceWeights",
    "FusedStep",
    "Inputs",
    "QCLinear",
    "Sigmoid",
    "cross_entropy",
    "sigmoid",
]
