"""Which columns and rows of a file are taken, what is said about the others, and what is refused."""

from datetime import datetime

import numpy as np
import openpyxl
import pytest
import scipy.io

from qcloop.errors import MeasurementError
from qcloop.fit import read_measurements
from qcloop.measurements.roles import Role, device_in, role_of
from qcloop.measurements.units import find_unit, logarithm_in_heading, unit_in_heading


@pytest.fixture
def write(tmp_path):
    """Return a writer of text files."""

    def make(*lines):
        path = tmp_path / "data.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


def down(*columns, count=6):
    """Return lines of pulse numbers 1, 2, ... and values that fall from 40."""
    return [",".join([str(n + 1), *(f"{40 - n + column}" for column in columns)]) for n in range(count)]


def values_of(measured):
    return [curve.values.tolist() for curve in measured.curves]


def refused(path, **options):
    with pytest.raises(MeasurementError) as error:
        read_measurements(path, **options)
    assert str(error.value).isprintable()
    return str(error.value)


# -- roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("pulse", "pulse"),
        ("Pulse #", "pulse"),
        ("pulse_LTP", "pulse"),
        ("Number of pulses", "pulse"),
        ("No.", "pulse"),
        ("Index", "pulse"),
        ("X_value", "pulse"),
        ("x", "pulse"),
        ("x_pos", "value"),
        ("Y_value", "value"),
        ("Pixel_X", "other"),
        ("pulse width (us)", "other"),
        ("time (us)", "other"),
        ("Time", "other"),
        ("T (K)", "other"),
        ("pulse amplitude", "voltage"),
        ("V (V)", "voltage"),
        ("Vread", "voltage"),
        ("cycle", "cycle"),
        ("Cycle #", "cycle"),
        ("Number of cycles", "cycle"),
        ("cycle 1", "value"),
        ("cycle A", "value"),
        ("cycle A (uS)", "value"),
        ("device", "device"),
        ("Sample name", "device"),
        ("device 3 (uS)", "value"),
        ("P/D", "branch"),
        ("polarity", "branch"),
        ("mean (uS)", "derived"),
        ("std_G (uS)", "derived"),
        ("ΔG (uS)", "derived"),
        ("G normalized", "derived"),
        ("G (%)", "derived"),
        ("G/Gmax", "derived"),
        ("G/G0", "value"),
        ("I (uA) at 0.1 V", "value"),
        ("conductance over time (uS)", "value"),
    ],
)
def test_what_a_name_says(name, role):
    assert role_of(name) is Role(role)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("device 3 (uS)", "3"),
        ("dev7", "7"),
        ("Cell_A_cycle_2 (uS)", "A"),
        ("sample S1", "S1"),
        ("device (uS)", ""),
        ("cycle 3", ""),
    ],
)
def test_the_device_in_a_name(name, device):
    assert device_in(name) == device


# -- columns ---------------------------------------------------------------------------------------


def test_a_digitised_figure_has_one_curve(write):
    rows = [f"{n + 1},{40 - n},{100 + n},{200 + 2 * n}" for n in range(6)]
    measured = read_measurements(write("X_value,Y_value,Pixel_X,Pixel_Y", *rows), unit="uS")
    assert values_of(measured) == [[40, 39, 38, 37, 36, 35]]
    assert measured.notes[1:3] == (
        "wide layout: pulse number in column 1 'X_value', 1 column of values (column 2 'Y_value')",
        "columns 3 'Pixel_X', 4 'Pixel_Y' are not used",
    )


@pytest.mark.parametrize("unit", ["", " (uS)"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 3, 2)])
def test_each_column_of_values_has_its_own_pulse_numbers(write, unit, order):
    names = ["pulse_LTP", f"G_LTP{unit}", "pulse_LTD", f"G_LTD{unit}"]
    rows = [[n + 1, 10 + n, 2 * n + 2, 30 - n] for n in range(6)]
    lines = [",".join(str(row[index]) for index in order) for row in (names, *rows)]
    measured = read_measurements(write(*lines), unit="uS")
    found = {curve.direction: (curve.pulses.tolist(), curve.values.tolist()) for curve in measured.curves}
    assert found == {
        "up": ([1, 2, 3, 4, 5, 6], [10, 11, 12, 13, 14, 15]),
        "down": ([2, 4, 6, 8, 10, 12], [30, 29, 28, 27, 26, 25]),
    }
    assert measured.notes[1].startswith("wide layout: each column of values has its pulse numbers, 2 columns")
    assert f"'G_LTP{unit}' at column {order.index(0) + 1} 'pulse_LTP'" in measured.notes[1]


def test_pairs_of_columns_of_the_same_names_and_different_lengths(write):
    measured = read_measurements(
        write("x,y,x,y", "1,40,5,41", "2,30,6,31", "3,20,8,21", ",,9,11"), unit="uS", pulse_column=None
    )
    assert [curve.pulses.tolist() for curve in measured.curves] == [[1, 2, 3], [5, 6, 8, 9]]
    assert values_of(measured) == [[40, 30, 20], [41, 31, 21, 11]]
    assert measured.findings == ()


