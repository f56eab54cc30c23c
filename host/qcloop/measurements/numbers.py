"""Texts of cells as numbers: decimal points and commas, thousands separators, and units in the cell."""

import re
from functools import lru_cache

from qcloop.measurements.grid import LONGEST_CELL, Amount, Cell, Unclear
from qcloop.measurements.units import find_unit

#: Texts that stand for a value that is missing.
_MISSING = frozenset(("", "-", "--", "---", "n/a", "na", "nan", "none", "null", "#n/a"))
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?inf(?:inity)?", re.IGNORECASE)
_AMOUNT = re.compile(r"([-+]?[\d.,]+(?:[eE][-+]?\d+)?)\s*([^\W\d]\w*)")
#: Separators of thousands besides point and comma: an apostrophe or a blank, also one that does not break.
_GROUP = "'’ \u00a0\u2009\u202f"
#: One group of three digits, and nothing that tells whether the sign before it is a decimal sign.
_ONE_GROUP = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}")
#: What instruments write instead of a value that they cannot measure, and spreadsheet programs for an error.
_MARK = re.compile(
    r"[<>≤≥~]\s*[-+]?\.?\d\S*(?:\s*\S+)?|ov(?:er)?ld|ovl|ofl|ol|o\.l\.?|over(?:load|flow|[ -]?range)?"
    r"|#[^\W\d_]+(?:/0)?[!?]|#N/?[AV]|#{2,}|\?+|\*+",
    re.IGNORECASE,
)
#: Longest text that is looked at as such a mark.
_LONGEST_MARK = 64

DECIMALS = (".", ",")


@lru_cache
def _grouped(decimal: str) -> re.Pattern[str]:
    other = "," if decimal == "." else "."
    sign = re.escape(decimal)
    return re.compile(
        rf"[-+]?\d{{1,3}}([{other}{_GROUP}])\d{{3}}(?:\1\d{{3}})*(?P<rest>{sign}\d*)?(?P<power>[eE][-+]?\d+)?"
    )


def number(text: str, decimal: str, sure: bool = False) -> Cell:
    """Return the number that a text is; None if it stands for nothing; or the text, if it is no number.

    Parameters
    ----------
    text
    decimal : {".", ","}
        The decimal sign. The other one may separate thousands, as ``'``, ``’`` and blanks may.
    sure : bool, optional
        Whether the decimal sign is certain. If it is not, ``1.234`` among decimal commas is unclear.

    Returns
    -------
    float, Amount, Unclear, str or None
    """
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    if len(text) > LONGEST_CELL:
        return text[:LONGEST_CELL]
    text = text.replace("−", "-")  # a minus sign, U+2212
    figure = _figure(text, decimal, sure)
    if figure is not None:
        return figure
    if found := _AMOUNT.fullmatch(text):
        unit, value = find_unit(found[2]), _figure(found[1], decimal, sure)
        if unit and isinstance(value, float):
            return Amount(value, unit)
    return text


def _figure(text: str, decimal: str, sure: bool) -> float | Unclear | None:
    """Return a number without a unit; None if the text is none."""
    plain = text
    if decimal == ",":
        plain = "?" if "." in text else text.replace(",", ".")
    if _NUMBER.fullmatch(plain):
        return float(plain.lower().replace("d", "e"))
    found = _grouped(decimal).fullmatch(text)
    if not found:
        return None
    if not sure and _ONE_GROUP.fullmatch(text):
        return unclear(text)
    plain = text.replace(found[1], "").replace(decimal, ".")
    return float(plain)


def unclear(text: str) -> Unclear:
    """Return a cell whose only point or comma may be the decimal sign or separate thousands."""
    sign = "." if "." in text else ","
    other = "," if sign == "." else "."
    whole, fraction = text.replace(sign, ""), text.replace(sign, ".")
    return Unclear(
        text,
        f"'{text}' may be {whole} or {fraction}: give --decimal {other} for {whole} or --decimal {sign} for "
        f"{fraction}, or write it without a separator of thousands",
    )


def is_mark(text: str) -> bool:
    """Return whether a text stands for a value that could not be measured, such as ``OVLD`` or ``>1200``."""
    text = text.strip()
    return len(text) <= _LONGEST_MARK and _MARK.fullmatch(text) is not None


def is_decisive(text: str, decimal: str) -> bool:
    """Return whether a text shows that this sign is the decimal sign."""
    if decimal not in text or _ONE_GROUP.fullmatch(text):
        return False
    plain = text.replace(decimal, ".") if text.count(decimal) == 1 else "?"
    return _NUMBER.fullmatch(plain) is not None or bool(
        (found := _grouped(decimal).fullmatch(text)) and found["rest"]
    )


def is_one_group(text: str) -> bool:
    """Return whether a text is a number with one point or comma and three digits behind it."""
    return _ONE_GROUP.fullmatch(text) is not None
