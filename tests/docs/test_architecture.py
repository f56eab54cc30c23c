"""What the page on the architecture says of imports is so."""

import ast
import re
import subprocess
import sys
from collections import defaultdict

import pytest
from tutorial_blocks import ROOT

from qcloop.contract.generator import Stream

PAGE = (ROOT / "docs" / "architecture.md").read_text()
HOST, HDL = ROOT / "host" / "qcloop", ROOT / "hdl" / "qcloop_hdl"
#: Folder, name of the package, and the modules of ours that it may import.
PACKAGES = [
    (folder, name, {name, *re.findall(r"`(qcloop[\w.]*)`", allowed)})
    for folder, name, allowed in re.findall(
        r"^\| `(\w+/\w+)` \| `(\w+)` \| .* \| (.*) \|$", PAGE, re.MULTILINE
    )
]
#: Rooms of the host in the order of the page, and those that each may import.
ROOMS = {
    room: set(re.findall(r"`(\w+)`", allowed))
    for room, allowed in re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE)
}


def imports(path):
    """Yield the modules that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "qcloop":
            yield from (f"qcloop.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def ours(folder):
    """Return what the files of a folder import of our packages, the version left out."""
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return {name for path in files for name in imports(path) if name[:6] == "qcloop"} - {"qcloop.__version__"}


def within(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def loaded_by(statement):
    """Return the modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_all_packages_are_named():
    assert [name for _, name, _ in PACKAGES] == ["qcloop", "qcloop_hdl", "qcloop_sim", "qcloop_firmware"]


@pytest.mark.parametrize(("folder", "name", "allowed"), PACKAGES, ids=[name for _, name, _ in PACKAGES])
def test_imports_point_one_way(folder, name, allowed):
    found = ours(ROOT / folder)
    assert any(within(module, {name}) for module in found)
    assert not [module for module in found if not within(module, allowed)]


def test_the_gateware_needs_three_modules_of_the_host():
    (allowed,) = (allowed for _, name, allowed in PACKAGES if name == "qcloop_hdl")
    assert allowed == {"qcloop_hdl", "qcloop.contract", "qcloop.errors", "qcloop.files"}


def test_the_engine_is_loaded_without_numba_scipy_or_the_rest_of_the_host():
    loaded = loaded_by("import qcloop_hdl.engine")
    assert not {"numba", "scipy", "pandas", "matplotlib"} & loaded
    assert {name for name in loaded if within(name, {"qcloop"})} == {
        "qcloop",
        "qcloop.contract",
        "qcloop.contract.fields",
        "qcloop.contract.formats",
        "qcloop.contract.generator",
        "qcloop.contract.learner",
        "qcloop.contract.operations",
        "qcloop.contract.operations.cells",
        "qcloop.contract.operations.counters",
        "qcloop.contract.operations.devices",
        "qcloop.contract.operations.info",
        "qcloop.contract.operations.learning",
        "qcloop.contract.operations.opcodes",
        "qcloop.contract.operations.products",
        "qcloop.contract.operations.regions",
        "qcloop.contract.parts",
        "qcloop.contract.plan",
        "qcloop.contract.seeding",
        "qcloop.contract.types",
        "qcloop.errors",
    }


def test_definitions_for_both_sides_need_neither_amaranth_nor_numba():
    named = set(re.findall(r"^\| `qcloop/contract/([\w/]+)\.py` \|", PAGE, re.MULTILINE))
    files = {
        str(path.relative_to(HOST / "contract").with_suffix("")): path
        for path in (HOST / "contract").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert named == set(files)
    for name, path in files.items():
        assert not {module.partition(".")[0] for module in imports(path)} & {"amaranth", "numba", "scipy"}, (
            name
        )
    every = ", ".join(f"qcloop.contract.{name.replace('/', '.')}" for name in files)
    assert not {"amaranth", "numba", "scipy"} & loaded_by(f"import {every}")


def test_all_rooms_of_the_host_are_named():
    rooms = {path.stem for path in HOST.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(ROOMS) == rooms - {"__init__", "__main__"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_those_that_the_page_allows_all_of_them_above_it(room):
    found = {module.split(".")[1] for module in ours(HOST / room)} - {room}
    assert found <= ROOMS[room]
    above = list(ROOMS)[: list(ROOMS).index(room)]
    assert ROOMS[room] <= set(above), "so no two rooms need each other"


def test_a_crossbar_knows_no_run_and_the_contract_nobody():
    assert ROOMS["contract"] == {"errors"}
    assert not {"training", "torch", "run", "link"} & ROOMS["crossbar"]
    assert not {"device", "crossbar", "training", "link"} & ROOMS["array"]


def test_a_class_has_its_name_to_itself():
    defined = defaultdict(list)
    for path in (*HOST.rglob("*.py"), *HDL.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in defined.items() if len(paths) > 1}


def test_streams_are_those_of_the_code():
    rows = re.findall(r"^\| (\d) `(\w+)` \|", PAGE, re.MULTILINE)
    assert {name: int(value) for value, name in rows} == {stream.name: stream.value for stream in Stream}