def test_columns_are_chosen_by_name_or_number(write):
    path = write("n,a,b,c", *down(0, 10, 20))
    assert values_of(read_measurements(path, unit="uS", columns=["2", "C"]))[1][0] == 60
    assert "column 3 'b' is not used" in read_measurements(path, unit="uS", columns=["2", "c"]).notes
    assert read_measurements(path, unit="uS", columns=["b"], pulse_column="a").curves[0].pulses[0] == 35
    assert refused(path, unit="uS", columns=["d"]) == (
        "there is no column 'd': the columns are 1 'n', 2 'a', 3 'b', 4 'c'"
    )
    assert refused(write("n,a,b", "1,2,x"), columns=["b"]) == (
        "column 3 'b' has no numbers: choose other columns by --column"
    )


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        ("mean (uS),std (uS)", "column 2 'mean (uS)', column 3 'std (uS)'"),
        ("G (uS),std (uS)", "column 3 'std (uS)'"),
        ("average G (uS),error (uS)", "column 2 'average G (uS)', column 3 'error (uS)'"),
        ("delta G (uS),ΔR (Ohm)", "column 2 'delta G (uS)', column 3 'ΔR (Ohm)'"),
        ("G/Gmax,G (%)", "column 2 'G/Gmax', column 3 'G (%)'"),
    ],
)
def test_means_and_spreads_are_no_cycles(write, names, listed):
    path = write(f"pulse,{names}", *down(0, 1))
    assert refused(path, unit="uS" if "/" in names else None) == (
        f"there are no single values but means, spreads, differences or ratios ({listed}): take columns as "
        "cycles by --column, or write mean and spread of each state into a device file (`qcloop device "
        "export A -o mine.toml` makes one to edit)"
    )
    name = names.split(",")[0]
    assert len(read_measurements(path, unit="uS", columns=[name]).curves) == 1


def test_means_beside_cycles_are_not_used(write):
    measured = read_measurements(write("pulse,a (uS),b (uS),mean (uS),std (uS)", *down(0, 1, 2, 3)))
    assert len(measured.curves) == 2
    assert "columns 4 'mean (uS)', 5 'std (uS)' are not used" in measured.notes


def test_columns_of_a_parameter_analyser(write):
    rows = [f"{n / 10:g},{4e-6 - n * 1e-7:g},0.1,{4e-5 - n * 1e-6:g}" for n in range(1, 7)]
    path = write("Time,AI,AV,GT", *rows)
    assert refused(path, unit="S") == "column 2 'AI' is named a current, but S is a unit of conductance"
    measured = read_measurements(path, unit="S", columns=["GT"])
    assert len(measured.curves) == 1
    assert "columns 1 'Time', 2 'AI', 3 'AV' are not used" in measured.notes
    measured = read_measurements(path, unit="A", read_voltage=0.1, columns=["AI"])
    assert measured.curves[0].values[0] == pytest.approx(39)


def test_columns_of_unlike_sizes_are_not_taken_as_cycles(write):
    rows = [f"{n},{4e-5 - n * 1e-6:g},{7 * n}" for n in range(1, 7)]
    path = write("pulse,foo,bar", *rows)
    assert refused(path, unit="S") == (
        "column 2 'foo' and column 3 'bar' state no unit and differ much in size (medians 3.65e-05 and "
        "24.5): choose the columns of values by --column"
    )
    assert len(read_measurements(path, unit="S", columns=["foo"]).curves) == 1


def test_the_index_of_a_data_frame_is_not_used(write):
    measured = read_measurements(write(",pulse,G (uS)", *(f"{n},{2 * n},{40 - n}" for n in range(6))))
    assert measured.curves[0].pulses.tolist() == [0, 2, 4, 6, 8, 10]
    assert "column 1 is not used" in measured.notes


def test_a_heading_with_a_line_break_in_quotes(write):
    measured = read_measurements(write('"Pulse","G', '(uS)"', *down(0)))
    assert measured.unit == "uS"
    assert measured.curves[0].rows == (3, 4, 5, 6, 7, 8)
    measured = read_measurements(write('# 4" wafer', "pulse,G (uS)", *down(0)))
    assert len(measured.curves[0].values) == 6


def test_numbers_without_a_name_are_not_guessed(write):
    assert refused(write("pulse,G (uS)", "1,40,7", "2,30,8")) == (
        "row 2, column 3 has a number, but the heading has no name for it: name it, or choose the columns of "
        "values by --column"
    )
    assert "row 2, column 3" in refused(write("Pulse,G (uS)", "1,1,242.0", "2,1,184.0", "3,942.0"))


