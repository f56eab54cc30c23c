"""Arrays in MATLAB files (versions 4 to 7) as cells."""

import io
import struct
import zlib

import numpy as np

from qcloop.errors import MeasurementError
from qcloop.fit.grid import MOST_CELLS, MOST_EXPANDED, Grid, choose_table, first_line, not_used, shown

#: Classes of arrays that hold numbers, as scipy names them.
_NUMERIC = frozenset(
    ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
#: Size of the header of a file of version 5, and the mark of an array that is compressed.
_HEADER, _COMPRESSED = 128, 15


def read_matlab(content: bytes, path: object, variable: str | None) -> Grid:
    """Return the cells of an array; ``variable`` is needed if several are numeric.

    Only the array that is used is expanded, and only if it has the size of a table.

    Raises
    ------
    MeasurementError
        If the file is damaged, if no array or another than a matrix of real numbers is chosen, or if the
        array is too large.
    """
    import scipy.io  # takes long to import: only if there is a file of this kind

    try:
        listed = scipy.io.whosmat(io.BytesIO(content))
    except Exception as error:  # scipy raises exceptions of many classes for damaged files
        raise _damaged(path, error) from error
    shapes = {name: shape for name, shape, _ in listed}
    titles = {name: f"{shown(name)} ({' x '.join(map(str, shape))})" for name, shape in shapes.items()}
    numeric = [
        name
        for name, shape, kind in listed
        if kind in _NUMERIC and len(shape) == 2 and shape[0] * shape[1] > 1
    ]
    name = choose_table(variable, titles, numeric, path, "variable")
    if name not in numeric:
        raise _not_real(titles, name, numeric, path)
    index = [entry[0] for entry in listed].index(name)
    size = listed[index][1][0] * listed[index][1][1]
    try:
        too_far = _expands_too_far(content, index)
    except struct.error as error:
        raise _damaged(path, error) from error
    if size > MOST_CELLS or too_far:
        raise MeasurementError(
            f"variable {titles[name]} of {path} has {size} values: at most {MOST_CELLS} can be read; save "
            "the columns and rows that are needed"
        )
    try:
        array = np.asarray(scipy.io.loadmat(io.BytesIO(content), variable_names=[name])[name])
    except Exception as error:
        raise _damaged(path, error) from error
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise _not_real(titles, name, [other for other in numeric if other != name], path)
    if len(array) == 1:  # a row vector is one cycle
        array = array.T
    rows = tuple(tuple(None if v != v else v for v in row) for row in array.astype(np.float64).tolist())
    unused = not_used("variable", (titles[other] for other in numeric if other != name))
    return Grid(
        f"MATLAB, variable {titles[name]}", rows, tuple(range(1, len(rows) + 1)), variable=name, unused=unused
    )


def _damaged(path: object, error: Exception) -> MeasurementError:
    return MeasurementError(
        f"{path} cannot be read as a MATLAB file ({first_line(error)}): save it by "
        "`save('file.mat', '-v7')`, or as CSV"
    )


def _not_real(titles: dict[str, str], name: str, numeric: list[str], path: object) -> MeasurementError:
    return MeasurementError(
        f"variable {titles[name]} of {path} is no matrix of real numbers: choose one of "
        f"{', '.join(titles[other] for other in numeric) or '(there is none)'}"
    )


def _expands_too_far(content: bytes, index: int) -> bool:
    """Return whether the array of this index is compressed and is larger than a table, whatever it states.

    A file of version 5 is a header, then a tag and a body for each array. The tag holds the kind and the size
    of the body, 4 bytes each.
    """
    if content[126:128] not in (b"IM", b"MI"):  # version 4 compresses nothing
        return False
    order = "<" if content[126:128] == b"IM" else ">"
    start = _HEADER
    for _ in range(index):
        _, length = struct.unpack_from(order + "II", content, start)
        start += 8 + length
    kind, length = struct.unpack_from(order + "II", content, start)
    if kind != _COMPRESSED:
        return False
    expander = zlib.decompressobj()
    try:
        expander.decompress(content[start + 8 : start + 8 + length], MOST_EXPANDED)
    except zlib.error:
        return False  # reading the array tells what is wrong with it
    return bool(expander.unconsumed_tail)
