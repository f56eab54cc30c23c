"""Designs as text, and digests of them that are known without making the text."""

import contextlib
import sys
from functools import cache, cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

import qcloop.contract
import qcloop_hdl
from qcloop.errors import FileError
from qcloop.files import write_atomic


class Design:
    """A component as text in RTLIL, and the digest of that text.

    Making the text takes seconds for a board: Amaranth writes down every bit of its memory. So the digest
    is kept in a file, which is named after all that the text depends on.

    Parameters
    ----------
    component
        Amaranth component, or a function that makes it, which is called only where the text is made.
    description : str
        Class and parameters of a component of ``qcloop_hdl``; two with the same description are the same.
        Empty for any other component: its digest is not kept.
    folder : Path
        Where digests are kept.
    """

    def __init__(self, component: Any, description: str, folder: Path) -> None:
        self._component, self._description, self._folder = component, description, folder

    @cached_property
    def text(self) -> str:
        """The design in RTLIL."""
        component = self._component() if callable(self._component) else self._component
        design: str = rtlil.convert(component, name="top", emit_src=False)
        return design

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        if not self._description:
            return sha256(self.text.encode()).hexdigest()
        name = sha256(f"{self._description}\n{_gateware()}".encode()).hexdigest()
        path = self._folder / f"{name}.design"
        with contextlib.suppress(OSError):
            return path.read_text()
        digest = sha256(self.text.encode()).hexdigest()
        # Whether the folder can be written matters only to whoever compiles.
        with contextlib.suppress(OSError, FileError):
            make_cache(self._folder)
            write_atomic(path, digest)
        return digest


def make_cache(folder: Path) -> None:
    """Make the folder of compiled designs, which nobody else may write to, whatever the umask is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@cache
def _gateware() -> str:
    """Return a text that changes with the gateware, with Amaranth and with Python."""
    texts = [f"amaranth {version('amaranth')}, Python {sys.version}"]
    for package in (qcloop_hdl, qcloop.contract):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            texts.append(f"{path.name} {sha256(path.read_bytes()).hexdigest()}")
    return "\n".join(texts)