def test_long_tables_with_a_branch(write):
    rows = [
        f"{device},{cycle},{branch},{n + 1},{10 + n if branch == 'P' else 18 - n}"
        for device in "ab"
        for cycle in (1, 2)
        for branch in "PD"
        for n in range(5)
    ]
    measured = read_measurements(write("device,cycle,P/D,pulse,G (uS)", *rows))
    assert [(c.device, c.direction) for c in measured.curves] == [("a", "up"), ("a", "down")] * 2 + [
        ("b", "up"),
        ("b", "down"),
    ] * 2
    assert [curve.pulses.tolist() for curve in measured.curves] == [[1, 2, 3, 4, 5]] * 8
    assert "branch in column 3 'P/D'" in measured.notes[1]
    assert measured.pooled == "2 devices are taken together (a, b): --per-device makes a profile of each"
    numbers = [row.replace("P", "1").replace("D", "0").partition(",")[2] for row in rows[:20]]
    assert len(read_measurements(write("cycle,P/D,pulse,G (uS)", *numbers)).curves) == 4


@pytest.mark.parametrize("counted", [False, True])
def test_pulse_numbers_that_go_on_from_branch_to_branch_begin_again(write, counted):
    rows = [f"{n + 1},{'LTP' if n < 6 else 'LTD'},{10 + n if n < 6 else 20 - n}" for n in range(12)]
    lines = ["pulse,phase,G (uS)", *rows]
    if counted:
        lines = [line.partition(",")[2] for line in lines]
    measured = read_measurements(write(*lines))
    assert [(curve.direction, curve.pulses.tolist()) for curve in measured.curves] == [
        ("up", [1, 2, 3, 4, 5, 6]),
        ("down", [1, 2, 3, 4, 5, 6]),
    ]


def test_curves_know_their_device(write):
    measured = read_measurements(write("pulse,device 1 (uS),device 2 (uS)", *down(0, 1)))
    assert [curve.device for curve in measured.curves] == ["1", "2"]
    above = write(
        "Device 1,,Device 2,", "pulse,G (uS),pulse,G (uS)", *(f"{n},{9 - n},{n},{8 - n}" for n in (1, 2, 3))
    )
    measured = read_measurements(above)
    assert [curve.device for curve in measured.curves] == ["1", "2"]
    assert "row 1 names the devices" in measured.notes
    assert [curve.device for curve in read_measurements(write("pulse,G (uS)", *down(0))).curves] == [""]


# -- rows ------------------------------------------------------------------------------------------

VOLTS = [line for n in range(6) for line in (f"2.0,{1100 + n}", "0.0,0", f"0.05,{2200 + 100 * n}")]


def test_rows_of_several_voltages_are_chosen_from(write):
    path = write("V (V),R (Ohm)", *VOLTS)
    assert refused(path) == (
        "the rows differ in column 1 'V (V)' (2, 0, 0.05): choose those of the read pulse, for instance "
        "--rows 'V (V)=0.05', or name the columns of values by --column if they were measured at another "
        "voltage"
    )
    measured = read_measurements(path, rows=["V (V)=0.05"])
    assert values_of(measured) == [pytest.approx([1e6 / (2200 + 100 * n) for n in range(6)])]
    assert measured.curves[0].rows == (4, 7, 10, 13, 16, 19)
    assert measured.curves[0].pulses.tolist() == [1, 2, 3, 4, 5, 6]
    assert "6 of 18 rows are taken: those with column 1 'V (V)' = 0.05" in measured.notes
    assert refused(path, rows=["V (V)=0.1"]) == "no row has column 1 'V (V)' = '0.1': there are 2, 0, 0.05"
    assert refused(path, rows=["V"]) == "--rows must be written NAME=VALUE, not 'V'"


def test_a_sweep_of_currents_is_no_pulse_curve(write):
    rows = [f"{n / 10:g},{n}" for n in range(1, 9)]
    assert "the rows differ in column 1 'V (V)' (0.1, 0.2, 0.3, 0.4, ...)" in refused(
        write("V (V),I (uA)", *rows), read_voltage=0.1
    )
    both = [f"{n / 10:g},{n}" for n in (-4, -3, -2, -1, 1, 2, 3, 4)]
    assert "the rows differ in column 1 'V (V)'" in refused(write("V (V),I (uA)", *both), read_voltage=0.1)
    programmed = [f"{1 if n < 7 else -1},{10 + n if n < 7 else 22 - n}" for n in range(1, 13)]
    path = write("V (V),I (uA)", *programmed)
    assert "the rows differ in column 1 'V (V)' (1, -1)" in refused(path, read_voltage=0.1)
    assert len(read_measurements(path, read_voltage=0.1, columns=["I (uA)"]).curves) == 2
    assert len(read_measurements(write("V (V),I (uA) at 0.1 V", *programmed)).curves) == 2


