"""Files of measurements: kinds, layouts, headings, units, and what is wrong in them, by row."""

import math
import re

import numpy as np
import openpyxl
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from qcloop.device import G0_SIEMENS
from qcloop.errors import MeasurementError
from qcloop.fit import MEASURED_UNITS, listed, read_measurements
from qcloop.measurements.cells import read_grid
from qcloop.measurements.file import in_siemens
from qcloop.measurements.units import find_unit, quantity_in_heading, unit_in_heading, voltage_in_heading

#: Two cycles of four pulses that go down, in uS.
DOWN = np.array([[40.0, 30.5, 20.0, 10.25], [41.0, 31.0, 20.5, 9.75]])


@pytest.fixture
def write(tmp_path):
    """Return a writer of text files."""

    def make(text, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return make


def wide(values=DOWN, heading="pulse,a (uS),b (uS)", delimiter=","):
    rows = [delimiter.join([str(n + 1), *(f"{g:g}" for g in row)]) for n, row in enumerate(values.T)]
    return "\n".join([heading, *rows]) + "\n"


def values_of(measured):
    return [curve.values.tolist() for curve in measured.curves]


def kinds(measured):
    return [finding.kind for finding in measured.findings]


# -- kinds of file ---------------------------------------------------------------------------------


def test_csv_is_read_and_the_user_is_told_how(write):
    measured = read_measurements(write("# made by hand\n" + wide()))
    assert measured.unit == "uS"
    assert values_of(measured) == DOWN.tolist()
    assert [curve.direction for curve in measured.curves] == ["down", "down"]
    assert measured.curves[0].rows == (3, 4, 5, 6)
    assert [curve.column for curve in measured.curves] == [2, 3]
    assert measured.notes == (
        "text, cells parted by commas, decimal points, 1 comment line; heading in row 2",
        (
            "wide layout: pulse number in column 1 'pulse', "
            "2 columns of values (column 2 'a (uS)', column 3 'b (uS)')"
        ),
        "unit uS: the median is 25.5 µS = 0.329 G0",
    )
    assert measured.findings == ()


@given(
    delimiter=st.sampled_from(["\t", ";", "|", ",", " ", "   "]),
    decimal=st.sampled_from([".", ","]),
    heading=st.booleans(),
    comments=st.integers(0, 3),
    comment=st.sampled_from(["#", "%", "//", "!"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    pulses=st.booleans(),
    table=st.lists(
        st.lists(st.floats(1.0, 9e6).map(lambda g: round(g, 3)), min_size=2, max_size=2),
        min_size=4,
        max_size=9,
    ),
    scientific=st.booleans(),
)
def test_delimiter_decimal_heading_and_comments_are_recognised(
    tmp_path_factory, delimiter, decimal, heading, comments, comment, newline, pulses, table, scientific
):
    if delimiter == "," and decimal == ",":
        delimiter = ";"
    table = [sorted((row[column] for row in table), reverse=True) for column in (0, 1)]
    lines = [f"{comment} remark {n}" for n in range(comments)]
    if heading:
        lines.append(delimiter.join([*(["pulse"] if pulses else []), "G_uS", "H_uS"]))
    for n, row in enumerate(zip(*table, strict=True)):
        cells = [f"{g:.10e}" if scientific else f"{g:.3f}" for g in row]
        cells = [cell.replace(".", decimal) for cell in cells]
        lines.append(delimiter.join([*([str(n + 1)] if pulses else []), *cells]))
    path = tmp_path_factory.mktemp("text") / "data.txt"
    path.write_bytes((newline.join(lines) + newline).encode())
    grid = read_grid(path)
    rows = grid.rows[1:] if heading else grid.rows
    assert [row[1:] if pulses else row for row in rows] == list(zip(*table, strict=True))
    assert grid.numbers == tuple(range(comments + 1, len(lines) + 1))
    assert f"{comments} comment line" in grid.kind or not comments
    assert "decimal commas" in grid.kind or decimal == "."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_heading_with_micro_in_any_encoding(write, encoding):
    measured = read_measurements(write(wide(heading="pulse,a (µS),b (µS)"), encoding=encoding))
    assert measured.unit == "uS"
    assert values_of(measured) == DOWN.tolist()


def test_quoted_cells_and_a_tsv_with_ragged_columns(write):
    measured = read_measurements(write('"pulse","G 1, uS"\n"1","4,5"\n"2","3,5"\n'))
    assert values_of(measured) == [[4.5, 3.5]]
    path = write("n\tG (uS)\tG (uS)\n1\t9\t8\n2\t7\t6\n3\t5\t\n4\t3\n", "data.tsv")
    measured = read_measurements(path)
    assert values_of(measured) == [[9, 7, 5, 3], [8, 6]]
    assert kinds(measured) == ["duplicate"]
    assert measured.findings[0].text == "columns 2, 3 are all named 'G (uS)': taken as 2 curves"


def test_recognition_can_be_overruled(write):
    path = write("G_uS\n4,25\n3,5\n")
    assert values_of(read_measurements(path)) == [[4.25, 3.5]]
    path = write("4,25\n3,50\n")  # two columns, or a decimal comma?
    assert len(read_measurements(path, unit="uS").curves) == 2
    assert values_of(read_measurements(path, unit="uS", delimiter=";")) == [[4.25, 3.5]]
    with pytest.raises(MeasurementError, match=r"--decimal must be one of '\.', ',', not '·'"):
        read_measurements(path, decimal="·")


def test_excel_with_one_filled_sheet_gaps_and_comments(tmp_path):
    book = openpyxl.Workbook()
    book.create_sheet("empty")
    sheet = book.active
    sheet.append(["# sample 7"])
    sheet.append(["pulse", "R (kΩ)", None, "note"])
    sheet.append([])
    for row in ([1, 25, None, "first"], [2, "50,0"], [3, 0], [4, "#DIV/0!"], [5, 100]):
        sheet.append(row)
    book.save(tmp_path / "data.bin")
    measured = read_measurements(tmp_path / "data.bin")
    assert values_of(measured) == [pytest.approx([40.0, 20.0, 10.0])]
    assert measured.curves[0].rows == (4, 5, 8)
    assert measured.notes[0] == "Excel, sheet 'Sheet'; heading in row 2"
    assert [finding.text for finding in measured.findings] == [
        "row 6, column 2 'R (kΩ)': 0 kOhm is an infinite conductance: left out",
        "row 7, column 2 'R (kΩ)': '#DIV/0!' is not a number: left out",
    ]


def test_of_several_sheets_or_variables_one_is_named(tmp_path):
    book = openpyxl.Workbook()
    for name in ("first", "second"):
        sheet = book.create_sheet(name)
        sheet.append(["G (uS)"])
        sheet.append([1])
        sheet.append([2 if name == "first" else 3])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(MeasurementError, match=r"several sheets with numbers: 'first', 'second'.*--sheet"):
        read_measurements(tmp_path / "a.xlsx")
    assert values_of(read_measurements(tmp_path / "a.xlsx", sheet="second")) == [[1, 3]]
    with pytest.raises(MeasurementError, match="no sheet 'third': it has 'Sheet', 'first', 'second'"):
        read_measurements(tmp_path / "a.xlsx", sheet="third")
    scipy.io.savemat(tmp_path / "a.mat", {"G_uS": DOWN.T, "I": DOWN.T, "who": "me", "x": 1.0})
    with pytest.raises(
        MeasurementError, match=r"several variables with numbers: G_uS \(4 x 2\), I \(4 x 2\)"
    ):
        read_measurements(tmp_path / "a.mat")
    assert values_of(read_measurements(tmp_path / "a.mat", variable="G_uS")) == DOWN.tolist()
    with pytest.raises(MeasurementError, match=r"who \(1 x 2\) .*no matrix of real numbers.*G_uS"):
        read_measurements(tmp_path / "a.mat", variable="who")


@pytest.mark.parametrize("version", ["4", "5"])
def test_matlab_takes_its_unit_from_the_variable_and_rows_as_one_cycle(tmp_path, version):
    scipy.io.savemat(tmp_path / "a.mat", {"G_uS": DOWN[0]}, format=version, oned_as="row")
    measured = read_measurements(tmp_path / "a.mat")
    assert values_of(measured) == [DOWN[0].tolist()]
    assert "variable G_uS (1 x 4)" in measured.notes[0]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.xls", r"old kind \(\.xls\): save it as \.xlsx"),
        (b"MATLAB 7.3 MAT-file, Platform" + bytes(600), "a.mat", "version 7.3 .*'-v7'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "a.h5", "version 7.3 .*'-v7'"),
        (b"MATLAB 5.0 MAT-file" + bytes(600), "a.mat", "cannot be read as a MATLAB file"),
        (b"PK\x03\x04" + bytes(100), "a.xlsx", "looks like an Excel file but cannot be read"),
        (b"%PDF-1.4\n1 0 obj\0\0", "a.csv", "neither text nor an Excel or MATLAB file .byte 0 at 16"),
        (b"", "a.csv", "has no values"),
        (b"# nothing\n\n", "a.csv", "has no values .*1 comment line"),
        (b"<html><body>Not found</body></html>\n", "a.csv", "no column of conductance"),
        (b"pulse,G (uS)\n1,2\n", "a.csv", "no curve of 2 or more conductances above 0"),
        (b"pulse,G (uS)\n1,0\n2,-1\n", "a.csv", "no curve of 2 or more conductances above 0"),
        (b"1;2\n", "a.csv", "--unit"),
    ],
)
def test_files_that_cannot_be_read_say_what_to_do(tmp_path, content, name, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=message):
        read_measurements(path)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.text('0123456789.,;\t -+eE#%GRI()uS\nnaif"', max_size=150).map(str.encode),
    ),
    st.sampled_from(["uS", "kOhm", "nA"]),
)
def test_any_bytes_give_curves_or_an_error_of_our_own(tmp_path_factory, content, unit):
    path = tmp_path_factory.mktemp("fuzz") / "data"
    path.write_bytes(content)
    try:
        measured = read_measurements(path, unit=unit, read_voltage=0.1 if unit == "nA" else None)
    except MeasurementError:
        return
    for curve in measured.curves:
        assert len(curve.pulses) == len(curve.values) == len(curve.rows) > 1
        assert np.all(curve.values > 0) and np.all(np.diff(curve.pulses) > 0)


