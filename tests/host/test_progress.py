"""What a user sees on a terminal while training: each epoch has a line of its own, above the bar."""

import os
import re
import sys

import pytest

pty = pytest.importorskip("pty", reason="needs pseudo-terminals, which Windows does not have")

_TOKEN = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


def screen(output, columns):
    """Return the lines that a terminal shows in the end, of what was written to it."""
    lines, row, column = [""], 0, 0
    for number, code, end, text in _TOKEN.findall(output):
        if end == "\r":
            column = 0
        elif end == "\n":
            row += 1
        elif code == "A":
            row = max(0, row - int(number or 1))
        elif code == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        for sign in text:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + sign + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines if line.strip()]


def on_a_terminal(arguments, columns):
    """Run a command on a terminal; return its exit status and all that it wrote."""
    child, handle = pty.fork()
    if child == 0:
        os.environ |= {"COLUMNS": str(columns), "LINES": "30", "TERM": "xterm"}
        os.execv(sys.executable, [sys.executable, "-m", "qcloop", *arguments])
    output = b""
    while True:
        try:
            came = os.read(handle, 65536)
        except OSError:  # Linux: the terminal of a process that has ended
            break
        if not came:
            break
        output += came
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output.decode()


@pytest.mark.parametrize("columns", [120, 80])
def test_each_epoch_has_a_line_of_its_own(tmp_path, columns):
    out = tmp_path / "run"
    status, output = on_a_terminal(
        ["train", "--network", "784-10", "--images", "3000", "--epochs", "3", "--out", str(out)], columns
    )
    assert status == 0, output
    assert "accuracy" in output
    shown = "\n".join(screen(output, columns)).replace("\n", "" if columns < 100 else "\n")
    found = re.findall(
        r"epoch +(\d)  loss \d\.\d{4}  train +[\d.]+ %  test +[\d.]+ %  array [0-9a-f]{12}", shown
    )
    assert found == ["1", "2", "3"], shown
    assert "━" not in shown and "epoch 1/3" not in shown
    if columns > 100:
        assert len(re.findall(r"^epoch ", shown, re.MULTILINE)) == 3


def test_the_terminal_of_this_test_shows_what_a_terminal_shows():
    assert screen("one\r\ntwo\rT\x1b[1A\r\x1b[2Knew", 80) == ["new", "Two"]
    assert screen("12345678", 5) == ["12345", "678"]