def test_pulses_of_different_voltages_are_all_read(write):
    rising = [f"{n},{1 + n / 20:g},{10 + n}" for n in range(1, 9)]
    assert len(read_measurements(write("n,Vpulse (V),R (kOhm)", *rising)).curves[0].values) == 8
    rows = [f"{n},{1 if n < 7 else -1},{10 + n if n < 7 else 22 - n}" for n in range(1, 13)]
    measured = read_measurements(write("n,V (V),G (uS)", *rows))
    assert sum(len(curve.values) for curve in measured.curves) == 12
    assert (
        "the rows differ in column 2 'V (V)' (-1, 1) and are taken together: --rows 'V (V)=-1' takes some"
        in measured.notes
    )


def test_a_column_of_one_voltage_is_offered_as_the_read_voltage(write):
    path = write("n,V (V),I (uA)", "1,0.1,4", "2,0.1,3", "3,0.1,2")
    assert refused(path) == (
        "column 3 'I (uA)' is a current (uA): give its read voltage in volts, --read-voltage 0.1 if it is "
        "that of column 2 'V (V)'"
    )


# -- a row for each cycle --------------------------------------------------------------------------

CYCLES = ["40,30,20,10,5", "41,31,21,11,6", "42,32,22,12,7"]


@pytest.mark.parametrize(
    ("heading", "labels", "why"),
    [
        ("pulse,1,2,3,4,5", "cycle {}", "the first column has 'cycle 1', the heading 1, 2"),
        ("cycle,1,2,3,4,5", "run{}", "the first column has 'run1', the heading 1, 2"),
        ("cycle,pulse 1,pulse 2,pulse 3,pulse 4,pulse 5", "{}", "the heading has 'pulse 1', 'pulse 2'"),
        ("device,cycle,1,2,3,4,5", "a,{}", "the first column has 'a', the heading 1, 2"),
        (",1,2,3,4,5", "dev {}", "row 1 has the pulse numbers 1, 2, 3"),
        (None, "cycle {}", "the first column has 'cycle 1'"),
    ],
)
def test_rows_that_are_cycles_are_recognised(write, heading, labels, why):
    rows = [f"{labels.format(n + 1)},{row}" for n, row in enumerate(CYCLES)]
    measured = read_measurements(write(*([heading] if heading else []), *rows), unit="uS")
    assert values_of(measured) == [[float(text) for text in row.split(",")] for row in CYCLES]
    assert [curve.pulses.tolist() for curve in measured.curves] == [[1, 2, 3, 4, 5]] * 3
    assert (
        f"each row is a cycle ({why}): rows are called columns in what follows, and columns rows"
        in measured.notes
    )


def test_a_first_row_of_pulse_numbers_is_no_value(write):
    measured = read_measurements(write("1,2,3,4,5", *CYCLES), unit="uS")
    assert values_of(measured) == [[float(text) for text in row.split(",")] for row in CYCLES]


@pytest.mark.parametrize("numbers", ["1,2,3", "0,1,2"])
def test_a_first_row_of_cycle_numbers_is_no_value(write, numbers):
    rows = [f"{40 - 9 * n},{41 - 9 * n},{42 - 9 * n}" for n in range(4)]
    measured = read_measurements(write(numbers, *rows), unit="uS")
    assert values_of(measured) == [[start - 9 * n for n in range(4)] for start in (40, 41, 42)]
    assert measured.curves[0].rows == (2, 3, 4, 5)
    assert "row 1 is taken as the numbers of the columns, and not as values" in measured.notes
    alike = write("1,2,3", "1.5,2.5,3.5", "2,3,4")
    assert [len(values) for values in values_of(read_measurements(alike, unit="uS"))] == [3, 3, 3]


def test_columns_without_units_beside_one_that_states_it(write):
    assert refused(write("n,count,G (uS)", "1,5,40", "2,5,30")) == (
        "column 2 'count' states no unit, but column 3 'G (uS)' does: add the unit to its name, or choose "
        "the columns of values by --column"
    )
    measured = read_measurements(write("n,energy (nJ),f (kHz),G (uS)", "1,5,9,40", "2,5,9,30"))
    assert "columns 2 'energy (nJ)', 3 'f (kHz)' are not used" in measured.notes


def test_the_unit_in_the_corner_and_devices_of_rows(write):
    rows = [f"device {n + 1},{row}" for n, row in enumerate(CYCLES)]
    measured = read_measurements(write("G (uS),1,2,3,4,5", *rows))
    assert measured.unit == "uS"
    assert [curve.device for curve in measured.curves] == ["1", "2", "3"]


