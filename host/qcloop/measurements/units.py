"""Units of measured values, and how headings of columns state them."""

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from qcloop.device.profile import UNITS
from qcloop.errors import MeasurementError

Quantity = Literal["conductance", "resistance", "current"]

_RESISTANCE = {"Ohm": 1.0, "kOhm": 1e3, "MOhm": 1e6}
_CURRENT = {"A": 1.0, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9}


@dataclass(frozen=True)
class Unit:
    """A unit of measured values."""

    name: str
    quantity: Quantity
    #: One of this unit in siemens, ohms or amperes.
    factor: float


#: All units in which values may be given, by name.
MEASURED_UNITS = {
    **{name: Unit(name, "conductance", factor) for name, factor in UNITS.items()},
    **{name: Unit(name, "resistance", factor) for name, factor in _RESISTANCE.items()},
    **{name: Unit(name, "current", factor) for name, factor in _CURRENT.items()},
}

#: Other spellings of the units, as :func:`_plain` returns them.
_SPELLINGS = {
    **{name: name for name in MEASURED_UNITS},
    **{f"{prefix}{word}": f"{prefix}S" for prefix in ("", "m", "u", "n") for word in ("siemens", "Siemens")},
    **{f"{long}{word}": f"{short}S" for long, short in (("milli", "m"), ("micro", "u"), ("nano", "n"))
       for word in ("siemens", "Siemens")},
    **{f"{prefix}{word}": f"{prefix}Ohm" for prefix in ("", "k", "M") for word in ("ohm", "Ohms", "ohms")},
    **{f"K{word}": "kOhm" for word in ("Ohm", "ohm", "Ohms", "ohms")},
    **dict.fromkeys(("ampere", "Ampere", "amperes", "amp", "Amp"), "A"),
    **dict.fromkeys(("g0", "G_0", "g_0", "2e2/h", "2e^2/h"), "G0"),
    "OHM": "Ohm",
    "KOHM": "kOhm",
    "us": "uS",
}  # fmt: skip

_QUANTITIES: dict[str, Quantity] = {
    **dict.fromkeys(("g", "conductance", "leitwert", "conductances", "gread"), "conductance"),
    **dict.fromkeys(("r", "resistance", "widerstand", "resistances", "rread"), "resistance"),
    **dict.fromkeys(("i", "current", "strom", "currents", "id", "ids", "iread", "imeas"), "current"),
}

#: Current or voltage of a terminal, as parameter analysers name them: ``AI``, ``DrainV``.
TERMINAL = re.compile(r"(?:[A-D]|[Aa]node|[Cc]athode|[Gg]ate|[Dd]rain|[Ss]ource|[Tt]op|[Bb]ottom)([IV])")

#: Units that could also be the name of a column.
_NAMES = frozenset(("S", "A", "G0", "g0"))
_BRACKETED = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")
#: A power of ten by which the values were multiplied, as in ``G x 1e6 (S)``.
_MULTIPLIED = re.compile(r"[×x*]\s*(?:10\s*\^|10\*\*|10[⁺⁻+-]|1e[-+]?\d)", re.IGNORECASE)
#: A logarithm in a heading, at its beginning, and anywhere. Behind it stands what the logarithm is of.
_LOGARITHM = re.compile(r"\s*(log[ _]?10|lg|log[ _]?e|ln)(?=[^a-z0-9]|[GRI](?![a-z])|$)", re.IGNORECASE)
_ANY_LOGARITHM = re.compile(
    r"(?<![a-z])(?:log[ _]?(?:10|2|e)?|lg|ln|logarithm)(?=[^a-z0-9]|$)"
    r"|(?<![a-z])log(?:10)?(?:[GRI](?![a-z])|res|cond|cur)"
    r"|(?<![a-z])d[bB](?![a-z])",
    re.IGNORECASE,
)
_FIRST_BRACKETS = re.compile(r"^\s*[(\[{]([^)\]}]*)[)\]}]")
_VOLTAGE = re.compile(r"(?:\bat|@|\bV\w*\s*=)\s*([-+]?\d+(?:[.,]\d+)?)\s*(m?)V\b")


