"""Device profiles: the mean and the spread of each conductance state, built in or from a file."""

from qcloop.callable import make_callable
from qcloop.device.builtin import BUILTIN_NAMES, DEFAULT_READING, READINGS, builtin
from qcloop.device.cycles import simulate_cycles
from qcloop.device.draw import draw_profile, profile_table
from qcloop.device.files import (
    load_profile,
    profile_from_dict,
    profile_to_dict,
    resolve_device,
    save_profile,
)
from qcloop.device.plot import plot_profile
from qcloop.device.profile import G0_SIEMENS, UNITS, DeviceProfile, PulseTrain
from qcloop.device.variation import Variation

__all__ = [
    "BUILTIN_NAMES",
    "DEFAULT_READING",
    "G0_SIEMENS",
    "READINGS",
    "UNITS",
    "DeviceProfile",
    "PulseTrain",
    "Variation",
    "builtin",
    "draw_profile",
    "load_profile",
    "plot_profile",
    "profile_from_dict",
    "profile_table",
    "profile_to_dict",
    "resolve_device",
    "save_profile",
    "simulate_cycles",
]

# `qcloop.device(...)`, while the package stays what it is.
make_callable(__name__, "qcloop.device.files", "resolve_device")