def test_a_table_that_may_be_either_way_round_is_refused(write, tmp_path):
    path = write("cycle,1,2,3,4,5", *(f"{n + 1},{row}" for n, row in enumerate(CYCLES)))
    assert refused(path, unit="uS") == (
        "the heading has 'cycle' and then numbers: if each row is a cycle, give --transpose; if each "
        "column is one, name the first column 'pulse'"
    )
    assert len(read_measurements(path, unit="uS", transpose=True).curves) == 3
    scipy.io.savemat(tmp_path / "a.mat", {"G_uS": np.array([row.split(",") for row in CYCLES], float)})
    assert refused(tmp_path / "a.mat") == (
        "the values of 3 rows and 5 columns change more from column to column than from row to row: give "
        "--transpose if each row is a cycle, or name the columns in a heading"
    )
    assert len(read_measurements(tmp_path / "a.mat", transpose=True).curves) == 3


# -- headings --------------------------------------------------------------------------------------

B1500 = [f"DataValue,{n + 1},{n / 100:g},{4.9e-5 - n * 1e-6:.3e}" for n in range(8)]
ABOVE = [
    "SetupTitle,pulses",
    "PrimitiveTest,I/V Sweep",
    "TestParameter,Bias,0.1",
    "Dimension1, 32, 32",
    "Dimension2, 1, 1",
]


@pytest.mark.parametrize("lines", range(6))
def test_lines_of_an_instrument_above_the_heading(write, lines):
    above = ABOVE[len(ABOVE) - lines :]
    path = write(*above, "DataName,Index,Time,Iread (A)", *B1500)
    measured = read_measurements(path, read_voltage=0.1)
    assert values_of(measured) == [pytest.approx([490 - 10 * n for n in range(8)])]
    assert measured.curves[0].pulses.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert measured.notes[0].endswith(f"heading in row {lines + 1}")
    assert "pulse number in column 2 'Index', 1 column of values (column 4 'Iread (A)')" in "".join(
        measured.notes
    )
    assert "column 3 'Time' is not used" in measured.notes
    above_said = [note for note in measured.notes if note.startswith("row")]
    assert above_said == {
        0: [],
        1: ["row 1 is not used"],
    }.get(lines, [f"rows {', '.join(str(n + 1) for n in range(lines))} are not used"])


def test_an_instrument_that_states_no_unit_is_asked_for_it(write):
    path = write(*ABOVE, "DataName,Index,Time,Iread", *B1500)
    message = refused(path)
    assert message.startswith("column 4 'Iread' states no unit: give --unit, one of G0, S,")
    assert message.endswith("would be a current in A, mA, uA, nA (with --read-voltage)")
    measured = read_measurements(path, unit="A", read_voltage=0.1)
    assert measured.curves[0].values[0] == pytest.approx(490)


@pytest.mark.parametrize(
    ("lines", "heading"),
    [
        (["Temperature,300", "Pulse,G (uS)"], "heading in row 2"),
        (["Temperature,300"], "no heading"),
        (["32", "Pulse,G (uS)"], "heading in row 2"),
        (["Operator,Me", "Pulse,G", ",uS"], "heading in row 2, 3"),
        (["Pulse,G", ",uS", ",cycle 1"], "heading in row 1, 2, 3"),
        (["sep=,", "Pulse,G (uS)"], "heading in row 2"),
    ],
)
def test_what_stands_above_the_values(write, lines, heading):
    measured = read_measurements(write(*lines, *down(0)), unit="uS")
    assert values_of(measured) == [[40, 39, 38, 37, 36, 35]]
    assert measured.curves[0].pulses.tolist() == [1, 2, 3, 4, 5, 6]
    assert measured.notes[0].endswith(heading)


def test_a_comment_without_a_blank_is_a_heading(write):
    measured = read_measurements(
        write(
            "#sample7",
            "#pulse;G_uS",
            "1;40",
            "2;#WERT!",
            "3;20",
            "4;#NV",
            *(f"{n};{20 - n}" for n in range(5, 11)),
        )
    )
    assert measured.notes[0].endswith("2 comment lines; heading in the last comment")
    assert values_of(measured) == [[40, 20, 15, 14, 13, 12, 11, 10]]
    assert [finding.row for finding in measured.findings] == [4, 6]


def test_a_heading_that_comes_again_is_no_value(write):
    measured = read_measurements(write("n,G (uS)", *down(0), "n,G (uS)", *down(1)))
    assert [len(curve.values) for curve in measured.curves] == [6, 6]
    assert "the heading is repeated in row 8: passed over" in measured.notes


@pytest.mark.parametrize("second", ["pulse,R (Ohm)", "pulse,H (uS)", "n,R"])
def test_another_heading_below_values_is_refused(write, second):
    names = ", ".join(f"'{name}'" for name in second.split(","))
    assert refused(write("pulse,G (uS)", *down(0), second, *down(1))) == (
        f"row 8 is another heading ({names}) below values: put each table into a file or sheet of its own"
    )
    measured = read_measurements(write("pulse,G (uS)", *down(0), "cycle 2,", *down(1), "end of data,N"))
    assert [len(curve.values) for curve in measured.curves] == [6, 6]


