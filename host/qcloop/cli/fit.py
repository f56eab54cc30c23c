"""``qcloop fit``: a device profile from measured conductances."""

from pathlib import Path
from typing import cast

import click

from qcloop.device import DEFAULT_READING, DeviceProfile, save_profile
from qcloop.errors import MeasurementError
from qcloop.figure import check_picture
from qcloop.files import write_atomic
from qcloop.fit import (
    DEFAULT_CONFIDENCE,
    FITTED_READINGS,
    MEASURED_UNITS,
    Branch,
    EquationFit,
    Finding,
    Fit,
    TableFit,
    fit_equation,
    fit_table,
    listed,
    not_monotone,
    outliers,
    plot_fits,
    profile_name,
    read_measurements,
    source_of,
    to_profile,
    without_outliers,
)
from qcloop.measurements.curves import Direction
from qcloop.measurements.units import Quantity
from qcloop.text import printable

#: Largest conductance, in siemens, of a device that is written without --force: 80 times 16 G0.
_MOST_SIEMENS = 0.1

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("-o", "--out", type=_FILE, required=True, help="TOML file to write")
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
    default="equation",
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
    default=DEFAULT_CONFIDENCE,
    show_default=True,
    help="Confidence of each interval",
)
@click.option("--drop-outliers", is_flag=True, help="Leave outliers out of the fit")
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
    "--force", is_flag=True, help="Overwrite files that exist, and write a device that the data refuse"
)
@click.option("--verbose", is_flag=True, help="List all findings, and each state of a table")
def fit(
    file: Path,
    out: Path,
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
    name: str | None,
    plot: Path | None,
    sheet: str | None,
    variable: str | None,
    delimiter: str | None,
    decimal: str | None,
    force: bool,
    verbose: bool,
) -> None:
    """Fit a device to measured conductances: CSV, TSV, XLSX or MAT, any number of cycles.

    FILE has a column for each cycle, beside one of pulse numbers; or a row for each cycle, below pulse
    numbers; or it has a value in each row, beside columns of cycle or device. Units stand in the headings,
    as in `G (uS)`, or are given by --unit. The first lines printed say which columns and rows were taken.
    """
    picture = plot or out.with_suffix(".png")
    _check_outputs(file, out, picture, force)
    if model == "table" and reading is not None:
        raise MeasurementError(f"reading '{reading}' is for --model equation: leave one of the two out")
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
    branches = measured.branches()
    chosen = _choose(cast(Direction | None, curve), branches)
    findings = list(measured.findings)
    fits: dict[Direction, Fit] = {}
    for direction, branch in branches.items():
        click.echo(f"{direction}: {_describe(branch)}")
        used = without_outliers(branch) if drop_outliers else branch
        findings += outliers(branch)[1] + not_monotone(used)
        try:
            fits[direction] = _fit(used, model, reading, confidence)
        except MeasurementError as error:
            if direction == chosen:
                _print_findings(findings, verbose)  # a cell that was left out may be the reason
                raise
            findings.append(Finding("not fitted", f"{direction}: {error}"))
    made = fits[chosen]
    for fitted in fits.values():
        click.echo()
        click.echo("\n".join(_report(fitted, verbose)))
    _print_findings(findings, verbose)
    profile = to_profile(made, name or profile_name(file), source_of(file, made), states)
    ends = _ends(made, profile)
    if not force:
        _refuse(made, profile, ends)
    for fitted in fits.values():
        for misfit in fitted.misfits:
            click.echo(f"warning: {fitted.branch.direction}: {misfit}; see --model table", err=True)
    save_profile(profile, out)
    write_atomic(
        picture,
        plot_fits(list(fits.values()), f"{profile.name}: {printable(file.name)}", picture),
        MeasurementError,
        "picture",
    )
    click.echo()
    if states is None and isinstance(made, TableFit) and made.merged:
        click.echo(
            f"{made.merged} of {len(made.mean)} states are out of order: neighbours have one mean each"
        )
    click.echo(f"at the ends of the {chosen} curves {ends}")
    click.echo(
        f"wrote {printable(out)} ({profile.states} states from the {chosen} curves, {profile.mean[0]:.4g} to "
        f"{profile.mean[-1]:.4g} {profile.unit}, one code is {profile.lsb:g} {profile.unit}) "
        f"and {printable(picture)}"
    )
    for direction, branch in branches.items():
        if direction != chosen:
            click.echo(_unused(branch))
    click.echo(f"train on it by `qcloop train --device {printable(out)}`")


