"""``qcloop fit --per-device``: a device of each that a file names, and a sweep over them."""

from pathlib import Path

import click

from qcloop.cli.fit_outputs import Outputs, check_outputs, misfits, print_findings, warn
from qcloop.device import save_profile
from qcloop.errors import MeasurementError
from qcloop.files import write_atomic
from qcloop.fit import Measurements, plot_fits
from qcloop.fit.device import Choices, FittedDevice
from qcloop.fit.each import check_devices, fit_each, refuse_some
from qcloop.fit.report import devices_table, report
from qcloop.fit.several import device_labels, labelled, sweep_file
from qcloop.text import counted, printable, typed

#: Most names that are spelled out in one line.
_NAMES = 3


def fit_per_device(
    measured: Measurements, choices: Choices, outputs: Outputs, name: str, verbose: bool
) -> None:
    """Make a device from the curves of each device in the file, and a sweep file over them."""
    check_devices(measured, choices)
    labels = device_labels(measured.devices)
    targets = {
        device: (labelled(outputs.out, label), labelled(outputs.picture, label))
        for device, label in labels.items()
    }
    profiles, pictures = zip(*targets.values(), strict=True)
    check_outputs(outputs.file, [outputs.out, *profiles], list(pictures), outputs.force)
    findings = list(measured.findings)
    made, failed = fit_each(measured, choices, outputs.file, name, findings)
    _report_each(made, verbose)
    print_findings(findings, verbose)
    refuse_some(made, failed, outputs.force)
    warn([f"device {device} is left out: {why}" for device, why in failed.items()])
    warn([f"device {device}, {misfit}" for device, one in made.items() for misfit in misfits(one)])
    _write_each(made, targets, outputs)


def _write_each(
    made: dict[str, FittedDevice], targets: dict[str, tuple[Path, Path]], outputs: Outputs
) -> None:
    """Write each device with its picture, and last the sweep file, which names them."""
    drawn = {device: plot_fits(list(one.fits.values()), outputs.title(one)) for device, one in made.items()}
    for device, one in made.items():
        profile, picture = targets[device]
        save_profile(one.with_doubts, profile)
        drawn[device].save(picture, MeasurementError)
    names = [targets[device][0].name for device in made]
    sweep = sweep_file(printable(outputs.file.name), names)
    write_atomic(outputs.out, sweep, MeasurementError, "sweep file")
    click.echo()
    click.echo(
        f"wrote {counted(len(names), 'device')} ({_few(names)}), a picture of each, and "
        f"{printable(outputs.out)}, a sweep over them"
    )
    click.echo(_use_of_each(list(made.values())))
    if refused := [device for device, one in made.items() if one.reasons]:
        click.echo(
            f"the data refuse {len(refused)} of them, which say little of yours: device {_few(refused)}"
        )
    click.echo(f"train on each by `qcloop sweep {typed(outputs.out)}`")


def _use_of_each(made: list[FittedDevice]) -> str:
    """Return a sentence on what of the curves of several devices training uses."""
    used = " or ".join(sorted({one.chosen for one in made}))
    unused = sorted({way for one in made for way in one.branches if way != one.chosen})
    rest = f"; the {' or '.join(unused)} curves are not used" if unused else ""
    return f"training uses the {used} curves of each for both ways{rest}"


def _report_each(made: dict[str, FittedDevice], verbose: bool) -> None:
    if verbose:
        for device, one in made.items():
            for fitted in one.fits.values():
                head, *lines = report(fitted, verbose)
                click.echo("\n".join(["", f"device {device}, {head}", *lines]))
    if made:
        click.echo()
        click.echo("\n".join(devices_table(made)))


def _few(names: list[str]) -> str:
    return printable(", ".join(names) if len(names) <= _NAMES else f"{names[0]} to {names[-1]}")
