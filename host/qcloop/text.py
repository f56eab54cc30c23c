"""Text from files, made safe to print, and to type."""

import difflib
import unicodedata
from collections.abc import Iterable
from math import floor, log10
from shlex import quote

#: Categories of characters that a terminal would obey instead of show: control characters (also C1), format
#: characters (which turn the direction of writing), lone surrogates, private ones, and breaks of lines.
_OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

#: Prefixes of units, by the power of ten.
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M"}


def printable(text: object) -> str:
    r"""Return a text in one line without characters that a terminal would obey.

    Each of them is shown by its code, as Python spells it: ``\x1b`` for escape, ``\u202e`` for the override
    that writes from right to left.
    """
    return "".join(_code(sign) if unicodedata.category(sign) in _OBEYED else sign for sign in str(text))


def _code(sign: str) -> str:
    number = ord(sign)
    letter, digits = ("x", 2) if number < 1 << 8 else ("u", 4) if number < 1 << 16 else ("U", 8)
    return f"\\{letter}{number:0{digits}x}"


def typed(path: object) -> str:
    """Return a path as it is typed in a shell, in quotes if it needs them."""
    return quote(printable(path))


def shown_unit(unit: str) -> str:
    """Return a unit as people write it: ``µS`` for ``uS``, which is easier to type; ``µA`` for ``uA``."""
    return f"µ{unit[1:]}" if unit.startswith("u") else unit


def quantity(value: float, unit: str) -> str:
    """Return a quantity with four digits and an SI prefix, such as ``25.30 nJ``."""
    if value == 0:
        return f"0 {unit}"
    power = min(max(3 * floor(log10(float(f"{value:.3e}")) / 3), min(_PREFIXES)), max(_PREFIXES))
    scaled = value / 10.0**power
    decimals = max(0, 3 - floor(log10(scaled))) if scaled >= 1 else 3
    return f"{scaled:.{min(decimals, 3)}f} {_PREFIXES[power]}{unit}"


def counted(count: int, thing: str) -> str:
    """Return how many there are of a thing, in words: ``1 seed``, ``1,000 seeds``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def meant(name: str, known: Iterable[str], listing: str) -> str:
    """Return the end of a message on an unknown name: the known one that is like it, or all of them.

    Parameters
    ----------
    listing : str
        What comes before the list, such as ``the settings are``.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean '{close[0]}'?" if close else f": {listing} {', '.join(known)}"
