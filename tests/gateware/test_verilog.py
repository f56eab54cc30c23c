"""The exported Verilog: the same bytes each time, complete, and what the command says."""

import subprocess
import sys
from dataclasses import replace

import pytest

from qcloop.cli import main
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.verilog import engine_verilog


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def test_the_same_bytes_in_another_process(tmp_path):
    for number in (1, 2):
        subprocess.run(
            [sys.executable, "-c", "from qcloop.cli import main; main()", "hdl", "verilog", "-o", "engine.v"],
            cwd=(folder := tmp_path / str(number)).mkdir() or folder,
            env={"PYTHONHASHSEED": str(number)},
            check=True,
            capture_output=True,
        )
    first, second = ((tmp_path / name / "engine.v").read_bytes() for name in "12")
    assert first == second
    assert str(tmp_path).encode() not in first


def test_the_header_states_the_configuration(tmp_path, capsys):
    path = tmp_path / "engine.v"
    assert run("hdl", "verilog", "--size", "small", "-o", str(path)) == 0
    config = SIZES["small"]
    header = path.read_text().split("module")[0]
    assert "4 lanes, 65536 cells, side 1024, operand buffer 1024 bytes" in header
    assert "// parts: read-noise, converter, verify\n" in header
    assert config.digest.hex() in header
    assert config.digest.hex()[:16] in capsys.readouterr().err


def test_parts_are_left_out_by_name(tmp_path, capsys):
    path = tmp_path / "engine.v"
    assert run("hdl", "verilog", "--without", "read-noise, verify", "-o", str(path)) == 0
    lean = SIZES["small"].without(ArrayPart.READ_NOISE | ArrayPart.VERIFY)
    text = path.read_text()
    assert text == engine_verilog(lean)
    assert "// parts: converter\n" in text and lean.digest.hex() in text
    assert "saturator" in text and "array.read_noise" not in text and "verdict" not in text
    assert "small without read-noise, verify, 4 lanes" in capsys.readouterr().err
    assert "// parts: none\n" in engine_verilog(SIZES["small"].without(STANDARD_PARTS))
    assert run("hdl", "verilog", "--without", "adc") == 2
    assert "unknown part 'adc': expected read-noise, converter, verify" in capsys.readouterr().err


def test_parts_are_added_by_name(tmp_path, capsys):
    path = tmp_path / "engine.v"
    assert run("hdl", "verilog", "--with", "learning", "--without", "verify", "-o", str(path)) == 0
    config = SIZES["small"].with_parts(ArrayPart.LEARNING).without(ArrayPart.VERIFY)
    header = path.read_text().split("module")[0]
    assert "// parts: read-noise, converter, learning\n" in header and config.digest.hex() in header
    assert "small with learning, without verify, 4 lanes, 32768 cells" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(tmp_path, capsys):
    assert run("hdl", "verilog", "-o", str(tmp_path / "none" / "engine.v")) == 2
    assert "none/engine.v" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "qcloop_hdl.tools.cli", None)
    monkeypatch.delitem(sys.modules, "qcloop_hdl.tools.verilog", raising=False)
    assert run("hdl", "verilog", "--size", "small") == 2
    assert "pip install 'qcloop[hdl]'" in capsys.readouterr().err


def test_no_register_has_a_value_of_no_bits():
    """Icarus refuses them. The number of cells makes a long text, and no other register."""
    for config in SIZES.values():
        short = replace(config, array=replace(config.array, cells=1 << 11))
        assert "{0{" not in engine_verilog(short)
