"""PyTorch layers whose weights are devices of an array, and their optimizer, loss and training step."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("qcloop.torch needs PyTorch: pip install 'qcloop[torch]'") from error

from qcloop.torch.conv import QCConv2d
from qcloop.torch.conversion import convert
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs
from qcloop.torch.functions import Sigmoid, cross_entropy, sigmoid
from qcloop.torch.fused import FusedStep
from qcloop.torch.layer import DeviceLayer, DeviceWeights
from qcloop.torch.linear import QCLinear
from qcloop.torch.optimizer import QCSGD, QCAdam
from qcloop.torch.overview import LayerSummary, NetworkSummary, summary

__all__ = [
    "QCSGD",
    "Crossbar",
    "DeviceLayer",
    "DeviceWeights",
    "FusedStep",
    "Inputs",
    "LayerSummary",
    "NetworkSummary",
    "QCAdam",
    "QCConv2d",
    "QCLinear",
    "Sigmoid",
    "convert",
    "cross_entropy",
    "sigmoid",
    "summary",
]