def test_options_of_another_kind_and_missing_files_are_named(write, tmp_path):
    with pytest.raises(MeasurementError, match="file of text: leave --sheet out"):
        read_measurements(write(wide()), sheet="a")
    scipy.io.savemat(tmp_path / "a.mat", {"G": DOWN})
    with pytest.raises(MeasurementError, match="file of MATLAB: leave --decimal out"):
        read_measurements(tmp_path / "a.mat", decimal=",")
    with pytest.raises(MeasurementError, match=r"cannot read .*nowhere.csv: No such file"):
        read_measurements(tmp_path / "nowhere.csv")


# -- layouts ---------------------------------------------------------------------------------------

LONG = "device,cycle,n,G (uS),T (K)\n" + "".join(
    f"{device},{cycle},{n + 1},{DOWN[cycle - 1, n] + (5 if device == 'b' else 0):g},300\n"
    for device in "ab"
    for cycle in (1, 2)
    for n in range(4)
)


def test_the_long_layout(write):
    measured = read_measurements(write(LONG))
    assert measured.notes[1:3] == (
        (
            "long layout: pulse number in column 3 'n', cycle in column 2 'cycle', device in column 1 "
            "'device', values in column 4 'G (uS)'"
        ),
        "column 5 'T (K)' is not used",
    )
    assert values_of(measured) == [*DOWN.tolist(), *(DOWN + 5).tolist()]
    assert [curve.label for curve in measured.curves][1:3] == ["device a, cycle 2", "device b, cycle 1"]