def find_unit(spelling: str) -> Unit | None:
    """Return the unit with this name or another spelling (the signs for micro and ohm), or None."""
    name = _SPELLINGS.get(_plain(spelling))
    return MEASURED_UNITS[name] if name else None


def named_unit(spelling: str) -> Unit:
    """Return a unit by its name; MeasurementError lists the names if there is none."""
    unit = find_unit(spelling)
    if unit is None:
        raise MeasurementError(f"unknown unit '{spelling}': expected one of {', '.join(MEASURED_UNITS)}")
    return unit


def unit_in_heading(heading: str) -> Unit | None:
    """Return the unit that a heading states: ``G (uS)``, ``R [kΩ]``, ``I / A``, ``G_uS``, ``G, µS``; or None.

    What may be a name is not taken for a unit: ``S``, ``A`` or ``G0`` alone, and ``device A``, because the
    heading names no quantity to which the letter could belong.
    """
    heading = unicodedata.normalize("NFKC", heading)
    if _MULTIPLIED.search(heading):
        return None
    inside = _BRACKETED.search(heading)
    if inside:
        return find_unit(re.split(r"[@\s]|\bat\b", inside[1].strip())[0])
    heading = _VOLTAGE.sub("", heading).strip()
    if heading not in _NAMES and (unit := find_unit(heading)):
        return unit
    for separator in ("/", ",", "_", " "):
        _, found, last = heading.rpartition(separator)
        unit = find_unit(last) if found else None
        sure = separator in "/," or last.strip() not in _NAMES
        if unit and (sure or unit.quantity == quantity_in_heading(heading)):
            return unit
    return None


def quantity_in_heading(heading: str) -> Quantity | None:
    """Return the quantity that the first word of a heading names, or None."""
    word = re.split(r"[^a-zA-Z]", heading.strip(), maxsplit=1)[0]
    terminal = TERMINAL.fullmatch(word)
    return "current" if terminal and terminal[1] == "I" else _QUANTITIES.get(word.lower())


def logarithm_in_heading(heading: str) -> tuple[float | None, str]:
    """Return the base of the logarithm that a heading states, and the heading of the values themselves.

    The base is None for a heading of no logarithm, and NaN for a logarithm whose base is not stated
    (``log R``) or that has a factor (``-log10 I``, ``dB``).
    """
    heading = unicodedata.normalize("NFKC", heading)
    found = _LOGARITHM.match(heading)
    if found:
        rest = _FIRST_BRACKETS.sub(r"\1 ", heading[found.end() :].lstrip(" _-")).strip()
        base = math.e if found[1].lower().endswith(("e", "n")) else 10.0
        return base, re.sub(r"^of\b\s*", "", rest)
    return (math.nan if _ANY_LOGARITHM.search(heading) else None), heading


def voltage_in_heading(heading: str) -> float | None:
    """Return the read voltage that a heading states (``I (uA) at 0.1 V``), in volts, or None."""
    found = _VOLTAGE.search(heading)
    return float(found[1].replace(",", ".")) * (1e-3 if found[2] else 1.0) if found else None


def readable_unit(siemens: float, stated: str) -> str:
    """Return the unit of conductance for a device whose largest conductance is this many siemens.

    It is the stated unit, or else microsiemens, if the largest conductance is 1 to 10000 of it; otherwise the
    unit (nS, uS, mS or S) in which it is 1 to 1000.
    """
    for name in (stated, "uS"):
        if UNITS[name] <= siemens < 10_000 * UNITS[name]:
            return name
    return next((name for name in ("nS", "uS", "mS") if siemens < 1000 * UNITS[name]), "S")


def _plain(spelling: str) -> str:
    """Return a spelling without blanks, with letters for the signs that a keyboard lacks.

    NFKC makes one character of those that look alike, such as the ohm sign U+2126 and the letter omega.
    """
    plain = "".join(unicodedata.normalize("NFKC", spelling).split())
    for sign, letter in (
        ("\N{GREEK SMALL LETTER MU}", "u"),
        ("\N{GREEK CAPITAL LETTER OMEGA}", "Ohm"),
        ("℧", "S"),
    ):
        plain = plain.replace(sign, letter)
    return plain
