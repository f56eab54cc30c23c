"""What the name of a column says that it holds."""

import re
import unicodedata
from enum import StrEnum

from qcloop.measurements.units import TERMINAL, logarithm_in_heading, quantity_in_heading, unit_in_heading


class Role(StrEnum):
    """What a column holds."""

    PULSE = "pulse"
    CYCLE = "cycle"
    DEVICE = "device"
    #: Potentiation or depression, set or reset.
    BRANCH = "branch"
    VALUE = "value"
    #: A mean, a spread, a difference or a ratio: it comes from measured values, but is none.
    DERIVED = "derived"
    VOLTAGE = "voltage"
    #: Time, temperature, remarks and the like.
    OTHER = "other"


# fmt: off
#: Words for pulse numbers, with their rank: of several such columns the one of the highest rank is taken.
_PULSE = {
    **dict.fromkeys(("pulse", "pulses", "pulseno", "pulsenr", "pulsenumber", "pulsenum"), 3),
    **dict.fromkeys(("puls", "impuls", "impulse", "impulses", "impulsion"), 3),
    **dict.fromkeys(("n", "no", "nr", "num", "number", "stage", "step"), 2),
    **dict.fromkeys(("#", "index", "idx", "x"), 1),
}
_CYCLE = frozenset(("cycle", "cycles", "cyc", "run", "repeat", "repetition", "trial", "sweep", "zyklus"))
_DEVICE = frozenset(("device", "dev", "cell", "sample", "die", "chip", "probe"))
_BRANCH = frozenset(("p d", "d p", "ltp ltd", "ltd ltp", "set reset", "reset set", "up down", "branch"))
#: Words beside the one for a cycle or device in the name of a column of their numbers.
_NUMBERING = frozenset((
    "no", "nr", "num", "number", "id", "idx", "index", "name", "label", "#", "of", "count",
))
#: Words behind ``pulse`` that make a voltage of it, and those behind ``x`` that leave it an axis.
_OF_PULSE = frozenset(("voltage", "amplitude", "height"))
_OF_AXIS = frozenset(("x", "value", "values", "axis", "data", "coordinate"))
_SPREAD = frozenset((
    "std", "stdev", "stddev", "sd", "sem", "sigma", "variance", "cv", "rsd", "err", "error", "errors",
    "standardabweichung",
))
_DERIVED = _SPREAD | frozenset((
    "mean", "means", "avg", "average", "median", "mittelwert", "min", "max", "minimum", "maximum", "delta",
    "diff", "difference", "change", "rel", "relative", "ratio", "norm", "normalized", "normalised",
    "normiert", "percent",
))
_VOLTAGE = frozenset(("v", "voltage", "volt", "volts", "vread", "vpulse", "vg", "vgs", "vd", "vds", "bias"))
_TIME = frozenset(("time", "t", "timestamp", "zeit", "width", "duration", "delay", "period", "length"))
_OTHER = frozenset((
    "date", "temperature", "temp", "comment", "comments", "note", "notes", "remark", "pixel", "row", "status",
    "flag", "compliance", "operator",
))
# fmt: on
#: Names of columns of pulses, where each row is a cycle: ``pulse 1``, ``pulse 2``.
_PULSE_COLUMNS = frozenset(("pulse", "pulses", "puls", "stage", "state", "step"))
#: A ratio to one of the values, such as ``G/Gmax`` or ``R / R_on``.
_RATIO = re.compile(r"/\s*[GRI]_?(?:max|min|on|off|init|hrs|lrs|0|1)(?![^\W_])", re.IGNORECASE)
_IN_BRACKETS = re.compile(
    r"[(\[]\s*(?:(m?s|[uμn]s|min|h|°?C|K|px|[fpnuμmkMG]?(?:J|W|Hz|m|eV|F))|([uμmk]?V))\s*[)\]]"
)
_DEVICE_IN = re.compile(
    rf"(?<![^\W\d_])(?:{'|'.join(sorted(_DEVICE))})(?:[\s_#.:-]+(\w+)|(\d+))", re.IGNORECASE
)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|#", name.casefold())