def test_the_long_layout_in_any_order_of_rows(write):
    head, *rows = LONG.splitlines()
    mixed = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    measured = read_measurements(write("\n".join([head, *mixed])))
    assert sorted(values_of(measured)) == sorted([*DOWN.tolist(), *(DOWN + 5).tolist()])


@pytest.mark.parametrize(
    "rows",
    [
        [(n, c) for c in (0, 1) for n in range(4)],  # 1 2 3 4 1 2 3 4
        [(n, c) for n in range(4) for c in (0, 1)],  # 1 1 2 2 3 3 4 4
    ],
)
def test_pulse_numbers_that_come_again_are_cycles(write, rows):
    text = "pulse,G (uS)\n" + "".join(f"{n + 1},{DOWN[c, n]:g}\n" for n, c in rows)
    assert values_of(read_measurements(write(text))) == DOWN.tolist()


def test_rows_are_counted_where_there_are_no_pulse_numbers(write):
    measured = read_measurements(write("a (uS);b (uS)\n40;41,5\n30;31\n20;20,5\n"))
    assert "the pulse number is counted" in measured.notes[1]
    assert [curve.pulses.tolist() for curve in measured.curves] == [[1, 2, 3]] * 2


def test_a_first_column_of_even_steps_is_the_pulse_number_and_said_to_be(write):
    measured = read_measurements(write("0 40 41\n10 30 31\n20 20 21\n"), unit="uS")
    assert "column 1 rises by 10 from row to row: it is taken as the pulse number" in measured.notes
    assert [curve.pulses.tolist() for curve in measured.curves] == [[0, 10, 20]] * 2
    measured = read_measurements(write("G (uS),H (uS)\n1,41\n2,31\n3,21\n"))
    assert len(measured.curves) == 2


