"""What `qcloop fit` writes and prints, for one device or for each of several."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from qcloop.errors import MeasurementError
from qcloop.figure import check_picture, data_path
from qcloop.fit import Finding, listed
from qcloop.fit.device import FittedDevice
from qcloop.text import printable

#: Most warnings that are printed.
_WARNINGS = 10


@dataclass(frozen=True)
class Outputs:
    """The file of measurements, what is written, and whether it may replace what is there."""

    file: Path
    out: Path
    picture: Path
    force: bool

    def title(self, device: FittedDevice) -> str:
        """Return the title of a device's picture."""
        return f"{device.profile.name}: {printable(self.file.name)}"


def check_outputs(file: Path, tables: list[Path], pictures: list[Path], force: bool) -> None:
    """Raise an error unless all files can be written under names of their own."""
    written = [*tables, *pictures, *map(data_path, pictures)]
    for path in tables:
        if path.suffix != ".toml":
            raise MeasurementError(f"the device file must end in .toml, not '{path.name}'")
    twice = [
        path for path, count in Counter(path.resolve() for path in (file, *written)).items() if count > 1
    ]
    if twice:
        raise MeasurementError(
            f"data, device and picture must be different files, but {twice[0].name} is two of them: choose "
            "another name"
        )
    for path in pictures:
        check_picture(path)
    for path in written:
        if not path.parent.is_dir():
            raise MeasurementError(f"cannot write {path}: there is no folder {path.parent}")
    there = [path for path in written if path.exists()]
    if there and not force:
        more = f" (and {len(there) - 1} others)" if len(there) > 1 else ""
        raise MeasurementError(
            f"{there[0]} exists already{more}: choose another name, or overwrite it by --force"
        )


def misfits(device: FittedDevice) -> list[str]:
    """Return what in the data does not follow the fit, for each direction where something does not."""
    said = [
        f"{direction}: {'; '.join(fitted.misfits)}{'; see --model table' if fitted.branch.repeated else ''}"
        for direction, fitted in device.fits.items()
        if fitted.misfits
    ]
    apart = device.variations.items()
    return said + [f"{direction}: {misfit}" for direction, one in apart for misfit in one.misfits]


def warn(warnings: list[str]) -> None:
    """Print warnings as errors, at most ten and how many more."""
    for warning in warnings[:_WARNINGS]:
        click.echo(f"warning: {printable(warning)}", err=True)
    if len(warnings) > _WARNINGS:
        click.echo(f"warning: ... and {len(warnings) - _WARNINGS} more such warnings", err=True)


def print_findings(findings: list[Finding], verbose: bool) -> None:
    """Print what was found in the data: the first ten findings, or all."""
    if findings:
        click.echo()
        click.echo("\n".join(listed(findings, None if verbose else 10)))
