"""The code blocks of a Markdown page, and whether what they print is what the page shows."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [str(ROOT / folder) for folder in ("host", "hdl", "sim", "firmware")]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block that is run, and what it prints if that is shown."""

    language: str
    code: str
    output: str | None
    line: int


def blocks_of(page: str) -> list[Block]:
    """Return the ``bash`` and ``python`` blocks, each with the ``text`` block right behind it."""
    found = list(_FENCE.finditer(page))
    blocks = []
    for number, fence in enumerate(found):
        if fence[1] not in ("bash", "python"):
            continue
        after = found[number + 1] if number + 1 < len(found) else None
        shown = after is not None and after[1] == "text" and not page[fence.end() : after.start()].strip()
        line = page.count("\n", 0, fence.start()) + 1
        blocks.append(Block(fence[1], fence[2], after[2] if shown else None, line))
    return blocks


def difference(shown: str, printed: str) -> str:
    """Return where the output differs from what is shown, or ''.

    A line ``...`` stands for any lines, ``...`` within a line for any characters but a line's end; blanks at
    the end of a line do not count.
    """
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    number, free = 0, False
    for wanted in (line.rstrip() for line in shown.strip().splitlines()):
        if wanted == "...":
            free = True
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        here = range(number, len(lines) if free else min(number + 1, len(lines)))
        match = next((one for one in here if pattern.fullmatch(lines[one])), None)
        if match is None:
            came = lines[number] if number < len(lines) else "nothing"
            return f"shown: {wanted}\nprinted{' first' if free else ''}: {came}"
        number, free = match + 1, False
    if number < len(lines) and not free:
        return f"shown: nothing\nprinted: {lines[number]}"
    return ""


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `qcloop` and `python` are those of these sources."""
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "qcloop"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from qcloop.cli import main; main()" "$@"\n')
    command.chmod(0o755)
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (folder / name).chmod(0o755)
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(SOURCES), "COLUMNS": "200"}


def run_block(block: Block, folder: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a block in a folder; its error output is part of its output."""
    command = (
        ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else ["python", "-W", "error", "-c"]
    )
    return run_command([*command, block.code], folder, env)


def run_command(
    command: Sequence[str | Path], folder: Path, env: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder; its error output is part of its output."""
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
