"""Checkpoints: NPZ files with a digest over all that they hold.

They are read with a small reader of their own. It takes only what :func:`write_checkpoint` writes, so a
damaged or hostile file cannot make it unpack, allocate or execute anything: members are not compressed, and
none is larger than the file.
"""

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.errors import CheckpointError
from qcloop.files import write_atomic

Arrays = dict[str, npt.NDArray[Any]]

#: Members of the file that are not arrays of the run.
_VALUES, _DIGEST = "values", "sha256"
#: Kinds of elements of arrays: integers with and without sign, and floats.
_KINDS = "iuf"
#: Most bytes of a checkpoint for whoever does not know the run: 16 million weights, which is four times what
#: an array holds.
MOST_BYTES = 1 << 29
_ENCRYPTED = 1


def write_checkpoint(path: Path, arrays: Arrays, values: dict[str, Any]) -> None:
    """Write arrays and plain values as an uncompressed NPZ file with a SHA-256 over all of it."""
    members: Arrays = {_VALUES: np.frombuffer(json.dumps(values).encode(), np.uint8), **arrays}
    members[_DIGEST] = np.frombuffer(_digest(members), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **members)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def read_checkpoint(path: Path, most_bytes: int = MOST_BYTES) -> tuple[Arrays, dict[str, Any]]:
    """Return what :func:`write_checkpoint` wrote.

    Raises CheckpointError if the file cannot be read, is larger than ``most_bytes``, or is damaged.
    """
    try:
        return _read(path, most_bytes)
    except Exception as error:  # zipfile and NumPy raise whatever a damaged byte leads to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, OSError) and error.filename is not None:
            raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason}): restore it from a copy, or start a new run"
        ) from error


def _read(path: Path, most_bytes: int) -> tuple[Arrays, dict[str, Any]]:
    if not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than the {most_bytes:,} bytes that this run can have")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its members are larger than the file")
        members = {entry.filename: _member(archive, entry) for entry in entries}
    if len(members) < len(entries) or not all(name.endswith(".npy") for name in members):
        raise ValueError("its members are not those of a checkpoint")
    members = {name.removesuffix(".npy"): array for name, array in members.items()}
    for name in (_DIGEST, _VALUES):
        if name not in members:
            raise ValueError(f"it has no {name}")
    digest = members.pop(_DIGEST).tobytes()
    if digest != _digest(members):
        raise ValueError("its digest does not match")
    values = json.loads(members.pop(_VALUES).tobytes())
    if not isinstance(values, dict):
        raise ValueError("its values are not a table")
    return members, values


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return the array in a member, in memory of its own. Nothing is allocated before its size is checked."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
        raise ValueError(f"its member {entry.filename} is compressed or encrypted")
    stream = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"its member {entry.filename} is of another version")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(stream)
    data = bytearray(stream.read())
    if kind.kind not in _KINDS or kind.itemsize * math.prod(shape) != len(data):
        raise ValueError(f"its member {entry.filename} is not what its heading says: {kind} of {shape}")
    array = np.frombuffer(data, kind)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


def _digest(members: Arrays) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(members):
        array = members[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
