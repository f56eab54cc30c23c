"""Files of measurements that are damaged, hostile or huge: curves or one line, soon, and in little memory."""

import io
import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import openpyxl
import pytest
import scipy.io

from qcloop.errors import MeasurementError
from qcloop.fit import listed, read_measurements
from qcloop.measurements.cells import read_grid

#: Longest time for one file, in seconds: a mutated file has some kB.
SOON = 5.0

TEXTS = [
    "pulse;G (uS);H (uS)\n1;1.242,0;40,5\n2;1.184,0;30,5\n3;942,0;20,5\n4;700,0;10,5\n",
    "device,cycle,P/D,pulse,R (kOhm)\n"
    + "".join(f"{d},1,{b},{n},{9 + n}\n" for d in "ab" for b in "PD" for n in (1, 2, 3)),
    "SetupTitle,x\nDimension1, 32, 32\nDataName,Index,Time,Iread (A)\n"
    + "".join(f"DataValue,{n},{n / 100},{1e-5 - n * 1e-7:g}\n" for n in range(1, 9)),
    "# remark\npulse\tlog10 R (Ohm)\n1\t3.0\n2\t3.25\n3\tOVLD\n4\t4.5\n",
    "pulse,1,2,3,4\ncycle 1,40 uS,30 uS,20 uS,10 uS\ncycle 2,41 uS,31 uS,21 uS,11 uS\n",
]  # fmt: skip


def workbook():
    """Return a workbook with texts, numbers, a formula and a chart sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["pulse", "G (uS)", "note"])
    for n in range(1, 9):
        sheet.append([n, 40.5 - 3 * n, f"=B{n + 1}*2"])
    book.create_chartsheet("chart")
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def matlab(**options):
    """Return a MATLAB file with two matrices."""
    file = io.BytesIO()
    scipy.io.savemat(file, {"G_uS": np.linspace(40, 10, 24).reshape(8, 3), "who": "me"}, **options)
    return file.getvalue()


SEEDS = [
    *(("a.csv", text.encode()) for text in TEXTS),
    ("a.xlsx", workbook()),
    ("a.mat", matlab(do_compression=True)),
    ("a.mat", matlab()),
    ("a.mat", matlab(format="4")),
]


def repacked(content, change):
    """Return a workbook with one of its parts changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


#: What a parser may trip over.
TOKENS = [
    b",",
    b";",
    b"\n",
    b"\0",
    b"1e999",
    b"-1",
    b"\xff",
    b'"',
    b"1.234",
    b"inf",
    b"=",
    b"(",
    b"</c>",
    b"&#0;",
]


def mutated(content, rng):
    """Return bytes with some of them replaced, deleted, repeated, or tokens put between them."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 40))
        match int(rng.integers(0, 5)):
            case 0:
                data[at : at + 1] = bytes([int(rng.integers(0, 256))])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * int(rng.integers(1, 20))
            case 3:
                data[at:at] = TOKENS[int(rng.integers(0, len(TOKENS)))]
            case _:
                other = int(rng.integers(0, len(data) + 1))
                data[at : at + length] = data[other : other + length]
    return bytes(data)


def one_of_the_seeds(rng):
    """Return the name and content of a mutated file; half of the workbooks are changed within a part."""
    name, content = SEEDS[int(rng.integers(0, len(SEEDS)))]
    if name.endswith(".xlsx") and rng.integers(0, 2):
        sheets = ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml")
        part = sheets[int(rng.integers(0, len(sheets)))]
        return name, repacked(content, lambda n, data: mutated(data, rng) if n == part else data)
    return name, mutated(content, rng)


#: Options of which one is given with each file.
OPTIONS = [
    {},
    {"unit": "uS"},
    {"read_voltage": 0.1},
    {"decimal": ","},
    {"transpose": True, "unit": "kOhm"},
    {"columns": ["2"]},
    {"rows": ["pulse=3"]},
    {"pulse_column": "1", "quantity": "conductance"},
]


def check(path, options):
    """Read a file; it must give sound curves and lines, or one line, and soon."""
    began = time.process_time()
    try:
        measured = read_measurements(path, **options)
        lines = [*measured.notes, *listed(measured.findings, None)]
        for curve in measured.curves:
            assert len(curve.pulses) == len(curve.values) == len(curve.rows) > 1
            assert np.all(np.isfinite(curve.values)) and np.all(curve.values > 0)
            assert np.all(np.diff(curve.pulses) > 0)
    except MeasurementError as error:
        lines = [str(error)]
    assert all(line and line.isprintable() for line in lines), lines
    assert time.process_time() - began < SOON


def fuzz(tmp_path, count, seed):
    """Read mutated files; the one that fails is shown by its seed, and is left in the folder."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name, content = one_of_the_seeds(rng)
        path = tmp_path / name
        path.write_bytes(content)
        try:
            check(path, OPTIONS[int(rng.integers(0, len(OPTIONS)))])
        except Exception as error:
            raise AssertionError(f"file {number} of seed {seed} ({path}): {error!r}") from error


