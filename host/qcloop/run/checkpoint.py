"""Checkpoints: NPZ files with a digest over all that they hold."""

import hashlib
import io
import json
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


def write_checkpoint(path: Path, arrays: Arrays, values: dict[str, Any]) -> None:
    """Write arrays and plain values as an uncompressed NPZ file with a SHA-256 over all of it."""
    members: Arrays = {_VALUES: np.frombuffer(json.dumps(values).encode(), np.uint8), **arrays}
    members[_DIGEST] = np.frombuffer(_digest(members), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **members)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def read_checkpoint(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Return what :func:`write_checkpoint` wrote. Raises CheckpointError if the file is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
        digest = members.pop(_DIGEST).tobytes()
        if digest != _digest(members):
            raise ValueError("its digest does not match")
        values = json.loads(members.pop(_VALUES).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason}): restore it from a copy, or start a new run"
        ) from error
    return members, values


def _digest(members: Arrays) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(members):
        array = members[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
