"""``qcloop fit``: a device profile from measured conductances."""

from pathlib import Path
from typing import cast

import click

from qcloop.cli.fit_outputs import Outputs, check_outputs, misfits, print_findings, warn
from qcloop.cli.fit_per_device import fit_per_device
from qcloop.cli.retention import check_kind, fit_retention
from qcloop.device import DEFAULT_READING, save_profile
from qcloop.errors import MeasurementError
from qcloop.figure import check_picture
from qcloop.fit import (
    FITTED_READINGS,
    MEASURED_UNITS,
    Measurements,
    TableFit,
    plot_fits,
    profile_name,
    read_measurements,
)
from qcloop.fit.device import Choices, FittedDevice, fit_device
from qcloop.fit.report import describe, report, variation_report
from qcloop.measurements.curves import Direction
from qcloop.measurements.units import Quantity
from qcloop.text import printable, shown_unit, typed

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option(
    "-o",
    "--out",
    type=_FILE,
    required=True,
    help="TOML file to write: a device, or the sweep of --per-device",
)
@click.option(
    "--per-device",
    is_flag=True,
    help="A device of each that the file names, OUT-NAME.toml, and a sweep file OUT",
)
@click.option("--unit", help=f"Unit of the values, if no heading states it: {', '.join(MEASURED_UNITS)}")
@click.option("--read-voltage", type=float, help="In volts, for values that are currents")
@click.option(
    "--quantity",
    type=click.Choice(["conductance", "resistance", "current"]),
    help="Which columns to use, if there are several quantities",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="Name or number of a column of values; may be repeated [default: recognised]",
)
@click.option("--pulse-column", help="Name or number of the column of pulse numbers [default: recognised]")
@click.option(
    "--rows",
    multiple=True,
    help="Rows to use, as NAME=VALUE: 'V (V)=0.05' for instance; may be repeated [default: all]",
)
@click.option("--transpose", is_flag=True, help="Each row is a cycle [default: recognised]")
@click.option(
    "--model",
    type=click.Choice(["equation", "table"]),
    default=Choices.model,
    show_default=True,
    help="The paper's equation, or the measured mean and spread of each pulse",
)
@click.option(
    "--reading",
    type=click.Choice(list(FITTED_READINGS)),
    help=f"Reading of the equation [default: {DEFAULT_READING}]",
)
@click.option(
    "--curve",
    type=click.Choice(["down", "up"]),
    help="Which curves the device is made from [default: down, if there are any]",
)
@click.option(
    "--turn", type=float, help="Last pulse before curves that go up and down turn [default: recognised]"
)
@click.option(
    "--states", type=int, help="States, 2..64, evenly spaced in conductance [default: one for each pulse]"
)
@click.option(
    "--confidence",
    type=float,
    default=Choices.confidence,
    show_default=True,
    help="Confidence of each interval",
)
@click.option("--drop-outliers", is_flag=True, help="Leave outliers out of the fit")
@click.option(
    "--variation/--no-variation",
    default=None,
    help="Tell differences between devices from fluctuation [default: where a file has several devices]",
)
@click.option("--name", help="Name of the device [default: that of the file]")
@click.option("--plot", type=_FILE, help="Picture to write: .png, .pdf or .svg [default: OUT with .png]")
@click.option("--sheet", help="Sheet of an Excel file")
@click.option("--variable", help="Array of a MATLAB file")
@click.option("--delimiter", help="Delimiter of a text file [default: recognised]")
@click.option(
    "--decimal",
    type=click.Choice([".", ","]),
    help="Decimal sign of numbers that are text; the other sign separates thousands [default: recognised]",
)
@click.option(
    "--retention",
    is_flag=True,
    help="FILE has conductances over time: write the law by which they relax, for --relaxation OUT",
)
@click.option("--bake-time", help="With --retention: time between a column before and one after, such as 10h")
@click.option(
    "--range",
    "range_",
    type=float,
    help="With --retention: conductance range of the device, in the unit of the file [default: as measured]",
)
@click.option(
    "--force", is_flag=True, help="Overwrite files that exist, and write a device that the data refuse"
)
@click.option("--verbose", is_flag=True, help="List all findings, and each state of a table")
@click.pass_context
def fit(
    context: click.Context,
    file: Path,
    out: Path,
    per_device: bool,
    unit: str | None,
    read_voltage: float | None,
    quantity: str | None,
    columns: tuple[str, ...],
    pulse_column: str | None,
    rows: tuple[str, ...],
    transpose: bool,
    model: str,
    reading: str | None,
    curve: str | None,
    turn: float | None,
    states: int | None,
    confidence: float,
    drop_outliers: bool,
    variation: bool | None,
    name: str | None,
    plot: Path | None,
    sheet: str | None,
    variable: str | None,
    delimiter: str | None,
    decimal: str | None,
    retention: bool,
    bake_time: str | None,
    range_: float | None,
    force: bool,
    verbose: bool,
) -> None:
    """Fit a device to measured conductances: CSV, TSV, XLSX or MAT, any number of cycles.

    FILE has a column for each cycle, beside one of pulse numbers; or a row for each cycle, below pulse
    numbers; or it has a value in each row, beside columns of cycle or device. Units stand in the headings,
    as in `G (uS)`, or are given by --unit. The first lines printed say which columns and rows were taken.

    With --retention, FILE has a column of times such as `time (h)` beside columns of values, or a row for
    each cell and a column for each time: `G at 1h (uS)`, or `R before (kOhm)` and `R after (kOhm)`.
    """
    picture = plot or out.with_suffix(".png")
    check_kind(context, retention)
    if retention:
        check_outputs(file, [out], [picture], force)
        fit_retention(
            file,
            out,
            picture,
            range_,
            confidence,
            bake_time=bake_time,
            unit=unit,
            read_voltage=read_voltage,
            columns=columns,
            rows=rows,
            sheet=sheet,
            variable=variable,
            delimiter=delimiter,
            decimal=decimal,
        )
        return
    check_outputs(file, [out], [] if per_device else [picture], force)
    check_picture(picture)
    direction = cast(Direction | None, curve)
    choices = Choices(model, reading, direction, states, confidence, drop_outliers, variation)
    measured = read_measurements(
        file,
        unit=unit,
        read_voltage=read_voltage,
        quantity=cast(Quantity | None, quantity),
        sheet=sheet,
        variable=variable,
        delimiter=delimiter,
        decimal=decimal,
        last_pulse=turn,
        columns=columns,
        pulse_column=pulse_column,
        rows=rows,
        transpose=transpose,
    )
    click.echo(f"{printable(file)}: " + "\n  ".join(measured.notes))
    make = fit_per_device if per_device else _fit_all
    make(measured, choices, Outputs(file, out, picture, force), name or profile_name(file), verbose)


