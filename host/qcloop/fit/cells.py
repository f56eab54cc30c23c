"""Files of measurements (text, Excel, MATLAB) as rows of cells. A cell here is one field of a table."""

import csv
import io
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcloop.errors import MeasurementError

#: A number, a text that is not a number, or nothing.
Cell = float | str | None

#: Texts that stand for a value that is missing.
_MISSING = frozenset(("", "-", "--", "n/a", "na", "nan", "none", "null", "#n/a"))
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?inf(?:inity)?", re.IGNORECASE)
_SHEET_ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!")
_COMMENTS = ("#", "%", "//", "!")
#: Delimiters in order of preference. None stands for any run of blanks.
_DELIMITERS = ("\t", ";", "|", ",", None)
_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", None: "blanks"}
_DECIMAL_NAMES = {".": "decimal points", ",": "decimal commas"}
#: Blanks that separate cells. A blank before a unit in brackets does not: ``G (uS)`` is one cell.
_BLANKS = re.compile(r"\s+(?![(\[{])")
#: The delimiter is chosen by this many lines.
_SNIFFED = 200


@dataclass(frozen=True)
class Grid:
    """The cells of a file."""

    #: How the file was read, in words for the user.
    kind: str
    rows: tuple[tuple[Cell, ...], ...]
    #: Number of each of ``rows`` in the file, from 1.
    numbers: tuple[int, ...]
    #: Cells of the last comment before the first row, if they are as many as those of the rows.
    comment: tuple[Cell, ...] = ()
    #: Name of the array, if the file names its arrays (MATLAB).
    variable: str = ""


def read_grid(
    path: str | os.PathLike[str],
    *,
    sheet: str | None = None,
    variable: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
) -> Grid:
    """Read the cells of a file. Its content, not its name, decides of which kind it is.

    Parameters
    ----------
    path
    sheet : str, optional
        Sheet of an Excel file; needed if several sheets hold something.
    variable : str, optional
        Array of a MATLAB file; needed if several arrays are numeric.
    delimiter, decimal : str, optional
        Delimiter and decimal sign of a text file; recognised if left out. One blank as the delimiter stands
        for any run of blanks.

    Raises
    ------
    MeasurementError
        If the file cannot be read or has no cells, or an option is not for files of its kind.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise MeasurementError(f"cannot read {path}: {error.strerror}") from error
    kind, reader = _kind(content, path)
    given = {"sheet": sheet, "variable": variable, "delimiter": delimiter, "decimal": decimal}
    options = {"Excel": ("sheet",), "MATLAB": ("variable",), "text": ("delimiter", "decimal")}[kind]
    for name, value in given.items():
        if value is not None and name not in options:
            raise MeasurementError(f"{path} is a file of {kind}: leave --{name} out")
    grid = reader(content, path, *(given[name] for name in options))
    if not grid.rows:
        raise MeasurementError(f"{path} has no values ({grid.kind})")
    return grid


def _kind(content: bytes, path: object) -> tuple[str, Callable[..., Grid]]:
    """Return the name of the file's kind, and the function that reads it."""
    if content.startswith(b"PK\3\4"):
        return "Excel", _read_excel
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise MeasurementError(f"{path} is an Excel file of the old kind (.xls): save it as .xlsx or CSV")
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise MeasurementError(
            f"{path} is a MATLAB file of version 7.3 (HDF5): save it by `save('file.mat', '-v7')`"
        )
    # Files of MATLAB version 4 have no mark at their beginning: their suffix must do.
    if content.startswith(b"MATLAB 5.0 MAT") or Path(str(path)).suffix.lower() == ".mat":
        return "MATLAB", _read_matlab
    return "text", _read_text


# -- text ----------------------------------------------------------------------------------------


