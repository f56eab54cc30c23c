"""Matrices in MATLAB files (versions 4 to 7) as cells.

The reader is our own: that of scipy 1.17 crashes the interpreter at some damaged files, and fills the memory
at others. It knows matrices of real numbers only. The MathWorks describe the format in "MAT-File Format".
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qcloop.errors import MeasurementError
from qcloop.measurements.grid import MOST_CELLS, MOST_EXPANDED, Grid, choose_table, not_used, shown

#: Numbers as version 5 stores them, by the code in the tag of an element; without the byte order.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
#: Codes of elements of version 5: dimensions, an array, and a compressed array.
_INT32, _MATRIX, _COMPRESSED = 5, 14, 15
#: Classes of arrays of version 5 that hold numbers: double, single, and integers of 8 to 64 bits.
_NUMERIC_CLASSES = range(6, 16)
#: Mark of complex numbers among the flags of an array, and size of the header of a file, of version 5.
_COMPLEX, _HEADER = 0x0800, 128
#: Numbers as version 4 stores them, by their code.
_OLD_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
#: What is expanded of a compressed array to read its name and size: the parts before its numbers are shorter.
_HEAD = 4096


class _Damaged(Exception):
    """The content is no MATLAB file; the text says why."""


@dataclass(frozen=True)
class _Array:
    """An array of a file, whose numbers are not read yet."""

    name: str
    shape: tuple[int, ...]
    #: Whether it is a matrix of real numbers.
    real: bool
    #: Bytes of the array (version 5: from its flags on; version 4: its numbers), perhaps still compressed.
    body: bytes
    compressed: bool
    #: Type of the numbers with their byte order (version 4), or the byte order alone (version 5).
    type: str

    @property
    def title(self) -> str:
        return f"{shown(self.name)} ({' x '.join(map(str, self.shape))})"


def read_matlab(content: bytes, path: object, variable: str | None) -> Grid:
    """Return the cells of an array; ``variable`` is needed if several are matrices of numbers.

    Only the array that is used is expanded, and only if it has the size of a table.

    Raises
    ------
    MeasurementError
        If the file is damaged, if no array or another than a matrix of real numbers is chosen, or if the
        array is too large.
    """
    try:
        arrays = list(_old_arrays(content) if 0 in content[:4] else _arrays(content))
        array = _chosen(arrays, variable, path)
        table = _table(array)
    except (_Damaged, struct.error, zlib.error) as error:
        raise MeasurementError(
            f"{path} cannot be read as a MATLAB file ({shown(str(error))}): save it by "
            "`save('file.mat', '-v7')`, or as CSV"
        ) from error
    if len(table) == 1:  # a row vector is one cycle
        table = table.T
    rows = tuple(tuple(None if v != v else v for v in row) for row in table.tolist())
    unused = not_used("variable", (other.title for other in arrays if other.real and other is not array))
    return Grid(
        f"MATLAB, variable {array.title}",
        rows,
        tuple(range(1, len(rows) + 1)),
        variable=shown(array.name),
        unused=unused,
    )


def _chosen(arrays: list[_Array], variable: str | None, path: object) -> _Array:
    titles = {array.name: array.title for array in reversed(arrays)}
    useful = [array.name for array in arrays if array.real]
    name = choose_table(variable, titles, useful, path, "variable")
    array = next(array for array in arrays if array.name == name)
    if not array.real:
        known = ", ".join(array.title for array in arrays if array.real)
        raise MeasurementError(
            f"variable {array.title} of {path} is no matrix of real numbers: choose one of "
            f"{known or '(there is none)'}"
        )
    if math.prod(array.shape) > MOST_CELLS:
        raise MeasurementError(
            f"variable {array.title} of {path} has {math.prod(array.shape)} values: at most {MOST_CELLS} can "
            "be read; save the columns and rows that are needed"
        )
    return array


def _table(array: _Array) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the numbers of an array, (rows, columns) float64."""
    count = math.prod(array.shape)
    kind, data = array.type, array.body
    if len(kind) == 1:  # version 5
        body = _expanded(data) if array.compressed else data
        parts = _parts(body, kind)
        code, data = ([*parts] + [(0, b"")] * 4)[3]
        if code not in _TYPES:
            raise _Damaged(f"variable {array.title} has no numbers (code {code})")
        kind += _TYPES[code]
    size = np.dtype(kind).itemsize * count
    if len(data) < size:
        raise _Damaged(f"variable {array.title} ends early: {len(data)} of {size} bytes")
    numbers = np.frombuffer(data, kind, count).astype(np.float64)
    return numbers.reshape(array.shape, order="F")


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and min(shape) > 0 and math.prod(shape) > 1