def test_headings_of_numbers_units_below_names_and_in_the_last_comment(write):
    assert len(read_measurements(write("pulse,1,2\n1,40,41\n2,30,31\n"), unit="uS").curves) == 2
    measured = read_measurements(write("pulse,G,G\n-,uS,uS\n1,40,41\n2,30,31\n"))
    assert "heading in row 1, 2" in measured.notes[0]
    assert measured.unit == "uS"
    measured = read_measurements(write("# a remark\n# n G_uS\n1 40\n2 30\n"))
    assert "heading in the last comment" in measured.notes[0]
    assert values_of(measured) == [[40, 30]]


def test_one_quantity_is_chosen_where_there_are_several(write):
    path = write("n,V (V),I (uA) at 0.1 V,R (Ohm)\n1,0.1,4,25000\n2,0.1,2,50000\n")
    with pytest.raises(
        MeasurementError, match=r"'I \(uA\) at 0.1 V' \(current\).*'R \(Ohm\)' \(resist.*--quantity"
    ):
        read_measurements(path)
    for quantity in ("current", "resistance"):
        assert values_of(read_measurements(path, quantity=quantity)) == [pytest.approx([40, 20])]
    with pytest.raises(MeasurementError, match="no column of conductance: there are current, resistance"):
        read_measurements(path, quantity="conductance")
    path = write("cycle,n,G1 (uS),G2 (uS)\n1,1,4,5\n1,2,3,4\n")
    with pytest.raises(MeasurementError, match="one column of values, not 2"):
        read_measurements(path)


# -- units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        ("G (uS)", "uS"),
        ("G (µS)", "uS"),
        ("G [μS]", "uS"),
        ("R [kOhm]", "kOhm"),
        ("R (kΩ)", "kOhm"),
        ("R (Ω)", "Ohm"),
        ("R (kΩ)", "kOhm"),
        ("I (A)", "A"),
        ("I / µA", "uA"),
        ("I (nA) at 0.1 V", "nA"),
        ("I (uA @ 0.2 V)", "uA"),
        ("G_nS", "nS"),
        ("conductance, mS", "mS"),
        ("G/G0", "G0"),
        ("G (G₀)", "G0"),
        ("G (2e^2/h)", "G0"),
        ("conductance (microsiemens)", "uS"),
        ("uS", "uS"),
        ("G S", "S"),
        ("S", None),  # a name
        ("A", None),
        ("G", None),
        ("G (a.u.)", None),
        ("device A", None),
        ("R_A", None),
        ("sample_S", None),
        ("I A", "A"),
        ("I_A at 0.1 V", "A"),
        ("device 3 uS", "uS"),
        ("G0", None),
        ("G G0", "G0"),
        ("cycle 1", None),
        ("t (s)", None),
        ("", None),
    ],
)
def test_units_in_headings(heading, unit):
    found = unit_in_heading(heading)
    assert (found.name if found else None) == unit


def test_quantities_and_voltages_in_headings():
    assert [quantity_in_heading(h) for h in ("G1", "R_off", "I (A)", "Conductance", "gain", "pulse")] == [
        "conductance",
        "resistance",
        "current",
        "conductance",
        None,
        None,
    ]
    assert voltage_in_heading("I (A) at 100 mV") == pytest.approx(0.1)
    assert voltage_in_heading("I (uA @ -0,2 V)") == pytest.approx(-0.2)
    assert voltage_in_heading("I, Vread=0.1V") == pytest.approx(0.1)
    assert voltage_in_heading("V (V)") is None
    assert find_unit("furlong") is None


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("S", 40e-6),
        ("mS", 0.04),
        ("uS", 40.0),
        ("nS", 40e3),
        ("G0", 40e-6 / G0_SIEMENS),
        ("Ohm", 25e3),
        ("kOhm", 25.0),
        ("MOhm", 0.025),
        ("A", 4e-6),
        ("mA", 4e-3),
        ("uA", 4.0),
        ("nA", 4e3),
    ],
)
def test_every_unit_gives_the_same_conductance(write, unit, value):
    volts = 0.1 if unit.endswith("A") else None
    factor = 1.1 if "Ohm" in unit else 1 / 1.1
    text = f"x\n{value!r}\n{value * factor!r}\n"
    measured = read_measurements(write(text), unit=unit, read_voltage=volts)
    siemens = measured.curves[0].values * (
        G0_SIEMENS if measured.unit == "G0" else {"uS": 1e-6, "nS": 1e-9}[measured.unit]
    )
    assert siemens == pytest.approx([40e-6, 40e-6 / 1.1], rel=1e-12)
    assert measured.unit == ("G0" if unit == "G0" else "uS")


