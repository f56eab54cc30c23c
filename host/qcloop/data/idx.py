"""Reader of IDX, the file format of MNIST.

A file has two zero bytes, a byte for the element type (0x08: unsigned byte), a byte for the number of
dimensions, one big-endian 32-bit integer for each dimension, and then the elements, the last dimension
running fastest (Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*).
"""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcloop.errors import DataError

#: Most bytes that one file may declare. The largest EMNIST file has 0.55e9.
MAX_BYTES = 1 << 31

#: Most elements that may come from a byte of a compressed file. One layer of gzip reaches 1032; what two
#: layers make of a few bytes is no data, but takes all time and memory.
MAX_EXPANSION = 1100
#: Most bytes that are read behind the declared elements, to say how many there are.
_MAX_EXCESS = 1 << 24

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_LAYERS = 2  # two, if a server compresses a file that is compressed already
_SNIFFED_BYTES = 512
_CHUNK_BYTES = 1 << 20
_UNSIGNED_BYTE = 0x08
_TYPE_NAMES = {0x09: "signed byte", 0x0B: "16-bit", 0x0C: "32-bit", 0x0D: "float", 0x0E: "double"}
_STRANGERS = {
    b"<": "is an HTML page, not IDX data: the download failed or needs a login, download the file again",
    b"PK\x03\x04": "is a zip archive, not IDX data: unpack it",
    b"version https://git-lfs": "is a Git LFS pointer, not IDX data: run 'git lfs pull'",
}


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzip-compressed.

    The content decides whether the file is compressed; its name does not matter.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray of uint8, 1 to 3 dimensions
        The elements, C-contiguous, in memory of their own.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, damaged, truncated or too long, or is no IDX file. The message
        names the file, what was expected and what came.
    """
    try:
        with path.open("rb") as file:
            return _read_stream(path, _unwrap(path, file))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected an IDX file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip data is damaged or incomplete ({error}): download the file again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _unwrap(path: Path, file: BufferedIOBase) -> BufferedIOBase:
    """Return the contents of a file as a stream, unpacked as often as it was compressed with gzip."""
    stream = file
    for _ in range(_MAX_GZIP_LAYERS):
        if not _starts_compressed(stream):
            return stream
        stream = gzip.GzipFile(fileobj=stream, mode="rb")
    if _starts_compressed(stream):
        raise DataError(f"{path}: is compressed more than {_MAX_GZIP_LAYERS} times: unpack it")
    return stream


def _starts_compressed(stream: BufferedIOBase) -> bool:
    start = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    return start == _GZIP_MAGIC


def _read_stream(path: Path, stream: BufferedIOBase) -> npt.NDArray[np.uint8]:
    head = stream.read(_SNIFFED_BYTES)
    _check_magic(path, head)
    shape, header_bytes = _read_shape(path, head)
    if math.prod(shape) > MAX_EXPANSION * path.stat().st_size:
        raise DataError(
            f"{path}: declares {_times(shape)} elements, but has only {path.stat().st_size} bytes: "
            "download the file again"
        )
    stream.seek(header_bytes)
    body = _read_body(path, stream, shape, header_bytes)
    return np.frombuffer(body, np.uint8).reshape(shape)


def _check_magic(path: Path, head: bytes) -> None:
    """Raise DataError unless ``head`` begins as IDX data of unsigned bytes in 1 to 3 dimensions does."""
    if not head:
        raise DataError(f"{path}: is empty; expected IDX data: download the file again")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what in _STRANGERS.items():
        if text.startswith(start):
            raise DataError(f"{path}: {what}")
    if head[:2] != b"\0\0"[: len(head)]:
        raise DataError(
            f"{path}: starts with the bytes {head[:4].hex(' ')}; expected 00 00 08 and the number of "
            "dimensions: this is not an IDX file"
        )
    if len(head) < 4:
        raise DataError(f"{path}: ends within its header: expected at least 8 bytes, came {len(head)}")
    element, dimensions = head[2:4]
    if element != _UNSIGNED_BYTE:
        name = _TYPE_NAMES.get(element, "unknown")
        raise DataError(
            f"{path}: has elements of type 0x{element:02x} ({name}); expected 0x08 (unsigned byte)"
        )
    if not 1 <= dimensions <= 3:
        raise DataError(f"{path}: has {dimensions} dimensions; expected 1 (labels) to 3 (images)")


def _read_shape(path: Path, head: bytes) -> tuple[tuple[int, ...], int]:
    """Return the dimensions that the header declares, and the header's length in bytes."""
    header_bytes = 4 + 4 * head[3]
    if len(head) < header_bytes:
        raise DataError(
            f"{path}: ends within its header: expected {header_bytes} bytes, came {len(head)}: "
            "download the file again"
        )
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, header_bytes, 4))
    # A dimension of 0 counts as 1 here, because NumPy refuses an empty array whose other dimensions are huge.
    if math.prod(max(size, 1) for size in shape) > MAX_BYTES:
        raise DataError(
            f"{path}: declares {_times(shape)} elements; expected at most {MAX_BYTES}: the header is damaged"
        )
    return shape, header_bytes


def _read_body(path: Path, stream: BufferedIOBase, shape: tuple[int, ...], header_bytes: int) -> bytearray:
    """Read exactly the declared elements.

    The buffer grows with the bytes that are read, so that a wrong header cannot allocate more memory than the
    file holds. The stream is read to its end, because gzip checks its sum only there, but not further than
    :data:`_MAX_EXCESS`.
    """
    expected = math.prod(shape)
    body = bytearray()
    while chunk := stream.read(min(_CHUNK_BYTES, expected - len(body) + 1)):
        body += chunk
        if len(body) > expected:
            break
    came = len(body)
    while came <= expected + _MAX_EXCESS and (chunk := stream.read(_CHUNK_BYTES)):
        came += len(chunk)
    if came != expected:
        fault = "is truncated" if came < expected else "goes on after its data"
        more = "more than " if came > expected + _MAX_EXCESS else ""
        raise DataError(
            f"{path}: {fault}: expected {header_bytes + expected} bytes for {_times(shape)} elements, "
            f"came {more}{header_bytes + came}: download the file again"
        )
    return body


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