@pytest.mark.parametrize(
    "mark", ["OVLD", ">1200", "overflow", "O.L.", "#DIV/0!", "#WERT!", "#NAME?", "####", "***"]
)
def test_a_row_with_a_pulse_number_is_no_heading(write, mark):
    rows = [f"{n};{mark if n < 3 else 1300 - 100 * n}" for n in range(1, 10)]
    measured = read_measurements(write("Pulse;R (Ohm)", *rows))
    assert measured.curves[0].pulses.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert [finding.text for finding in measured.findings] == [
        f"row {row}, column 2 'R (Ohm)': '{mark}' is not a number: left out" for row in (2, 3)
    ]
    counted = read_measurements(write(*(line.partition(";")[2] for line in ("Pulse;R (Ohm)", *rows))))
    assert counted.curves[0].rows == measured.curves[0].rows
    assert len(counted.findings) == 2


def test_a_column_of_which_most_is_no_number_is_refused(write):
    rows = [f"{n},{'OVLD' if n < 24 else 900 - n}" for n in range(32)]
    assert refused(write("Pulse,R (Ohm)", *rows)) == (
        "column 2 'R (Ohm)': 24 of 32 values are no numbers (in row 2 'OVLD' is not a number); correct "
        "them, or empty those that are to be left out"
    )


# -- thousands, decimals and units in cells --------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "delimiter"),
    [
        (["1.242,0", "1.184,0", "942,0"], ";"),
        (["1 242,0", "1\u202f184,0", "942,0"], ";"),
        (["1'242.0", "1’184.0", "942.0"], "\t"),
        (['"1,242.0"', '"1,184.0"', "942.0"], ","),
        (["1,242.0", "1,184.0", "942.0"], ";"),
        (["1.242.000,0", "1.184.000,0", "942.000,0"], ";"),
    ],
)
def test_thousands_are_read(write, written, delimiter):
    lines = [f"{n + 1}{delimiter}{text}" for n, text in enumerate(written)]
    measured = read_measurements(write(f"Pulse{delimiter}G (uS)", *lines))
    scale = 1000 if "000" in written[0] else 1
    assert measured.curves[0].values * {"uS": 1, "S": 1e6, "mS": 1000}[measured.unit] == pytest.approx(
        [1242 * scale, 1184 * scale, 942 * scale]
    )
    assert measured.findings == ()


def test_what_may_be_thousands_or_decimals_is_refused(write):
    path = write("Pulse;G (uS)", "1;1.242", "2;1.184", "3;942")
    assert refused(path) == (
        "row 2, column 2 'G (uS)': '1.242' may be 1242 or 1.242: give --decimal , for 1242 or --decimal . "
        "for 1.242, or write it without a separator of thousands"
    )
    assert values_of(read_measurements(path, decimal=",")) == [[1242, 1184, 942]]
    assert values_of(read_measurements(path, decimal="."))[0][:2] == [1.242, 1.184]
    assert "'1.242' may be 1242 or 1.242" in refused(write("Pulse;G (uS)", "1;1.242", "2;1.184,5", "3;942,5"))
    fixed = write("Pulse;G (uS)", "1;1.242", "2;1.184", "3;1.120")  # three decimals everywhere
    assert values_of(read_measurements(fixed)) == [[1.242, 1.184, 1.120]]


def test_resistances_that_pass_a_thousand_keep_all_states(write):
    values = [f"{100 + 40 * n:,.1f}".replace(",", "_").replace(".", ",").replace("_", ".") for n in range(32)]
    measured = read_measurements(
        write("Pulse;R (Ohm)", *(f"{n + 1};{text}" for n, text in enumerate(values)))
    )
    assert len(measured.curves[0].values) == 32
    assert measured.curves[0].values[-1] == pytest.approx(1e6 / 1340)


def test_units_in_the_cells(write):
    measured = read_measurements(write("Pulse;G", "1;640 uS", "2;600 µS", "3;0,5 mS", "4;400000nS"))
    assert values_of(measured) == [pytest.approx([640, 600, 500, 400])]
    measured = read_measurements(write("Pulse;G (uS)", "1;640 uS", "2;0,6 mS", "3;500"))
    assert values_of(measured) == [pytest.approx([640, 600, 500])]
    assert values_of(read_measurements(write("R", "1 kOhm", "2 kΩ", "4 k\u2126"))) == [
        pytest.approx([1000, 500, 250])
    ]
    assert refused(write("Pulse;G", "1;640 uS", "2;600")) == (
        "row 3, column 2 'G': 600 has no unit, but other cells have: give it as --unit uS, for instance"
    )
    measured = read_measurements(write("Pulse;G (uS)", "1;64", "2;6 kOhm", "3;50", "4;40"))
    assert [finding.text for finding in measured.findings] == [
        "row 3, column 2 'G (uS)': '6 kOhm' is not a number: left out"
    ]