def _read_text(content: bytes, path: object, delimiter: str | None, decimal: str | None) -> Grid:
    _check_option("delimiter", delimiter, (*(text for text in _DELIMITERS if text), " "))
    _check_option("decimal", decimal, tuple(_DECIMAL_NAMES))
    lines, comments = [], []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", _decode(content, path)), 1):
        text = line.strip(" \r")
        if text.startswith(_COMMENTS) and not text.startswith(_SHEET_ERRORS):
            comments.append((number, text.lstrip("".join(_COMMENTS)).strip()))
        elif text.strip():
            lines.append((number, text))
    delimiters = _DELIMITERS if delimiter is None else (None if delimiter == " " else delimiter,)
    decimals = tuple(_DECIMAL_NAMES) if decimal is None else (decimal,)
    chosen = _sniff([line for _, line in lines], delimiters, decimals)
    rows = [tuple(_cell(text, chosen[1]) for text in _split(line, chosen[0])) for _, line in lines]
    width = max((len(row) for row in rows), default=0)
    if chosen[0] is None and width > max((len(row) for row in rows[1:]), default=width):
        raise MeasurementError(
            f"row {lines[0][0]} of {path} has {width} cells parted by blanks, but no other row has so many: "
            "write each heading as one word, or part the cells by commas, semicolons or tabs"
        )
    heading: tuple[Cell, ...] = ()
    if lines and (before := [text for number, text in comments if number < lines[0][0]]):
        cells = tuple(_cell(text, chosen[1]) for text in _split(before[-1], chosen[0]))
        heading = cells if len(cells) == width else ()
    kind = f"text, cells parted by {_DELIMITER_NAMES[chosen[0]]}" if width > 1 else "text, one column"
    kind += f", {_DECIMAL_NAMES[chosen[1]]}"
    if comments:
        kind += f", {len(comments)} comment line" + ("s" if len(comments) > 1 else "")
    return Grid(kind, tuple(rows), tuple(number for number, _ in lines), heading)


