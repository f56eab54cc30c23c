"""Files that are whole or absent, also after a kill or a power failure in the middle of writing.

Every file that qcloop writes is written here, so that a full disk is the same one line everywhere.
"""

import contextlib
import errno
import os
from pathlib import Path

from qcloop.errors import FileError, QcloopError

#: What a user can do about the reasons for which a file cannot be written.
_CURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.ENOENT: "make its folder, or choose another",
    errno.ENOTDIR: "choose a name in a folder",
    errno.EISDIR: "choose a name that is not a folder's",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_atomic(
    path: Path, content: bytes | str, error: type[QcloopError] = FileError, what: str = ""
) -> None:
    """Replace the content of a file, or make it.

    It is written under another name, flushed to the disk and then renamed. Whoever reads the file at any
    instant, also after a kill, finds the old content or the new. A symbolic link is followed. What is not a
    regular file, such as a pipe or ``/dev/stdout``, is written as it is, since it cannot be replaced.

    Parameters
    ----------
    error : subclass of QcloopError
        The exception that is raised.
    what : str
        What the file is, for the message.

    Raises
    ------
    FileError
        Or what ``error`` says, if the file cannot be written: the disk is full or read-only, a limit on the
        size of files is reached, the folder is missing, or a right. What was there before is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as reason:
        raise error(explain("write", path, reason, what)) from reason


def explain(verb: str, path: Path | str, reason: OSError, what: str = "") -> str:
    """Return one line that says why a file or folder cannot be written, made or locked, and what to do."""
    words = f"cannot {verb} {what + ' ' if what else ''}{path}: {reason.strerror or reason}"
    cure = _CURES.get(reason.errno or 0)
    return f"{words}: {cure}" if cure else words


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:  # also an interruption: the temporary file is of no use to anybody
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":  # the new name must reach the disk as well; only here can a folder be flushed
        with contextlib.suppress(PermissionError):  # a folder that can be written need not be readable
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def read_text(path: Path, most_bytes: int, encoding: str = "utf-8") -> str:
    """Return the text of a regular file.

    It is never larger than ``most_bytes``, and never a pipe, so that reading it ends.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no regular file, is larger, or is not text in this encoding.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error
