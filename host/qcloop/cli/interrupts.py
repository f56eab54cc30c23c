"""Ctrl-C while a command is loaded: nothing is to be kept yet, so the process ends at once, in one line."""

import os
import signal
import threading
from types import FrameType

#: Status of a process that Ctrl-C has ended.
INTERRUPTED = 130


def end_at_once() -> None:
    """Let Ctrl-C end the process with one line instead of KeyboardInterrupt.

    In the middle of an import that exception would come with a traceback, or be lost in a callback.
    A process that ignores Ctrl-C, as one in the background of a script does, goes on ignoring it.
    """
    _replace(signal.default_int_handler, _end)


def obey() -> None:
    """Let Ctrl-C end a process at once that was started with INT ignored."""
    _replace(signal.SIG_IGN, _end)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which a command can handle."""
    _replace(_end, signal.default_int_handler)


def _replace(old: object, new: object) -> None:
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is old:
        signal.signal(signal.SIGINT, new)  # type: ignore[arg-type]  # both are handlers


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"qcloop: error: interrupted\n")
    os._exit(INTERRUPTED)