def _fit_all(measured: Measurements, choices: Choices, outputs: Outputs, name: str, verbose: bool) -> None:
    """Make one device from all curves."""
    if measured.pooled:
        click.echo(f"  {measured.pooled}")
    branches = measured.branches()
    for direction, branch in branches.items():
        click.echo(f"{direction}: {describe(branch)}")
    findings = list(measured.findings)
    try:
        device = fit_device(branches, choices, outputs.file, name, findings)
    except MeasurementError:
        print_findings(findings, verbose)  # a cell that was left out may be the reason
        raise
    for direction, fitted in device.fits.items():
        click.echo()
        click.echo("\n".join(report(fitted, verbose)))
        if apart := device.variations.get(direction):
            click.echo("\n".join(variation_report(apart, verbose)))
    print_findings(findings, verbose)
    if not outputs.force:
        device.refuse()
    warn(misfits(device))
    save_profile(device.with_doubts, outputs.out)
    drawn = plot_fits(list(device.fits.values()), outputs.title(device), device.apart)
    drawn.save(outputs.picture, MeasurementError)
    _conclude(device, outputs, choices)


def _conclude(device: FittedDevice, outputs: Outputs, choices: Choices) -> None:
    """Say what was made from all curves, and what can be done with it."""
    made, profile = device.fit, device.profile
    unit = shown_unit(profile.unit)
    click.echo()
    if choices.states is None and isinstance(made, TableFit) and made.merged:
        click.echo(
            f"{made.merged} of {len(made.mean)} states are out of order: neighbours have one mean each"
        )
    click.echo(f"at the ends of the {device.chosen} curves {device.ends}")
    click.echo(
        f"wrote {printable(outputs.out)} ({profile.states} states from the {device.chosen} curves, "
        f"{profile.mean[0]:.4g} to {profile.mean[-1]:.4g} {unit}, one code is {profile.lsb:g} "
        f"{unit}) and {printable(outputs.picture)}"
    )
    for line in device.use:
        click.echo(line)
    train = f"train on it by `qcloop train --device {typed(outputs.out)}`"
    if device.reasons:
        train = f"the data refuse this device, so what it learns says little of yours: {train} to compare"
    click.echo(train)
