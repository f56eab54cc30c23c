"""qcloop: hardware-in-the-loop emulation of quantized-conductance memristor networks.

In Python, ``qcloop.train``, ``resume``, ``age``, ``fit``, ``device`` and ``sweep`` do what the commands of
these names do, and ``qcloop.load`` opens what the commands have written. Each is loaded when it is first
used.
"""

# Nothing is imported here, so that the command line can catch Ctrl-C from the first instant on.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from qcloop.errors import QcloopError as QcloopError
    from qcloop.experiment.ageing import age as age
    from qcloop.experiment.train import load as load
    from qcloop.experiment.train import resume as resume
    from qcloop.experiment.train import train as train

__version__ = "0.1.0"

#: Functions and classes by the module in which they are, and packages that can be called.
_HOMES = {
    "age": "qcloop.experiment.ageing",
    "train": "qcloop.experiment.train",
    "resume": "qcloop.experiment.train",
    "load": "qcloop.experiment.train",
    "QcloopError": "qcloop.errors",
}
_PACKAGES = ("device", "fit", "sweep")

__all__ = ["QcloopError", "__version__", "age", "load", "resume", "train"]


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return import_module(f"qcloop.{name}")
    raise AttributeError(f"module 'qcloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES})
