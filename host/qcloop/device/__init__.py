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
    with_relaxation,
)
from qcloop.device.plot import plot_profile
from qcloop.device.profile import G0_SIEMENS, UNITS, DeviceProfile, PulseTrain, ReadPulse
from qcloop.device.relaxation import RELAXATIONS, Relaxation, resolve_relaxation
from qcloop.device.times import rising_times, seconds_of, shown_time
from qcloop.device.variation import Variation

__all__ = [
    "BUILTIN_NAMES",
    "DEFAULT_READING",
    "G0_SIEMENS",
    "READINGS",
    "RELAXATIONS",
    "UNITS",
    "DeviceProfile",
    "PulseTrain",
    "ReadPulse",
    "Relaxation",
    "Variation",
    "builtin",
    "draw_profile",
    "load_profile",
    "plot_profile",
    "profile_from_dict",
    "profile_table",
    "profile_to_dict",
    "resolve_device",
    "resolve_relaxation",
    "rising_times",
    "save_profile",
    "seconds_of",
    "shown_time",
    "simulate_cycles",
    "with_relaxation",
]

# `qcloop.device(...)`, while the package stays what it is.
make_callable(__name__, "qcloop.device.files", "resolve_device")
