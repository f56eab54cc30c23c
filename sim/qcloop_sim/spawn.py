"""A virtual board in a process of its own, for as long as somebody uses it: ``--port sim``."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from qcloop.contract.images import ImageSet
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, part_labels
from qcloop.errors import ConfigError, LinkError
from qcloop.files import write_atomic
from qcloop_hdl.config import DEVICE_PARTS, SIZES

#: Seconds in which a board must have come up, compiled if it is the first of its kind; and have ended.
_START = 180.0
_STOP = 5.0
#: What a board says on its standard output before the port to open: a line for a user who sits and waits
#: begins with REMARK, one that every user must see with WARNING.
REMARK, WARNING = "# ", "! "


class SpawnedBoard:
    """A virtual board that ends with :meth:`close`, or with this process.

    Parameters
    ----------
    size : str
        One of the sizes that boards are built in. Without one the board has the shape of a small one.
    arguments : sequence of str
        More options of ``qcloop sim``.
    parts : ArrayPart
        What the board must have. The standard parts are never left out.
    images : ImageSet, optional
        What its flash memory holds.

    Raises
    ------
    ConfigError
        If there is no such size.
    LinkError
        If the board does not come up; the message has what it said.
    """

    def __init__(
        self,
        size: str = "",
        arguments: Sequence[str] = (),
        parts: ArrayPart = STANDARD_PARTS,
        images: ImageSet | None = None,
    ) -> None:
        if not size and parts & DEVICE_PARTS:
            # The shape of a small board, whose own memory cannot have these parts.
            small = SIZES["small"]
            size = "medium"
            arguments = ["--lanes", str(small.lanes), "--cells", str(small.array.cells), *arguments]
        size = size or "small"
        if size not in SIZES:
            raise ConfigError(f"the size of a virtual board must be {', '.join(SIZES)}, not '{size}'")
        command = [sys.executable, "-m", "qcloop", "sim", "--size", size, "--while-input", *arguments]
        if added := part_labels(parts & ~STANDARD_PARTS):
            command += ["--with", ",".join(added)]
        with TemporaryDirectory(prefix="qcloop-") as folder:
            if images is not None:
                flash = Path(folder) / "images.bin"
                write_atomic(flash, images.encode())
                command += ["--flash", str(flash)]
            self._begin(command)

    def _begin(self, command: list[str]) -> None:
        """Begin the process, and wait until the board is there."""
        # Ctrl-C is for the run, which ends the board when it has written its checkpoint.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._input, self._output = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        #: The port to open.
        self.url = self._come_up()
        if not self.url:
            _, message = self._process.communicate(timeout=_START)
            raise LinkError(f"the virtual board did not come up: {message.strip() or 'it said nothing'}")

    def _come_up(self) -> str:
        """Return the port, or nothing if the board ends before; pass on what it says until then."""
        for line in self._output:
            if line.startswith(WARNING):
                _tell(f"qcloop: warning: {line.removeprefix(WARNING)}")
            elif not line.startswith(REMARK):
                return line.strip()
            elif sys.stderr.isatty():
                _tell(line.removeprefix(REMARK))
        return ""

    def close(self) -> None:
        """End the board."""
        self._input.close()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        cast(IO[str], self._process.stderr).close()


def _tell(line: str) -> None:
    print(line, end="", file=sys.stderr, flush=True)
