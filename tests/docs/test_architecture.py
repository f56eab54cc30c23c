"""What the page on the architecture says of imports is so."""

import ast
import re

import pytest
from tutorial_blocks import ROOT

from qcloop.contract.generator import Stream

PAGE = (ROOT / "docs" / "architecture.md").read_text()
#: Folder, name of the package, and those of ours that it may import.
PACKAGES = [
    (folder, name, {name, *re.findall(r"`(qcloop\w*)`", allowed)})
    for folder, name, allowed in re.findall(
        r"^\| `(\w+/\w+)` \| `(\w+)` \| .* \| (.*) \|$", PAGE, re.MULTILINE
    )
]


def imports(path):
    """Yield the top packages that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


def test_all_packages_are_named():
    assert [name for _, name, _ in PACKAGES] == ["qcloop", "qcloop_hdl", "qcloop_sim", "qcloop_firmware"]


@pytest.mark.parametrize(("folder", "name", "allowed"), PACKAGES, ids=[name for _, name, _ in PACKAGES])
def test_imports_point_one_way(folder, name, allowed):
    found = {used for path in (ROOT / folder).rglob("*.py") for used in imports(path) if used[:6] == "qcloop"}
    assert name in found
    assert found <= allowed


def test_definitions_for_both_sides_need_no_amaranth():
    shared = re.findall(r"^\| `(qcloop/[\w./]+)`(?:, `(\w+\.py)`)? \|", PAGE, re.MULTILINE)
    assert len(shared) == 5
    for first, second in shared:
        for path in (ROOT / "host" / first, *([ROOT / "host/qcloop" / second] if second else [])):
            assert "amaranth" not in set(imports(path)), path


def test_streams_are_those_of_the_code():
    rows = re.findall(r"^\| (\d) `(\w+)` \|", PAGE, re.MULTILINE)
    assert {name: int(value) for value, name in rows} == {stream.name: stream.value for stream in Stream}
