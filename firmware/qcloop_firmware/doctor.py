"""``qcloop doctor``: which tools for boards are there, and how to get those that are missing.

This module imports nothing that an extra brings, so that the command works before any extra is installed.
"""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import click

from qcloop import __version__
from qcloop.errors import QcloopError
from qcloop.link.ports import BAUD, describe_images, found_ports, probe
from qcloop.link.transport import permission_advice
from qcloop_firmware import tools

#: Packages of the extra that bring no program.
_PACKAGES = ("amaranth", "amaranth-boards")
_GOOD, _BAD, _NOTE = "ok", "missing", "-"


@click.command()
@click.argument("port", required=False)
@click.option("--baud", default=BAUD, show_default=True, help="Bits a second, with PORT.")
def doctor(port: str | None, baud: int) -> int:
    """Say which tools for boards are there, with their versions, and how to get those that are missing.

    With PORT, say also whether a board answers there. The status is 1 if something is missing.
    """
    rows = [
        (_GOOD, "qcloop", f"{__version__}, Python {platform.python_version()} on {platform.system()}"),
        *map(_package, _PACKAGES),
        *map(_tool, tools.ALL),
        *(_own_loader(name, hint) for name, hint in tools.OWN_LOADERS.items()),
        _compiler(),
        *_ports(),
    ]
    if port is not None:
        rows.append(_hello(port, baud))
    width = max(len(name) for _, name, _ in rows)
    for state, name, words in rows:
        click.echo(f"{state:8s}{name:{width}s}  {words}")
    return int(any(state == _BAD for state, _, _ in rows))


def _package(name: str) -> tuple[str, str, str]:
    try:
        return _GOOD, name, version(name)
    except PackageNotFoundError:
        return _BAD, name, f"not installed: {tools.INSTALL}"


def _tool(tool: tools.Tool) -> tuple[str, str, str]:
    found = tool.find()
    if found is None:
        return _BAD, tool.name, f"{tool.purpose}: {tool.missing()}"
    trouble = tool.trouble(found)
    if trouble:
        return _BAD, tool.name, f"{found.command} does not run ({trouble}): {tool.hint}"
    if not found.version:
        return _BAD, tool.name, f"{found.command} does not say that it is {tool.name}: {tool.hint}"
    needed = f", needed {tool.needed}" if tool.needed else ""
    return _GOOD, tool.name, f"{found.version}{needed}; {found.origin}: {found.command}"


def _own_loader(name: str, hint: str) -> tuple[str, str, str]:
    path = shutil.which(name)
    return (_GOOD, name, path) if path else (_NOTE, name, f"not found; some boards need it: {hint}")


def _compiler() -> tuple[str, str, str]:
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path:
        return _GOOD, "C++ compiler", path
    return (
        _NOTE,
        "C++ compiler",
        "not found; virtual boards need one: `sudo apt install g++`, or name it in $CXX",
    )


def _ports() -> list[tuple[str, str, str]]:
    ports = found_ports()
    if not ports:
        return [(_NOTE, "serial ports", "none; is a board plugged in? `--port sim` is a virtual one")]
    return [_permission(port.device, port.description) for port in ports]


def _permission(device: str, description: str) -> tuple[str, str, str]:
    if os.name != "posix" or os.access(device, os.R_OK | os.W_OK):
        return _GOOD, device, description
    return _BAD, device, f"you may not open it: {permission_advice(device)}"


def _hello(port: str, baud: int) -> tuple[str, str, str]:
    try:
        identity = probe(port, baud)
    except QcloopError as error:
        return _BAD, port, f"no board answers at {baud} baud: {error}"
    array = identity.info.array
    configuration = identity.info.digest.hex()[:16]
    words = (
        f"{array.lanes} lanes, {array.cells:,} cells, {array.describe_parts()}, "
        f"configuration {configuration}, boot {identity.boots}"
    ) + describe_images(port, baud, identity)
    return _GOOD, port, f"a board answers: {words}"
