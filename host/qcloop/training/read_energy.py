"""The energy that the cells take while an image is classified."""

from collections.abc import Callable
from dataclasses import replace
from operator import mul
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import GoldenArray
from qcloop.contract.types import U8
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.device import DeviceProfile
from qcloop.training.array_network import ArrayNetwork
from qcloop.training.memory import images_at_once
from qcloop.training.network import Network
from qcloop.training.settings import RunSettings

#: The energy is the mean over so many test images, from the first; or over all, if there are fewer.
READ_IMAGES = 500

_Make = Callable[[RunSettings, LayeredCrossbar], Network | ArrayNetwork]


def read_energy(
    settings: RunSettings,
    profile: DeviceProfile,
    make_network: _Make,
    state: dict[str, npt.NDArray[Any]],
    x: U8,
) -> float | None:
    """Return the mean energy in joules that reading the cells takes for one of some images.

    A cell of conductance G in row i takes V^2 (x_i / top)^2 G t, where V and t are those of the pulse that
    reads it, x_i is the input of the row, and top is 1 for inputs of 1 bit and 255 for inputs of 8 bits. The
    sum runs over all cells, and over all vectors that the layers multiply for an image. None where the
    profile does not tell the pulse.

    A golden model of its own multiplies, without read noise. So the array of the run counts nothing and draws
    nothing.

    Parameters
    ----------
    settings : RunSettings
    profile : DeviceProfile
    make_network : callable
        Makes the network of a run on a crossbar.
    state : dict
        State of the network, as a checkpoint holds it; its codes are the conductances.
    x : (n, inputs) uint8
        Images as inputs of the network, one or more.
    """
    if profile.read is None:
        return None
    quiet = replace(settings, read_noise=0.0)
    array = GoldenArray(quiet.array_config)
    array.configure(array_settings(quiet, profile))
    network = make_network(quiet, LayeredCrossbar(quiet, array))
    network.restore(state)
    codes = [state[f"layer{layer.index}.cell_codes"].sum(axis=1).tolist() for layer in network.layers]
    most, shares = min(len(x), images_at_once(settings.layers())), 0.0
    for start in range(0, len(x), most):
        found = network.vectors(x[start : start + most])
        for layer, (vectors, _), rows in zip(network.layers, found, codes, strict=True):
            squares = np.einsum("ij,ij->j", vectors, vectors, dtype=np.int64)
            shares += sum(map(mul, squares.tolist(), rows)) / layer.input_top**2
    siemens = shares * profile.lsb * profile.siemens_per_unit / len(x)
    return profile.read.volts**2 * profile.read.width_s * siemens