def test_every_unit_is_tested_above():
    marks = test_every_unit_gives_the_same_conductance.pytestmark
    assert {unit for unit, _ in marks[0].args[1]} == set(MEASURED_UNITS)


def test_without_a_unit_the_error_says_what_the_median_would_be(write):
    path = write("pulse,x\n1,6e-6\n2,5e-6\n3,4e-6\n")
    with pytest.raises(MeasurementError) as error:
        read_measurements(path)
    assert str(error.value) == (
        "column 2 'x' states no unit: give --unit, one of G0, S, mS, uS, nS, Ohm, kOhm, MOhm, A, mA, uA, nA; "
        "the median value 5e-06 would be 388 pS in G0, 5 µS in S, 5 nS in mS, 5 pS in uS, 5 fS in nS, "
        "200 kS in Ohm, 200 S in kOhm, 200 mS in MOhm, a current in A, mA, uA, nA (with --read-voltage)"
    )
    with pytest.raises(MeasurementError, match=r"20000 would be 50 µS in Ohm, 50 nS in kOhm, 50 pS in MOhm$"):
        read_measurements(write("R\n2e4\n3e4\n1e4\n"))


def test_units_that_contradict_each_other_are_both_shown(write):
    path = write(wide())
    assert values_of(read_measurements(path, unit="µS")) == DOWN.tolist()
    with pytest.raises(MeasurementError, match=r"column 2 'a \(uS\)' states the unit uS, but --unit says nS"):
        read_measurements(path, unit="nS")
    with pytest.raises(MeasurementError, match="unknown unit 'us/cm': expected one of G0, S, mS"):
        read_measurements(path, unit="us/cm")
    with pytest.raises(
        MeasurementError, match=r"'R \(uS\)' is named a resistance, but uS is a unit of conduc"
    ):
        read_measurements(write("R (uS)\n1\n2\n"))
    with pytest.raises(
        MeasurementError, match="'G' is named a conductance, but kOhm is a unit of resistance"
    ):
        read_measurements(write("G\n1\n2\n"), unit="kOhm")


def test_columns_in_different_units_of_conductance(write):
    measured = read_measurements(write("a (uS),b (nS)\n40,41000\n30,31000\n"))
    assert values_of(measured) == [pytest.approx([40, 30]), pytest.approx([41, 31])]
    assert "unit uS and nS" in measured.notes[-1]


def test_read_voltages_are_stated_or_asked_for(write):
    path = write("n,I (uA)\n1,4\n2,2\n")
    with pytest.raises(
        MeasurementError, match=r"column 2 'I \(uA\)' is a current \(uA\): give its read voltage"
    ):
        read_measurements(path)
    assert values_of(read_measurements(path, read_voltage=0.2)) == [pytest.approx([20, 10])]
    for volts in (0.0, 100.0, math.nan):
        with pytest.raises(MeasurementError, match=f"at most 20 V in size, not {volts:g}: is it in mV"):
            read_measurements(path, read_voltage=volts)
    with pytest.raises(MeasurementError, match="goes with currents, but the unit is uS"):
        read_measurements(write(wide()), read_voltage=0.1)
    path = write("n,I (uA) at 0.1 V\n1,4\n2,2\n")
    assert values_of(read_measurements(path)) == [pytest.approx([40, 20])]
    assert "unit uA at 0.1 V" in read_measurements(path).notes[-1]
    with pytest.raises(MeasurementError, match=r"differ: .* 0.1 V, --read-voltage 0.2 V"):
        read_measurements(path, read_voltage=0.2)
    negative = read_measurements(write("I (uA) at -0.1 V\n-4\n-2\n1\n"))
    assert values_of(negative) == [pytest.approx([40, 20])]
    assert negative.findings[0].text == "row 4, column 1 'I (uA) at -0.1 V': 1 µA at -0.1 V: left out"


