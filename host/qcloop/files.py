"""Files that are whole or absent: written beside their final name, flushed, then renamed."""

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace a file by new content; a reader, or a kill at any instant, sees the old or the new one."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "posix":  # the rename itself must reach the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
