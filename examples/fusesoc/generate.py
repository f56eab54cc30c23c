"""The generator that FuseSoC calls: turns parameters into options of `qcloop hdl verilog`, and runs it.

FuseSoC gives it a YAML file, and takes the core file that it leaves in the current folder.
"""

import subprocess
import sys
from pathlib import Path

try:
    import yaml
except ModuleNotFoundError:
    sys.exit(
        f"{sys.executable} has no PyYAML: run fusesoc in an environment that has both fusesoc and qcloop"
    )

CORE = """\
CAPI=2:
name: {vlnv}
filesets:
  rtl:
    files: [qcloop.v]
    file_type: verilogSource
targets:
  default:
    filesets: [rtl]
"""


def options(parameters: dict[str, object]) -> list[str]:
    """Return parameters as options: one that is true has no value, and one that is false is left out."""
    words = []
    for name, value in parameters.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words


def main(description: str) -> None:
    """Write ``qcloop.v`` and the core file that names it."""
    given = yaml.safe_load(Path(description).read_text())
    command = ["qcloop", "hdl", "verilog", *options(given.get("parameters") or {}), "-o", "qcloop.v"]
    try:
        status = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        sys.exit("the command qcloop is not on the path: pip install 'qcloop[hdl]', and use that environment")
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    Path("qcloop.core").write_text(CORE.format(vlnv=given["vlnv"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
