"""Fits in Python: the command line's ``fit`` as a function."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import cast

from qcloop.device import DeviceProfile, save_profile
from qcloop.errors import DeviceError, MeasurementError
from qcloop.figure import Plot
from qcloop.fit.device import Choices, FittedDevice, fit_device
from qcloop.fit.each import check_devices, fit_each, refuse_some
from qcloop.fit.equation import FITTED_READINGS, EquationFit
from qcloop.fit.plot import plot_fits
from qcloop.fit.profile import profile_name
from qcloop.fit.relaxation import RelaxationFit, fit_relaxation
from qcloop.fit.report import describe, report, variation_report
from qcloop.measurements.curves import Direction
from qcloop.measurements.file import Measurements, read_measurements
from qcloop.measurements.findings import Finding, listed
from qcloop.measurements.retention import read_retention
from qcloop.measurements.units import Quantity
from qcloop.table import ResultTable


@dataclass(frozen=True, repr=False)
class FitResult:
    """A device that was made from a file of measurements. ``qcloop.train(device=result)`` trains on it."""

    path: Path
    measured: Measurements
    device: FittedDevice
    #: What is odd in the file, and what was left out.
    findings: tuple[Finding, ...]

    @property
    def profile(self) -> DeviceProfile:
        """The device, ready to train on."""
        return self.device.with_doubts

    @property
    def parameters(self) -> ResultTable:
        """Parameters with their intervals, a row each: of the equation, of differences between devices."""
        found = [
            (way, fit.parameters) for way, fit in self.device.fits.items() if isinstance(fit, EquationFit)
        ]
        found += [(way, apart.parameters) for way, apart in self.device.variations.items()]
        rows = [
            (way, p.name, p.value, p.low, p.high, p.unit) for way, parameters in found for p in parameters
        ]
        return ResultTable.of(("direction", "name", "value", "low", "high", "unit"), rows)

    def plot(self) -> Plot:
        """Return the picture of ``qcloop fit``: measured values, the fit, and the residuals."""
        title = f"{self.profile.name}: {self.path.name}"
        return plot_fits(list(self.device.fits.values()), title, self.device.apart)

    def save(self, path: Path | str) -> Path:
        """Write the device as TOML, and the picture with its numbers beside it, as ``qcloop fit -o`` does.

        Raises
        ------
        MeasurementError
            If the name does not end in .toml, or a file cannot be written.
        DeviceError
            If there is such a file already.
        """
        path = Path(path)
        if path.suffix != ".toml":
            raise MeasurementError(f"the device file must end in .toml, not '{path.name}'")
        if path.exists():
            raise DeviceError(f"{path} exists already: choose another name")
        save_profile(self.profile, path)
        self.plot().save(path.with_suffix(".png"), MeasurementError)
        return path

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        first, *more = self.measured.notes
        lines = ["\n  ".join([f"{self.path.name}: {first}", *more])]
        for direction, branch in self.device.branches.items():
            lines.append(f"{direction}: {describe(branch)}")
        for direction, fitted in self.device.fits.items():
            lines += ["", *report(fitted, verbose=False)]
            if apart := self.device.variations.get(direction):
                lines += variation_report(apart, verbose=False)
        if self.findings:
            lines += ["", *listed(list(self.findings), 10)]
        return [*lines, "", *self.device.use]

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.plot()._repr_png_()).decode()
        return (
            f"<pre>{escape(chr(10).join(self._lines()))}</pre>"
            f'<img alt="Measured values and the fit" width="460" src="data:image/png;base64,{picture}">'
        )


def fit(
    file: Path | str,
    *,
    per_device: bool = False,
    unit: str | None = None,
    read_voltage: float | None = None,
    quantity: str | None = None,
    column: Sequence[str] = (),
    pulse_column: str | None = None,
    rows: Sequence[str] = (),
    transpose: bool = False,
    model: str = Choices.model,
    reading: str | None = None,
    curve: str | None = None,
    turn: float | None = None,
    states: int | None = None,
    confidence: float = Choices.confidence,
    drop_outliers: bool = False,
    variation: bool | None = None,
    name: str | None = None,
    sheet: str | None = None,
    variable: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    retention: bool = False,
    bake_time: str | float | None = None,
    range: float | None = None,
    force: bool = False,
) -> FitResult | dict[str, FitResult] | RelaxationFit:
    """Fit a device to measured conductances, as ``qcloop fit`` does with options of the same names.

    Nothing is written; :meth:`FitResult.save` does that.

    Parameters
    ----------
    file : path
        CSV, TSV, XLSX or MAT. ``qcloop fit --help`` says what the other parameters are; ``column`` and
        ``rows`` take several.
    per_device : bool
        Make a device of each that the file names.
    retention : bool
        The file has conductances over time: fit the law by which they relax. ``bake_time`` and ``range`` are
        for this, and of the parameters above ``unit``, ``read_voltage``, ``column``, ``rows``, ``confidence``
        and those of the file are used.
    variation : bool, optional
        Tell differences between devices from fluctuation; if left out, where the file has several devices.
        ``result.profile.variation`` has them, and ``result.parameters`` their intervals.
    force : bool
        Return a device that the data refuse; its ``source`` then says why they do.

    Returns
    -------
    FitResult, or dict of FitResult by what the file calls the device; RelaxationFit with ``retention``

    Raises
    ------
    MeasurementError
        If the file cannot be read as asked, or the data refuse a device.
    DeviceError
        If the fitted states are no device.
    """
    path = Path(file)
    if retention:
        measured_over_time = read_retention(
            path,
            bake_time=bake_time,
            unit=unit,
            read_voltage=read_voltage,
            columns=_several(column),
            rows=_several(rows),
            sheet=sheet,
            variable=variable,
            delimiter=delimiter,
            decimal=_one_of("decimal", decimal, (".", ",")),
        )
        return fit_relaxation(measured_over_time, range, confidence)
    choices = Choices(
        _one_of("model", model, ("equation", "table")) or Choices.model,
        _one_of("reading", reading, FITTED_READINGS),
        cast(Direction | None, _one_of("curve", curve, ("down", "up"))),
        states,
        confidence,
        drop_outliers,
        variation,
    )
    measured = read_measurements(
        path,
        unit=unit,
        read_voltage=read_voltage,
        quantity=cast(
            Quantity | None, _one_of("quantity", quantity, ("conductance", "resistance", "current"))
        ),
        sheet=sheet,
        variable=variable,
        delimiter=delimiter,
        decimal=_one_of("decimal", decimal, (".", ",")),
        last_pulse=turn,
        columns=_several(column),
        pulse_column=pulse_column,
        rows=_several(rows),
        transpose=transpose,
    )
    findings, name = list(measured.findings), name or profile_name(path)
    if per_device:
        check_devices(measured, choices)
        made, failed = fit_each(measured, choices, path, name, findings)
        refuse_some(made, failed, force)
        return {
            key: FitResult(path, measured.of_device(key), one, tuple(findings)) for key, one in made.items()
        }
    device = fit_device(measured.branches(), choices, path, name, findings)
    if not force:
        device.refuse()
    return FitResult(path, measured, device, tuple(findings))


def _one_of(what: str, value: str | None, choices: Sequence[str]) -> str | None:
    """Return a value; raises MeasurementError unless it is one of some, or None."""
    if value is not None and value not in choices:
        raise MeasurementError(f"{what} must be one of {', '.join(choices)}, not '{value}'")
    return value


def _several(values: str | int | Sequence[str]) -> tuple[str, ...]:
    return (str(values),) if isinstance(values, str | int) else tuple(map(str, values))
