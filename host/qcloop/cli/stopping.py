"""INT, TERM and HUP: a command ends in order, with one line and the exit code of the signal."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from qcloop.errors import LinkError, QcloopError

#: What an interrupt leaves of work whose pieces are kept: the end of a line.
SAME_AGAIN = "; what is finished is kept, the same command goes on"

#: Ctrl-C, the end of a session or of a job (also by a scheduler), and the loss of the terminal.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(QcloopError):
    """A signal has ended the command. Its exit code is that of a shell: 128 and the number of the signal."""

    def __init__(self, number: int, kept: str) -> None:
        by = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        super().__init__(f"{by}{kept}")
        self.exit_code = 128 + number


class StopRequest:
    """Whether a signal has asked for the end; as a context manager, it catches INT, TERM and HUP.

    While :attr:`waits` is True the first signal is only noted, so that a batch ends before the checkpoint is
    written. Otherwise, and from the second signal on, KeyboardInterrupt is raised where the program is, and
    becomes :class:`Stopped` at the end of the block. A signal that the process ignores, as under ``nohup``,
    stays ignored.
    """

    def __init__(self) -> None:
        self.waits = False
        self.number: int | None = None
        #: End of the line that is printed: what is kept.
        self.kept = ""
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only it gets signals
            for name in _NAMES:
                number = getattr(signal, name, None)  # Windows has no HUP
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._old[number] = signal.signal(number, self._come)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        # The loss of a terminal is also an OSError of whatever is printed to it. Who ends all processes of a
        # job ends a virtual board, too.
        if self.number is not None and isinstance(error, KeyboardInterrupt | OSError | LinkError):
            raise Stopped(self.number, self.kept) from None

    def __call__(self) -> bool:
        """Tell whether the command is to end."""
        return self.number is not None

    def _come(self, number: int, _frame: FrameType | None) -> None:
        first = self.number is None
        self.number = number
        if not (first and self.waits):
            raise KeyboardInterrupt
