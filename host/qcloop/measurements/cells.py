"""Files of measurements (text, Excel, MATLAB) as rows of cells."""

import os
from collections.abc import Callable
from pathlib import Path

from qcloop.errors import MeasurementError
from qcloop.measurements.grid import MOST_BYTES, Grid
from qcloop.measurements.matlab import read_matlab
from qcloop.measurements.text import read_text
from qcloop.measurements.workbook import read_workbook


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
        Delimiter of a text file, and decimal sign of its numbers, or of numbers that are text in an Excel
        file; recognised if left out. One blank as the delimiter stands for any run of blanks.

    Raises
    ------
    MeasurementError
        If the file cannot be read, is too large or has no cells, or an option is not for files of its kind.
    """
    content = _content(Path(path))
    kind, reader = _kind(content, path)
    given = {"sheet": sheet, "variable": variable, "delimiter": delimiter, "decimal": decimal}
    options = {"Excel": ("sheet", "decimal"), "MATLAB": ("variable",), "text": ("delimiter", "decimal")}[kind]
    for name, value in given.items():
        if value is not None and name not in options:
            raise MeasurementError(f"{path} is a file of {kind}: leave --{name} out")
    grid = reader(content, path, *(given[name] for name in options))
    if not grid.rows:
        raise MeasurementError(f"{path} has no values ({grid.kind})")
    return grid


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device may never end
            raise MeasurementError(f"{path} is no regular file: save the measurements in one")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise MeasurementError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise MeasurementError(
            f"{path} is larger than {MOST_BYTES >> 20} MiB: keep only the columns and rows that are needed"
        )
    return content


def _kind(content: bytes, path: object) -> tuple[str, Callable[..., Grid]]:
    """Return the name of the file's kind, and the function that reads it."""
    if content.startswith(b"PK\3\4"):
        return "Excel", read_workbook
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise MeasurementError(
            f"{path} is an Excel file of the old kind (.xls): save it as .xlsx or CSV, without a password"
        )
    if content.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise MeasurementError(
            f"{path} is a MATLAB file of version 7.3 (HDF5): save it by `save('file.mat', '-v7')`"
        )
    # Files of MATLAB version 4 have no mark at their beginning: their suffix must do.
    if content.startswith(b"MATLAB 5.0 MAT") or Path(str(path)).suffix.lower() == ".mat":
        return "MATLAB", read_matlab
    return "text", read_text
