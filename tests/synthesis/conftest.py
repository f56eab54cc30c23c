"""What the tests of synthesis share: Yosys is run once for a design, a family and a version of Yosys."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from kept import kept, tool_version

from qcloop_hdl.tools import synthesis

#: What Yosys writes.
FILES = ("stat.json", "netlist.json")


@pytest.fixture(scope="session", autouse=True)
def _yosys_is_run_once():
    run = synthesis._run_yosys

    def once(command, folder, script):
        folder = Path(folder)

        def make():
            done = run(command, folder, script)
            files = {name: (folder / name).read_text() for name in FILES if (folder / name).exists()}
            return [done.returncode, done.stdout, done.stderr, files]

        status, out, err, files = kept(
            make,
            tool_version(command, "-V"),
            script,
            (folder / "design.il").read_text(),
            worth=lambda result: result[0] == 0,
        )
        for name, text in files.items():
            (folder / name).write_text(text)
        return CompletedProcess(command, status, out, err)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "_run_yosys", once)
        yield