def role_of(name: str) -> Role:
    """Return what a column of this name holds; an unknown name is one of values."""
    name = unicodedata.normalize("NFKC", name)
    words = _words(name)
    if not words:
        return Role.VALUE
    if _TIME & set(words) and not quantity_in_heading(name):  # `us` may be microsiemens or microseconds
        return Role.OTHER
    unit = unit_in_heading(logarithm_in_heading(name)[1])
    if not unit and (found := _without_unit(name, words)) is not None:
        return found
    if _DERIVED & set(words) or "Δ" in name or "%" in name or (not unit and _RATIO.search(name)):
        return Role.DERIVED
    if not unit and words[0] in _PULSE and (words[0] != "x" or is_axis(name)):
        return Role.PULSE
    return Role.VALUE


def _without_unit(name: str, words: list[str]) -> Role | None:
    """Return the role that a name without a unit of measured values states, but for pulse numbers."""
    bracket = _IN_BRACKETS.search(name)
    terminal = TERMINAL.fullmatch(name.strip())
    if terminal and terminal[1] == "V":
        return Role.VOLTAGE
    of_pulse = words[0] in _PULSE and bool(_OF_PULSE & set(words))
    if (
        words[0] in _VOLTAGE
        or (bracket and bracket[2])
        or (of_pulse and {"voltage", "amplitude"} & set(words))
    ):
        return Role.VOLTAGE
    if words[0] in _OTHER or bracket or of_pulse:
        return Role.OTHER
    if " ".join(words) in _BRANCH or "direction" in words or words[0] == "polarity":
        return Role.BRANCH
    if re.search(r"\d", name):
        return None
    for role, keys in ((Role.CYCLE, _CYCLE), (Role.DEVICE, _DEVICE)):
        if keys & set(words) and (keys | _NUMBERING).issuperset(words):
            return role
    return None


def pulse_rank(name: str) -> int:
    """Return how sure a name of pulse numbers is."""
    words = _words(unicodedata.normalize("NFKC", name))
    return max((_PULSE.get(word, 0) for word in words), default=0)


def key_with_number(name: str, role: Role) -> str | None:
    """Return the number in names such as ``cycle 3``, ``device 3`` (role cycle) and ``pulse 3``, or None."""
    found = re.fullmatch(r"\s*([^\W\d_]+|#)\W*_?(\d+(?:\.\d+)?)\s*", name)
    if not found:
        return None
    word = found[1].casefold()
    known = _PULSE_COLUMNS if role is Role.PULSE else _CYCLE | _DEVICE
    return found[2] if word in known else None


def device_in(name: str) -> str:
    """Return the device that a name of values states, such as ``3`` of ``device 3 (uS)``; empty if none."""
    found = _DEVICE_IN.search(unicodedata.normalize("NFKC", name))
    return (found[1] or found[2]).partition("_")[0] if found else ""


def tag_of(name: str) -> str:
    """Return the part of a name that tells one pair of columns from another: ``ltp`` of ``pulse_LTP``."""
    name = re.sub(r"[(\[{].*", "", unicodedata.normalize("NFKC", name)).casefold()
    words = re.findall(r"[^\W_]+", name)
    return " ".join(word for word in words if word not in _PULSE and not quantity_in_heading(word))


def is_spread(name: str) -> bool:
    """Return whether a name is that of spreads, so that the column beside it has means."""
    return not _SPREAD.isdisjoint(_words(unicodedata.normalize("NFKC", name)))


def is_axis(name: str) -> bool:
    """Return whether a name is that of the first axis of a figure: ``x`` or ``X_value``."""
    words = _words(unicodedata.normalize("NFKC", name))
    return bool(words) and words[0] == "x" and _OF_AXIS.issuperset(words[1:])


def has_quantity(name: str) -> bool:
    """Return whether a name states a unit, or conductance, resistance or current."""
    _, plain = logarithm_in_heading(unicodedata.normalize("NFKC", name))
    return bool(unit_in_heading(plain) or quantity_in_heading(plain))