def test_1000_mutated_files_give_curves_or_one_line(tmp_path):
    fuzz(tmp_path, 1000, 1)


@pytest.mark.slow
def test_50000_mutated_files_give_curves_or_one_line(tmp_path):
    fuzz(tmp_path, 50_000, 2)


# -- no row is lost without a word -----------------------------------------------------------------


def number(value, decimal, group, rng):
    """Return a number as a spreadsheet of some locale writes it, with thousands separated now and then."""
    text = f"{value:.2f}"
    whole, fraction = text.split(".")
    if group and len(whole) > 3 and rng.integers(0, 2):
        whole = f"{whole[:-3]}{group}{whole[-3:]}"
    return f"{whole}{decimal}{fraction}"


def table(rng):
    """Return a text of two cycles of 12 pulses, the rows of its body, and the values by row and column."""
    delimiter, decimal, group = [(";", ",", "."), ("\t", ",", "\u00a0"), ("\t", ".", "'"), (";", ".", ",")][
        int(rng.integers(0, 4))
    ]
    above = ["Operator", "Dimension1;32;32".replace(";", delimiter), f"Sample{delimiter}7"]
    lines = [str(line) for line in above[: int(rng.integers(0, 4))]]
    lines.append(delimiter.join(["Pulse", "G (uS)", "H (uS)"]))
    values, first = {}, len(lines) + 1
    for n in range(12):
        cells = [str(n + 1)]
        for column in (2, 3):
            value = 1500.25 - 120 * n + column
            mark = ["OVLD", ">1200", "n.a.", "#DIV/0!"][int(rng.integers(0, 4))]
            if rng.integers(0, 12) == 0:
                cells.append(mark)
            else:
                cells.append(number(value, decimal, group, rng))
                values[first + n, column] = round(value, 2)
        lines.append(delimiter.join(cells))
    return "\n".join(lines) + "\n", range(first, first + 12), values


def rows_are_read_or_named(tmp_path, count, seed):
    """Read tables; each value is read as it was written, and each cell that is none is listed."""
    read = 0
    for number_ in range(count):
        text, rows, values = table(np.random.default_rng([seed, number_]))
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        try:
            measured = read_measurements(path)
        except MeasurementError as error:
            assert "values are no numbers" in str(error), (number_, str(error))
            continue
        read += 1
        found = {
            (row, curve.column): value
            for curve in measured.curves
            for row, value in zip(curve.rows, curve.values.tolist(), strict=True)
        }
        assert found == pytest.approx(values), number_
        named = {(finding.row, finding.column) for finding in measured.findings}
        assert {(row, column) for row in rows for column in (2, 3)} <= found.keys() | named, number_
    return read


def test_in_1000_tables_of_several_locales_no_row_is_lost(tmp_path):
    assert rows_are_read_or_named(tmp_path, 1000, 1) > 900


@pytest.mark.slow
def test_in_20000_tables_of_several_locales_no_row_is_lost(tmp_path):
    assert rows_are_read_or_named(tmp_path, 20_000, 2) > 15_000


# -- bounds ----------------------------------------------------------------------------------------

SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def sheet(rows):
    """Return a workbook whose sheet has these rows, as XML."""
    start, end = f'<worksheet xmlns="{SHEET}"><sheetData>'.encode(), b"</sheetData></worksheet>"
    return repacked(
        workbook(), lambda n, data: start + rows + end if n == "xl/worksheets/sheet1.xml" else data
    )


def cell(name, value=1):
    return f'<c r="{name}"><v>{value}</v></c>'.encode()


def row(number, *cells):
    return f'<row r="{number}">'.encode() + b"".join(cells) + b"</row>"


def lying_matrix():
    """Return a MATLAB file with a matrix of 2 x 2 whose compressed numbers are 100 million zeros."""
    parts = (
        struct.pack("<IIII", 6, 8, 6, 0)
        + struct.pack("<IIii", 5, 8, 2, 2)
        + struct.pack("<II4s4x", 1, 1, b"G")
    )
    numbers = struct.pack("<II", 9, 100_000_000) + bytes(100_000_000)
    packed = zlib.compress(struct.pack("<II", 14, len(parts) + len(numbers)) + parts + numbers)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    return header + struct.pack("<II", 15, len(packed)) + packed


