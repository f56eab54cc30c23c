"""Compiled inner loops: numba, whose cache of machine code may be missing, damaged or impossible to write."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Signals that end a run in good order, where the system has them.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def kernel(function: _Function, *, nogil: bool = False, inline: bool = False) -> _Function:
    """Compile a function when it is first called; its machine code is kept for later processes.

    The code is kept in ``NUMBA_CACHE_DIR`` if that is set, otherwise beside the source or in the user's cache
    folder, in the first of them that can be written. Where none can, each process compiles anew, which takes
    some seconds. With ``NUMBA_DISABLE_JIT=1`` the function is left as it is: it computes the same bits,
    hundreds of times more slowly.

    Parameters
    ----------
    function : callable
    nogil : bool
        Whether other threads may run while the function does.
    inline : bool
        Whether the function becomes a part of each kernel that calls it: see :func:`inlined`.
    """
    # Without `_nrt`, numba's runtime, references to arrays are not counted.
    options: dict[str, Any] = {"forceinline": True, "_nrt": False} if inline else {}
    compiled: Any = njit(nogil=nogil, **options)(function)
    if compiled is not function:
        with suppress(RuntimeError):  # numba found no folder that can be written
            # What `cache=True` does, but with a cache that stops nobody from working.
            compiled._cache = _Cache(function)
    return cast(_Function, compiled)


def inlined(function: _Function) -> _Function:
    """Compile a function as a part of each kernel that calls it; it may not make arrays.

    So a kernel can be cut into functions that take many arrays. A call from kernel to kernel counts one more
    reference to each of them, which takes some 13 ns: as long as a short loop.
    """
    return kernel(function, inline=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Put off what a signal does. An exception raised in a callback of the loader would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


class _Cache(FunctionCache):
    """A cache whose failures cost time only: what cannot be read is compiled anew."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was kept for a signature; None if there is nothing, or if it cannot be read."""
        try:
            with _signals_held():
                return super().load_overload(sig, target_context)
        except Exception:  # a pickle that was cut short or overwritten raises whatever its bytes lead to
            self._empty()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, if the disk takes it."""
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()

    def _empty(self) -> None:
        """Start with an empty index, as numba reads the damaged one again before it saves."""
        try:
            self.flush()
        except OSError:
            self.disable()
