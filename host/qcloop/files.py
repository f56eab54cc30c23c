"""Files that are whole or absent, also after a kill or a power failure in the middle of writing."""

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace the content of a file, or make it.

    It is written under another name, flushed to the disk and then renamed. Whoever reads the file at any
    instant, also after a kill, finds the old content or the new.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "posix":  # the new name must reach the disk as well; only here can a folder be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
