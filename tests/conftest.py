"""Files that an extra is needed for, signals, and how several processes share the files and the cores."""

import os
import signal
from importlib.util import find_spec

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process of pytest-xdist has one core, on which PyTorch's threads would only wait for each other.
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

# A script starts processes in its background with INT ignored, and nohup with HUP. Tests send both, so pytest
# and the processes it starts must not ignore them.
for _signal, _handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, _signal) and signal.getsignal(getattr(signal, _signal)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _signal), _handler)

#: Files that import PyTorch.
_TORCH = (
    "test_torch.py",
    "test_torch_ageing.py",
    "test_torch_convert.py",
    "test_torch_layers.py",
    "test_torch_on_board.py",
)
#: Files of minutes, the longest first: where they begin last, one process works on alone at the end.
_LONGEST = (
    "test_virtual_board.py",
    "test_bitstreams.py",
    "test_netlists.py",
    "test_sweep.py",
    "test_compiled_engine.py",
    "test_formal_engine.py",
    "test_examples.py",
    "test_formal_mac.py",
    "test_compiled_learner.py",
    "test_tutorial.py",
    "test_link.py",
    "test_engine.py",
    "test_mac.py",
    "test_verilog_cosimulation.py",
    "test_remote_array.py",
    "test_run_disk.py",
    "test_run.py",
    "test_programmer.py",
    "test_cxxrtl.py",
    "test_sweep_on_boards.py",
    "test_array_network.py",
    "test_measurements_hostile.py",
)


def pytest_collection_modifyitems(config, items):
    """Put the longest files first, in a process of pytest-xdist."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(_LONGEST)}
        items.sort(key=lambda item: order.get(item.path.name, len(order)))


class _WithoutTorch(pytest.Module):
    def collect(self):
        pytest.skip("needs PyTorch: pip install 'qcloop[torch]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Skip a file by name whose import would fail."""
    if module_path.name in _TORCH and find_spec("torch") is None:
        return _WithoutTorch.from_parent(parent, path=module_path)
    return None