@pytest.mark.parametrize("spelling", ["Ω", "\u2126", "kΩ", "k\u2126", "2e²/h", "G₀", "µS", "\u03bcS"])
def test_signs_that_look_alike_are_one_unit(spelling):
    assert find_unit(spelling) is not None
    assert unit_in_heading(f"x（{spelling}）") is find_unit(spelling)


def test_a_multiplier_in_the_heading_is_no_unit():
    assert unit_in_heading("G x 1e6 (S)") is None
    assert unit_in_heading("I * 10^9 (A)") is None
    assert unit_in_heading("G (10^-6 S)") is None


# -- logarithms and signs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "values", "siemens"),
    [
        ("log10 R (Ohm)", [3.0, 3.2, 3.4], [1e-3, 10**-3.2, 10**-3.4]),
        ("log10(R/Ohm)", [3.0, 3.2, 3.4], [1e-3, 10**-3.2, 10**-3.4]),
        ("lg(R) (kOhm)", [0.0, 1, 2], [1e-3, 1e-4, 1e-5]),
        ("ln(G/uS)", [3.0, 1.0, -1.0], [np.exp(3) * 1e-6, np.exp(1) * 1e-6, np.exp(-1) * 1e-6]),
        ("log₁₀ of G (S)", [-3, -4, -5], [1e-3, 1e-4, 1e-5]),
    ],
)
def test_logarithms_are_undone(write, heading, values, siemens):
    measured = read_measurements(
        write(f"Pulse;{heading}", *(f"{n + 1};{value}" for n, value in enumerate(values)))
    )
    scale = {"uS": 1e-6, "nS": 1e-9, "mS": 1e-3}[measured.unit]
    assert measured.curves[0].values * scale == pytest.approx(siemens)
    assert any("is a logarithm: its values are taken as powers of" in note for note in measured.notes)


@pytest.mark.parametrize(
    "heading", ["log R (Ohm)", "-log10 R (Ohm)", "LogR (Ohm)", "G (dB)", "10*log10 G (S)"]
)
def test_a_logarithm_of_unknown_base_is_refused(write, heading):
    assert refused(write(f"Pulse,{heading}", "1,3", "2,3.1"), unit=None) == (
        f"column 2 '{heading}' is a logarithm of unknown base: name it log10 or ln, or write the values "
        "themselves"
    )


def test_names_with_the_letters_of_a_logarithm_are_none():
    for name in ("Analog (uS)", "Dialog", "G (uS)", "lgate", "logic"):
        assert logarithm_in_heading(name) == (None, name)


def test_many_negative_values_are_refused_not_left_out(write):
    rows = [f"{n + 1},{-1 + n / 30:.4f},{1 - n / 30:.4f}" for n in range(60)]
    assert refused(write("pulse,a (uS),b (uS)", *rows)) == (
        "column 2 'a (uS)': 30 of 60 values are negative (in row 2 -1 µS); change the sign in the file if "
        "it is flipped; empty the cells that are to be left out"
    )
    assert "column 2 'G (uS)': all values are negative (in row 2 -40 µS)" in refused(
        write("pulse,G (uS)", "1,-40", "2,-30", "3,-20")
    )
    noise = [f"{n + 1},{20 - n}" for n in range(19)] + ["20,-0.1"]
    assert len(read_measurements(write("pulse,G (uS)", *noise)).findings) == 1


def test_the_sign_of_the_read_voltage_is_the_users(write):
    path = write("pulse,I (nA) at 0.1 V", "1,-40", "2,-30", "3,-20")
    assert refused(path) == (
        "column 2 'I (nA) at 0.1 V': all values are negative (in row 2 -40 nA at 0.1 V); give --read-voltage "
        "-0.1 if the voltage had the other sign; empty the cells that are to be left out"
    )
    assert values_of(read_measurements(path, read_voltage=-0.1)) == [pytest.approx([400, 300, 200])]
    assert "differ: column 2 'I (nA) at 0.1 V' 0.1 V, --read-voltage -0.2 V" in refused(
        path, read_voltage=-0.2
    )


# -- spreadsheets ----------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    """Return a writer of workbooks with one sheet of rows."""

    def make(*rows, more=None):
        made = openpyxl.Workbook()
        for row in rows:
            made.active.append(row)
        if more:
            more(made)
        made.save(tmp_path / "data.xlsx")
        return tmp_path / "data.xlsx"

    return make


CURE = (
    "has no stored value: open the file in a spreadsheet program and save it, or paste the values over the "
    "formulas"
)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 40], [2, "=B2-1"]], "row 3, column 2 'G (uS)': the formula '=B2-1' "),
        ([[1, "=A2*3"], [2, "=A3*3"]], "row 2, column 2 'G (uS)': the formula '=A2*3' "),
        ([[1, 40], [2, 30], [3, "=1/0"]], "row 4, column 2 'G (uS)': the formula '=1/0' "),
        ([[1, 40], ["=A2+1", 30]], "row 3, column 1 'pulse': the formula '=A2+1' "),
    ],
)
def test_a_formula_without_a_stored_value_is_named(book, rows, message):
    assert refused(book(["pulse", "G (uS)"], *rows)) == message + CURE


