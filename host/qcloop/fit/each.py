"""A device of each that a file of measurements names."""

from collections.abc import Mapping
from pathlib import Path

from qcloop.errors import DeviceError, MeasurementError
from qcloop.fit.device import Choices, FittedDevice, fit_device
from qcloop.fit.several import device_labels, labelled_name
from qcloop.measurements.file import Measurements
from qcloop.measurements.findings import Finding

#: Most reasons that are spelled out in one line.
_REASONS = 3


def check_devices(measured: Measurements, choices: Choices) -> None:
    """Raise MeasurementError unless each curve belongs to one of two devices or more, to be fitted alone."""
    if choices.variation:
        raise MeasurementError(
            "--variation is for devices that are taken together, and --per-device makes a profile of each: "
            "leave one of the two out"
        )
    if len(measured.devices) < 2:
        found = f"names one, {measured.devices[0]}" if measured.devices else "names none"
        raise MeasurementError(
            f"--per-device needs two devices or more, but {measured.path} {found}: leave the option out, or "
            "name the devices in a column 'device' or in the headings, as in 'device 3 (uS)'"
        )
    without = [curve for curve in measured.curves if not curve.device]
    if without:
        curve = without[0]
        raise MeasurementError(
            f"{len(without)} of {len(measured.curves)} curves name no device, the first in column "
            f"{curve.column} from row {curve.rows[0]} on: name their device, or leave them out by --column "
            "or --rows"
        )


def fit_each(
    measured: Measurements, choices: Choices, path: Path, name: str, findings: list[Finding]
) -> tuple[dict[str, FittedDevice], dict[str, str]]:
    """Return a device of each that a file names, and why the others cannot be fitted.

    Parameters are those of :func:`qcloop.fit.device.fit_device`; a device's profile has its label behind the
    name. ``measured`` has passed :func:`check_devices`.
    """
    made: dict[str, FittedDevice] = {}
    failed: dict[str, str] = {}
    for device, label in device_labels(measured.devices).items():
        try:
            branches = measured.of_device(device).branches()
            made[device] = fit_device(branches, choices, path, labelled_name(name, label), findings, device)
        except (MeasurementError, DeviceError) as error:
            failed[device] = str(error)
    return made, failed


def refuse_some(made: Mapping[str, FittedDevice], failed: Mapping[str, str], force: bool) -> None:
    """Raise MeasurementError if devices are refused, and ``force`` does not take what there is."""
    whys = {device: "; ".join(one.reasons) for device, one in made.items() if one.reasons and not force}
    if not (whys or failed) or (force and made):
        return
    cures = sorted({made[device].cure for device in whys})
    cures += [f"write the {len(made)} that can be fitted by --force"] if made else []
    whys |= failed
    shown = [f"device {device}: {why}" for device, why in list(whys.items())[:_REASONS]]
    more = [f"and {len(whys) - _REASONS} more"] if len(whys) > _REASONS else []
    cure = f": {', or '.join(cures)}" if cures else ""
    raise MeasurementError(
        f"no device is written, since {len(whys)} of {len(made) + len(failed)} are refused: "
        f"{'; '.join([*shown, *more])}{cure}"
    )