def _check_option(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        spelled = ", ".join(repr(choice) for choice in choices)
        raise MeasurementError(f"--{name} must be one of {spelled}, not {value!r}")


def _decode(content: bytes, path: object) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise MeasurementError(
            f"{path} is neither text nor an Excel or MATLAB file (byte 0 at {content.index(0)}): "
            "save it as CSV, TSV, XLSX or MAT"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:  # CSV from a spreadsheet on Windows, whose code page has µ and Ω
        return content.decode("cp1252", errors="replace")


def _sniff(
    lines: list[str], delimiters: tuple[str | None, ...], decimals: tuple[str, ...]
) -> tuple[str | None, str]:
    """Return the delimiter and decimal sign with which most cells are numbers and the lines are alike.

    If several are equally good, the first delimiter that separates anything is taken, and the decimal point
    before the decimal comma.
    """
    sample = lines[:_SNIFFED]

    def score(choice: tuple[str | None, str]) -> tuple[float, bool, bool, float]:
        rows = [_split(line, choice[0]) for line in sample]
        cells = [_cell(text, choice[1]) for row in rows[1:] or rows for text in row]
        readable = sum(not isinstance(cell, str) for cell in cells) / max(1, len(cells))
        widths = [len(row) for row in rows]
        usual = max(widths, key=widths.count, default=0)
        heading_suits = widths[:1] == [usual]
        return round(readable, 2), heading_suits, usual > 1, widths.count(usual) / max(1, len(rows))

    # Of equal scores `max` returns the first.
    return max(((delimiter, sign) for delimiter in delimiters for sign in decimals), key=score)


def _split(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return _BLANKS.split(line.strip())
    try:
        return [text.strip() for text in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error:  # the csv module refuses cells of more than 128 KiB
        return line.split(delimiter)


def _cell(text: str, decimal: str) -> Cell:
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    plain = text
    if decimal == ",":
        plain = "?" if "." in text else text.replace(",", ".")
    plain = plain.replace("−", "-")
    if not _NUMBER.fullmatch(plain):
        return text
    return float(plain.lower().replace("d", "e"))


# -- Excel ---------------------------------------------------------------------------------------


def _read_excel(content: bytes, path: object, sheet: str | None) -> Grid:
    import openpyxl  # takes long to import: only if there is a file of this kind

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of styles and extensions that do not matter here
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            tables = {page.title: [tuple(row) for row in page.values] for page in book.worksheets}
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, OSError, SyntaxError) as error:
        raise MeasurementError(
            f"{path} looks like an Excel file but cannot be read as one ({_first_line(error)}): "
            "save it as .xlsx again, or as CSV"
        ) from error
    filled = {name: rows for name, rows in tables.items() if any(_sheet_cells(row) for row in rows)}
    name = _choose(sheet, tables, list(filled), path, "sheet")
    rows, numbers = [], []
    for number, row in enumerate(tables[name], 1):
        cells = _sheet_cells(row)
        first = next((cell for cell in cells if cell is not None), None)
        comment = isinstance(first, str) and first.startswith(_COMMENTS) and first not in _SHEET_ERRORS
        if cells and not comment:
            rows.append(cells)
            numbers.append(number)
    return Grid(f"Excel, sheet '{name}'", tuple(rows), tuple(numbers))


def _sheet_cells(row: tuple[Any, ...]) -> tuple[Cell, ...]:
    """Return the cells of a sheet's row, without the empty ones at its end."""
    cells = [_sheet_cell(value) for value in row]
    while cells and cells[-1] is None:
        cells.pop()
    return tuple(cells)


def _sheet_cell(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        if value is None:
            return None
        text = str(value).strip()
        point = _cell(text, ".")  # a number may have been typed as text
        return _cell(text, ",") if isinstance(point, str) else point
    return float(value) if value == value else None


# -- MATLAB --------------------------------------------------------------------------------------


def _read_matlab(content: bytes, path: object, variable: str | None) -> Grid:
    import numpy as np
    import scipy.io  # takes long to import: only if there is a file of this kind

    try:
        loaded = scipy.io.loadmat(io.BytesIO(content))
    except Exception as error:  # scipy raises exceptions of many classes for damaged files
        raise MeasurementError(
            f"{path} cannot be read as a MATLAB file ({_first_line(error)}): save it by "
            "`save('file.mat', '-v7')`, or as CSV"
        ) from error
    arrays = {
        name: np.asarray(value)
        for name, value in loaded.items()
        if not name.startswith("__") and isinstance(value, np.ndarray)
    }
    numeric = [
        name
        for name, array in arrays.items()
        if array.dtype.kind in "fiu" and array.ndim == 2 and array.size > 1
    ]
    shapes = {name: f"{name} ({' x '.join(map(str, array.shape))})" for name, array in arrays.items()}
    name = _choose(variable, shapes, numeric, path, "variable")
    array = arrays[name]
    if name not in numeric:
        raise MeasurementError(
            f"variable {shapes[name]} of {path} is no matrix of real numbers: choose one of "
            f"{', '.join(shapes[n] for n in numeric) or '(there is none)'}"
        )
    if len(array) == 1:  # a row vector is one cycle
        array = array.T
    rows = tuple(tuple(None if v != v else v for v in row) for row in array.astype(np.float64).tolist())
    return Grid(f"MATLAB, variable {shapes[name]}", rows, tuple(range(1, len(rows) + 1)), variable=name)


def _choose(name: str | None, all_of: dict[str, Any], useful: list[str], path: object, what: str) -> str:
    """Return the name of the table that the user chose, or of the only useful one."""
    shown = {key: value if isinstance(value, str) else f"'{key}'" for key, value in all_of.items()}
    if name is not None:
        if name not in all_of:
            raise MeasurementError(
                f"{path} has no {what} '{name}': it has {', '.join(shown.values()) or 'none'}"
            )
        return name
    if len(useful) != 1:
        several = ", ".join(shown[key] for key in useful)
        found = (
            f"several {what}s with numbers: {several}: choose one by --{what}"
            if useful
            else (f"no {what} with numbers (it has {', '.join(shown.values()) or 'none'})")
        )
        raise MeasurementError(f"{path} has {found}")
    return useful[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
