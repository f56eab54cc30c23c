"""``qcloop fit --retention``: the law by which conductances relax."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from qcloop.errors import MeasurementError
from qcloop.fit.relaxation import fit_relaxation
from qcloop.measurements.retention import read_retention
from qcloop.text import printable, typed

#: Options of `qcloop fit` for retention alone, and those for both kinds of files.
_OWN = ("bake_time", "range_")
_OF_THE_FILE = ("unit", "read_voltage", "columns", "rows", "sheet", "variable", "delimiter", "decimal")
_SHARED = ("file", "out", "plot", "retention", "force", "verbose", "confidence", *_OF_THE_FILE)


def check_kind(context: click.Context, retention: bool) -> None:
    """Raise MeasurementError for an option that belongs to the other kind of files."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name not in _SHARED and (name in _OWN) != retention:
            advice = f"leave {parameter.opts[0]} out" if retention else "give --retention, too"
            raise MeasurementError(
                f"{parameter.opts[0]} is for files of {'pulses' if retention else 'retention'}: {advice}"
            )


def fit_retention(
    file: Path, out: Path, picture: Path, range_: float | None, confidence: float, **reading: Any
) -> None:
    """Fit a law to the retention in a file, print it, and write it with its picture."""
    retention = read_retention(file, **reading)
    click.echo(f"{printable(file)}: " + "\n  ".join(map(printable, retention.lines())))
    found = fit_relaxation(retention, range_, confidence)
    click.echo("\n" + "\n".join(found.lines()))
    if found.table.length == 1:
        click.echo("one time tells neither drift nor widening: both are 0")
    found.save(out, picture)
    law = found.relaxation
    click.echo(
        f"\nwrote {printable(out)} (a law from {law.t0_s:g} s on, for a range of {law.range:.4g} "
        f"{retention.unit}) and {printable(picture)}"
    )
    click.echo(f"age a run by `qcloop age DIR --relaxation {typed(out)}`")