def _ends(made: Fit, profile: DeviceProfile) -> str:
    """Return words on the lowest and highest conductance, as it was measured and in the device."""
    high, *_, low = made.branch.stage_means
    return (
        f"{low:.4g} and {high:.4g} {made.branch.unit} were measured, and the device has "
        f"{profile.mean[0]:.4g} to {profile.mean[-1]:.4g} {profile.unit}"
    )


def _unused(branch: Branch) -> str:
    """Return a sentence on curves of the direction that the device is not made from."""
    direction, count = branch.direction, len(branch.curves)
    curves = f"curve{'s are' if count > 1 else ' is'}"
    return f"{count} {direction} {curves} not used: --curve {direction} takes the {direction} curves"


def _print_findings(findings: list[Finding], verbose: bool) -> None:
    if findings:
        click.echo()
        click.echo("\n".join(listed(findings, None if verbose else 10)))


def _refuse(made: Fit, profile: DeviceProfile, ends: str) -> None:
    """Raise MeasurementError if the data refuse a device, or if it conducts as no memristor does."""
    reasons = list(made.refusals)
    cure = "take --model table, which needs two cycles or more" if reasons else "give --unit or --column"
    top = float(profile.mean_siemens().max())
    if top > _MOST_SIEMENS:
        reasons.append(f"a device of {top:.3g} S is none that is known: check column and unit")
    if reasons:
        raise MeasurementError(
            f"no device is written, since the data refuse it: {'; '.join(reasons)}; {ends}: {cure}, or "
            "write it all the same by --force"
        )


def _check_outputs(file: Path, out: Path, picture: Path, force: bool) -> None:
    if out.suffix != ".toml":
        raise MeasurementError(f"the device file must end in .toml, not '{out.name}'")
    if len({file.resolve(), out.resolve(), picture.resolve()}) < 3:
        raise MeasurementError(f"data, device and picture must be three files: {file}, {out}, {picture}")
    check_picture(picture)
    for path in (out, picture):
        if not path.parent.is_dir():
            raise MeasurementError(f"cannot write {path}: there is no folder {path.parent}")
        if path.exists() and not force:
            raise MeasurementError(f"{path} exists already: choose another name, or overwrite it by --force")


def _choose(curve: Direction | None, branches: dict[Direction, Branch]) -> Direction:
    if curve is None:
        return "down" if "down" in branches else "up"
    if curve not in branches:
        found = ", ".join(f"{len(branch.curves)} {direction}" for direction, branch in branches.items())
        raise MeasurementError(f"there are no {curve} curves in the file, only {found}")
    return curve


def _describe(branch: Branch) -> str:
    curves = len(branch.curves)
    return (
        f"{curves} curve{'s' if curves > 1 else ''}, {branch.states} pulse numbers "
        f"({branch.pulses[0]:g} to {branch.pulses[-1]:g}), "
        f"{sum(len(curve.values) for curve in branch.curves)} values"
    )


def _fit(branch: Branch, model: str, reading: str | None, confidence: float) -> Fit:
    if model == "table":
        return fit_table(branch, confidence)
    return fit_equation(branch, reading or DEFAULT_READING, confidence)


def _report(fitted: Fit, verbose: bool) -> list[str]:
    """Return a fit as lines of text: a table with intervals, and the likelihood."""
    share = f"{100 * fitted.confidence:g} %"
    head = f"{fitted.branch.direction}: {fitted.model}"
    if isinstance(fitted, EquationFit):
        rows: list[tuple[str, ...]] = [("parameter", "value", f"{share} from", "to", "unit")]
        rows += [
            (p.name, f"{p.value:.5g}", f"{p.low:.5g}", f"{p.high:.5g}", p.unit) for p in fitted.parameters
        ]
    else:
        rows = _table_rows(fitted, share, verbose)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    return [head, *lines, f"  log-likelihood {fitted.log_likelihood:.4f}"]


def _table_rows(fitted: TableFit, share: str, verbose: bool) -> list[tuple[str, ...]]:
    unit = fitted.branch.unit
    rows: list[tuple[str, ...]] = [
        ("pulse", "values", f"mean ({unit})", f"{share} from", "to", "spread", f"{share} from", "to")
    ]
    for stage, pulse in enumerate(fitted.branch.stage_pulses):
        if not verbose and 3 <= stage < len(fitted.mean) - 2:
            if stage == 3:
                rows.append(("...",) * len(rows[0]))
            continue
        figures = (
            fitted.mean,
            fitted.mean_low,
            fitted.mean_high,
            fitted.spread,
            fitted.spread_low,
            fitted.spread_high,
        )
        rows.append(
            (f"{pulse:g}", str(fitted.counts[stage]), *(f"{figure[stage]:.5g}" for figure in figures))
        )
    return rows