def test_formulas_in_columns_that_are_not_used_do_no_harm(book):
    rows = [[n, 40 - n, f"=B{n}*2", f'=B{n}&"x"'] for n in range(1, 6)]
    measured = read_measurements(book(["pulse", "G (uS)", "time (s)", "comment"], *rows))
    assert len(measured.curves[0].values) == 5
    assert "columns 3 'time (s)', 4 'comment' are not used" in measured.notes
    assert refused(book(["pulse", "G (uS)", "H (uS)"], *([n, 40 - n, f"=B{n}*2"] for n in range(1, 6)))) == (
        "row 2, column 3 'H (uS)': the formula '=B1*2' " + CURE
    )


def test_values_that_became_dates_are_named(book):
    days = [datetime(2024, 1, day) for day in range(1, 6)]
    assert refused(book(["pulse", "G (uS)"], *([n, day] for n, day in enumerate(days)))) == (
        "there is no column of conductance, resistance or current (column 2 'G (uS)' has no numbers: in "
        "row 2 '2024-01-01 00:00:00'): choose columns by --column"
    )


def test_chart_sheets_are_passed_over_and_other_sheets_are_named(book):
    def more(made):
        made.create_chartsheet("chart")
        made.create_sheet("second").append(["x", 1])

    path = book(["pulse", "G (uS)"], *([n, 40 - n] for n in range(1, 6)), more=more)
    assert "several sheets with numbers: 'Sheet', 'second': choose one by --sheet" in refused(path)
    measured = read_measurements(path, sheet="Sheet")
    assert len(measured.curves[0].values) == 5
    assert "sheet 'second' is not used" in measured.notes


def test_numbers_that_are_text_in_a_spreadsheet(book):
    assert values_of(read_measurements(book(["n", "G (uS)"], [1, "1.242,5"], [2, "942,5"]))) == [
        [1242.5, 942.5]
    ]
    path = book(["n", "G (uS)"], [1, "1.242"], [2, "1.184"])
    assert "row 2, column 2 'G (uS)': '1.242' may be 1242 or 1.242" in refused(path)
    assert values_of(read_measurements(path, decimal=",")) == [[1242, 1184]]
    assert values_of(read_measurements(book(["n", "G (uS)"], [1, "12.345"], [2, "11.5"]))) == [[12.345, 11.5]]


# -- when nothing is left --------------------------------------------------------------------------


def test_the_error_of_an_empty_result_says_what_was_left_out(write):
    assert refused(write("pulse,G (uS)", "1,abc", "2,30")).endswith(
        "has no curve of 2 or more conductances above 0 (2 cells were read; left out: 1 unreadable, the "
        "first in row 2, column 2 'G (uS)': 'abc' is not a number: left out): see `qcloop fit --help` for "
        "the layouts"
    )


def test_a_fit_that_fails_lists_what_was_left_out(write, run, tmp_path):
    path = write("pulse,G (uS)", "1,abc", *down(0)[1:])
    status, text, err = run("fit", path, "-o", tmp_path / "a.toml", "--model", "table")
    assert status == 2
    assert "a table needs 2 values or more at each pulse" in err
    assert "row 2, column 2 'G (uS)': 'abc' is not a number: left out" in text
    many = write("pulse,G (uS)", *(f"{n},{100 - n + n % 3 / 5}" for n in range(1, 80)), "80,abc")
    status, text, err = run("fit", many, "-o", tmp_path / "a.toml")
    assert status == 2
    assert "at most 64 states: give --states" in err
    assert "row 81, column 2 'G (uS)': 'abc' is not a number: left out" in text
    assert not (tmp_path / "a.toml").exists()


def test_options_of_the_command_and_curves_that_are_not_used(write, run, tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        f"{volts},{n + 1},{(20 + 2 * n if n < 12 else 62 - 2 * n) + rng.normal() / 5:.3f},{n}"
        for n in range(24)
        for volts in (2, 0.1)
    ]
    path = write("V,No,G,foo", *rows)
    status, text, err = run(
        "fit",
        path,
        "-o",
        tmp_path / "a.toml",
        "--unit",
        "uS",
        "--column",
        "G",
        "--rows",
        "V=0.1",
        "--pulse-column",
        2,
    )
    assert (status, err) == (0, "")
    assert "24 of 48 rows are taken: those with column 1 'V' = 0.1" in text
    assert "pulse number in column 2 'No', 1 column of values (column 3 'G')" in text
    assert "columns 1 'V', 4 'foo' are not used" in text
    assert "1 up curve is not used, neither nonlinearity nor spreads nor number of pulses: --curve up" in text