# -- version 5, which MATLAB calls v6 and v7 -------------------------------------------------------


def _arrays(content: bytes) -> Iterator[_Array]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise _Damaged("its header states no byte order")
    for code, body in _parts(content[_HEADER:], order):
        if code in (_MATRIX, _COMPRESSED):
            yield _array(body, code == _COMPRESSED, order)


def _array(body: bytes, compressed: bool, order: str) -> _Array:
    head = _expanded(body, _HEAD) if compressed else body[:_HEAD]
    (_, flags), (code, dimensions), (_, name) = _first_parts(head, order)
    if code != _INT32 or len(flags) < 4 or len(dimensions) % 4:
        raise _Damaged("an array has no dimensions")
    word = struct.unpack_from(order + "I", flags)[0]
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    numeric = word & 0xFF in _NUMERIC_CLASSES and not word & _COMPLEX
    real = numeric and _is_matrix(shape) and bool(name)  # MATLAB keeps data of its own without a name
    return _Array(name.decode("latin-1"), shape, real, body, compressed, order)


def _first_parts(head: bytes, order: str) -> list[tuple[int, bytes]]:
    """Return flags, dimensions and name of an array, which must lie in its head."""
    parts = []
    for part in _parts(head, order, cut=True):
        parts.append(part)
        if len(parts) == 3:
            return parts
    raise _Damaged("an array ends early")


def _parts(data: bytes, order: str, cut: bool = False) -> Iterator[tuple[int, bytes]]:
    """Return code and content of each element in a series.

    A tag has code and size, 4 bytes each; or 2 bytes each, with up to 4 bytes of content behind it. Other
    content fills multiples of 8 bytes, if it is not compressed. With ``cut`` the data may end in an element.
    """
    start = 0
    while start + 8 <= len(data):
        code, size = struct.unpack_from(order + "II", data, start)
        if code >> 16:
            code, size, start = code & 0xFFFF, code >> 16, start + 4
            step = 4
            if size > step:
                raise _Damaged(f"an element of 4 bytes has {size}")
        else:
            start += 8
            step = size if code == _COMPRESSED else -(-size // 8) * 8
        if start + size > len(data) and not cut:
            raise _Damaged(f"an element ends early: {len(data) - start} of {size} bytes")
        yield code, data[start : start + size]
        start += step


def _expanded(body: bytes, most: int | None = None) -> bytes:
    """Return the content of a compressed array behind its tag; all of it, or the first bytes."""
    expander = zlib.decompressobj()
    data = expander.decompress(body, most or MOST_EXPANDED)
    if most is None and not expander.eof:
        raise _Damaged("a compressed array ends early, or expands too far")
    return data[8:]


# -- version 4 -------------------------------------------------------------------------------------


def _old_arrays(content: bytes) -> Iterator[_Array]:
    start = 0
    while start + 20 <= len(content):
        order = "<" if struct.unpack_from("<I", content, start)[0] < 10_000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(order + "5I", content, start)
        numbers, matrix = kind // 10 % 10, kind % 10
        if kind >= 10_000 or numbers >= len(_OLD_TYPES):
            raise _Damaged(f"an array is of the unknown kind {kind}")
        start += 20
        name = content[start : start + length].rstrip(b"\0").decode("latin-1")
        start += length
        size = rows * columns * np.dtype(_OLD_TYPES[numbers]).itemsize
        body = content[start : start + size]
        real = matrix == 0 and not imaginary and _is_matrix((rows, columns))
        yield _Array(name, (rows, columns), real, body, False, order + _OLD_TYPES[numbers])
        start += size * (2 if imaginary else 1)