def large_matrix():
    file = io.BytesIO()
    scipy.io.savemat(file, {"G_uS": np.zeros((1100, 1000), np.uint8)}, do_compression=True)
    return file.getvalue()


def with_entities():
    """Return a workbook whose sheet has entities that would expand to 10 GB."""
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 100}'>" for n in range(1, 6))
    rows = f"<!DOCTYPE a [<!ENTITY e0 'x'>{entities}]><worksheet>&e5;</worksheet>".encode()
    return repacked(workbook(), lambda n, data: rows if n == "xl/worksheets/sheet1.xml" else data)


HUGE = {
    "a cell in row 50,000,000": (
        lambda: sheet(row(1, cell("A1")) + row(50_000_000, cell("A50000000"))),
        r"sheet 'Sheet' of .*\.bin has more than 1048576 rows",
    ),
    "cells in column XFD": (
        lambda: sheet(b"".join(row(n, cell(f"A{n}"), cell(f"XFD{n}")) for n in range(1, 2000))),
        "more than 1000000 cells up to row 62",
    ),
    "a formula in row 50,000,000": (
        lambda: sheet(row(1, cell("A1")) + b'<row r="50000000"><c r="A50000000"><f>A1</f></c></row>'),
        "more than 1048576 rows",
    ),
    "a formula behind the last column": (
        lambda: sheet(row(1, cell("A1")) + b'<row r="2"><c r="ZZZ2"><f>A1</f></c></row>'),
        "row 2 of sheet 'Sheet' of .* has 18278 columns: at most 16384",
    ),
    "80 MB of cells": (
        lambda: sheet(row(1, b"<c><v>1</v></c>" * 5) * 900_000),
        "expands to 78 MiB: at most 64 MiB",
    ),
    "12 million empty cells in a row": (
        lambda: sheet(row(1, b"<c/>" * 12_000_000)),
        r"more than 1000000 cells \(12000\d+ XML tags, at most 6000000",
    ),
    "entities": (with_entities, "has a document type in xl/worksheets/sheet1.xml"),
    "a matrix of 1,100,000 values": (
        large_matrix,
        r"variable G_uS \(1100 x 1000\) of .* has 1100000 values: at most 1000000",
    ),
    "a matrix that expands to more than it states": (
        lying_matrix,
        "a compressed array ends early, or expands too far",
    ),
    "1,050,000 rows of text": (lambda: b"1\n" * 1_050_000, "more than 1000000 cells up to row 1000001"),
    "3,000,000 rows of text": (lambda: b"1\n" * 3_000_000, "more than 1048576 rows"),
    "20,000 columns of text": (
        lambda: b"1;" * 20_000 + b"\n1\n",
        "row 1 of .* has 20001 columns: at most 16384",
    ),
    "a line of 400,000 characters": (lambda: b"1," * 200_000, "has 400000 characters: at most 262144"),
    "a file of 65 MiB": (lambda: bytes(65 << 20), "is larger than 64 MiB"),
    "16,000 names above 450,000 rows": (
        lambda: b"\t".join([b"a"] * 16_000) + b"\n" + b"2\t3\n" * 450_000,
        "the table has 450000 rows and 16000 columns, most of them empty",
    ),
    "20,000 curves without common pulse numbers": (
        lambda: (
            b"cycle,pulse,G (uS)\n" + b"".join(b"%d,%d,%d\n" % (n // 2, n, 40 - n % 2) for n in range(40_000))
        ),
        "has 20000 curves and 40000 different pulse numbers",
    ),
}


@pytest.mark.parametrize("what", HUGE)
def test_what_is_too_large_is_refused_soon(tmp_path, what):
    make, message = HUGE[what]
    path = tmp_path / ("a.mat" if "matrix" in what else "a.bin")
    path.write_bytes(make())
    began = time.process_time()
    with pytest.raises(MeasurementError, match=message) as error:
        read_measurements(path, unit="uS" if "curves" not in what else None)
    assert "\n" not in str(error.value)
    assert time.process_time() - began < 2 * SOON


def test_the_memory_for_a_file_is_bounded(tmp_path):
    for what in ("cells in column XFD", "12 million empty cells in a row", "3,000,000 rows of text"):
        (tmp_path / f"{len(what)}.bin").write_bytes(HUGE[what][0]())
    (tmp_path / "a.mat").write_bytes(lying_matrix())
    code = (
        "import pathlib, resource, sys\n"
        "from qcloop.errors import MeasurementError\n"
        "from qcloop.fit import read_measurements\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        read_measurements(path, unit='uS')\n"
        "    except MeasurementError:\n"
        "        pass\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500  # MiB


@pytest.mark.parametrize(
    "text",
    [
        f"n,G (uS)\n1,{'1' * 30_000}x\n2,30\n3,20\n4,10\n5,9\n",
        f"n,G (uS)\n1,<1{'a' * 30_000} b c\n2,30\n3,20\n4,10\n5,9\n",
        f"n,G (uS) {'(' * 30_000}\n2,30\n3,20\n4,10\n5,9\n",
        f"n,G (uS) {'@' * 30_000}\n2,30\n3,20\n4,10\n5,9\n",
        f"n,G (uS) {'V ' * 15_000}=\n2,30\n3,20\n4,10\n5,9\n",
        f"n,log10 {'(' * 30_000}R\n2,3\n3,2\n",
    ],
)
def test_long_cells_take_no_time(tmp_path, text):
    path = tmp_path / "long.csv"
    path.write_text(text)
    began = time.process_time()
    try:
        measured = read_measurements(path, unit="uS" if "log10" not in text else "Ohm")
        assert all(len(line) < 300 for line in [*measured.notes, *listed(measured.findings)])
    except MeasurementError as error:
        assert len(str(error)) < 600
    assert time.process_time() - began < 1


def test_what_may_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(MeasurementError, match=r"(pipe|zero) is no regular file: save the measurements"):
            read_measurements(path)
    with pytest.raises(MeasurementError, match=r"cannot read .*: Is a directory"):
        read_measurements(tmp_path)


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:1000] + b"\x55" * 40 + c[1040:], "while decompressing"),
        (lambda c: c.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"), "is encrypted"),
        (lambda c: c[: len(c) // 2], "not a zip file"),
        (lambda c: repacked(c, lambda n, d: b"<x" if n == "xl/workbook.xml" else d), "cannot be read as one"),
        (lambda c: repacked(c, lambda n, d: b"" if n.endswith("sheet1.xml") else d), "no element found"),
        (
            lambda c: repacked(c, lambda n, d: d.replace(b't="n"', b't="s"') if "sheet1" in n else d),
            "out of range",
        ),
    ],
)
def test_a_damaged_workbook_is_one_line(tmp_path, change, message):
    path = tmp_path / "a.xlsx"
    path.write_bytes(change(workbook()))
    with pytest.raises(MeasurementError, match=message) as error:
        read_measurements(path)
    assert str(error.value).startswith(f"{path} looks like an Excel file but cannot be read as one (")
    assert str(error.value).endswith("): save it as .xlsx again, or as CSV")


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"])
@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_matrices_are_read_as_scipy_reads_them(tmp_path, dtype, options):
    if options.get("format") == "4" and dtype in ("i1", "u4", "i8", "u8"):
        pytest.skip("version 4 has no such numbers")
    matrix = (np.arange(24).reshape(8, 3) % 7).astype(dtype)
    path = tmp_path / "a.mat"
    scipy.io.savemat(
        path, {"other": "text", "G_uS": matrix, "s": {"a": 1}} if not options else {"G_uS": matrix}, **options
    )
    expected = scipy.io.loadmat(path)["G_uS"].astype(float)
    grid = read_grid(path)
    assert np.array_equal(np.array(grid.rows, float), expected)
    assert grid.kind == "MATLAB, variable G_uS (8 x 3)"


def test_matrices_that_hold_no_real_numbers_are_named(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"Z": np.ones((3, 3)) * 1j, "s": {"a": 1}, "c": np.array([[1, "a"]], object)})
    with pytest.raises(
        MeasurementError, match=r"no variable with numbers \(it has c \(1 x 2\), s \(1 x 1\), Z \(3 x 3\)\)"
    ):
        read_measurements(path)
    with pytest.raises(MeasurementError, match=r"variable Z \(3 x 3\) of .* is no matrix of real numbers"):
        read_measurements(path, variable="Z")


@pytest.mark.parametrize("cut", [100, 140, 160, 190, 300])
def test_a_matrix_that_is_cut_off_is_one_line(tmp_path, cut):
    path = tmp_path / "a.mat"
    path.write_bytes(matlab()[:cut])
    with pytest.raises(
        MeasurementError, match=r"cannot be read as a MATLAB file \(.*\): save it by `save"
    ) as error:
        read_measurements(path)
    assert str(error.value).isprintable()


def test_texts_from_a_file_do_not_steer_the_terminal(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("pulse;G\x1b[31m (uS)\n1;40\n2;\x1b]0;owned\x07\n3;20\n4;10\n5;9\n")
    measured = read_measurements(path)
    lines = [*measured.notes, *listed(measured.findings)]
    assert all(line.isprintable() for line in lines)
    assert r"(column 2 'G\x1b[31m (uS)')" in lines[1]