def test_an_unusual_median_is_remarked_on(write):
    measured = read_measurements(write("G (S)\n40\n30\n"))
    assert measured.notes[-1] == "a median of 35 S is unusual for a memristor: check the unit S"
    assert in_siemens(0.0) == "0 S"
    assert [in_siemens(v) for v in (1e-3, 999.9e-9, 1.0, 2.5e4)] == ["1 mS", "1e+03 nS", "1 S", "25 kS"]


# -- troubles --------------------------------------------------------------------------------------


def test_each_trouble_is_reported_by_row_and_left_out(write):
    path = write(
        "pulse;G (uS);R (uS)\n".replace("R (uS)", "H (uS)")
        + "1;50;51\n2;abc;41\n3;-3;31\n4;0;21\n5;;11\n6;nan;10\n7;inf;9\nx;7;8\n9;6;\n"
    )
    measured = read_measurements(path)
    assert values_of(measured) == [[50, 6], [51, 41, 31, 21, 11, 10, 9]]
    assert {(f.kind, f.row, f.column) for f in measured.findings} == {
        ("unreadable", 3, 2),
        ("negative", 4, 2),
        ("zero", 5, 2),
        ("empty", 6, 2),
        ("empty", 7, 2),
        ("infinite", 8, 2),
        ("no pulse number", 9, None),
    }
    assert any(
        f.text == "row 3, column 2 'G (uS)': 'abc' is not a number: left out" for f in measured.findings
    )
    assert any(f.text == "row 4, column 2 'G (uS)': -3 µS: left out" for f in measured.findings)


def test_zero_resistance_never_becomes_a_number(write):
    measured = read_measurements(write("R (Ohm)\n25e3\n0\n50e3\n-1\n"))
    assert values_of(measured) == [pytest.approx([40, 20])]
    assert [f.text for f in measured.findings] == [
        "row 3, column 1 'R (Ohm)': 0 Ohm is an infinite conductance: left out",
        "row 5, column 1 'R (Ohm)': -1 Ohm: left out",
    ]


def test_sizes_that_no_number_has_room_for_are_left_out(write):
    measured = read_measurements(write("R (Ohm)\n25e3\n1e-310\n1e300\n50e3\n" + "100e3\n" * 5))
    assert values_of(measured) == [pytest.approx([40, 20, *[10] * 5])]
    assert [(f.kind, f.row) for f in measured.findings] == [("out of range", 3), ("out of range", 4)]


def test_decimal_signs_that_are_mixed_are_unreadable_not_misread(write):
    measured = read_measurements(write("n;G (uS)\n1;2.050,5\n2;1.234,5\n3;40,5\n4;30.5\n5;20,5\n"))
    assert values_of(measured) == [[2050.5, 1234.5, 40.5, 20.5]]
    assert [f.row for f in measured.findings if f.kind == "unreadable"] == [5]


def test_columns_without_numbers_are_reported(write):
    measured = read_measurements(write("n,G (uS),H (uS),\n1,4,,\n2,3,,\n"))
    assert [f.text for f in measured.findings] == ["column 3 'H (uS)' has no numbers: left out"]


def test_headings_of_several_words_between_blanks(write):
    measured = read_measurements(write("pulse  a (uS)  b (uS)\n1 40 41\n2 30 31\n"))
    assert values_of(measured) == [[40, 30], [41, 31]]
    with pytest.raises(MeasurementError, match=r"row 1 of .* has 3 cells parted by blanks, but no other row"):
        read_measurements(write("pulse number G_uS\n1 40\n2 30\n"))


def test_long_lists_are_cut_and_counted(write):
    text = "G (uS)\n" + "\n".join(["50", *["0"] * 12, *["inf"] * 3, "20"])
    findings = read_measurements(write(text)).findings
    lines = listed(findings)
    assert lines[0] == "zero: 12"
    assert lines[11:14] == [
        "  ... and 2 more",
        "infinite: 3",
        "  row 15, column 1 'G (uS)': inf µS: left out",
    ]
    assert len(listed(findings, None)) == 2 + 15
    assert not any(re.search("more", line) for line in listed(findings, None))
