"""Fits and devices as lines of text."""

from collections.abc import Mapping, Sequence

import numpy as np

from qcloop.device import UNITS
from qcloop.fit.device import FittedDevice
from qcloop.fit.equation import EquationFit, Parameter
from qcloop.fit.profile import Fit
from qcloop.fit.states import TableFit
from qcloop.fit.variation import VariationFit
from qcloop.measurements.curves import Branch
from qcloop.measurements.units import readable_unit
from qcloop.text import counted, shown_unit


def describe(branch: Branch) -> str:
    """Return words on how many curves, pulse numbers and values a branch has."""
    return (
        f"{counted(len(branch.curves), 'curve')}, {branch.states} pulse numbers "
        f"({branch.pulses[0]:g} to {branch.pulses[-1]:g}), "
        f"{sum(len(curve.values) for curve in branch.curves)} values"
    )


def report(fitted: Fit, verbose: bool) -> list[str]:
    """Return a fit as lines of text: a table with intervals, and the likelihood.

    Of a table of states only the first and the last are shown, unless the report is to be ``verbose``.
    """
    share = f"{100 * fitted.confidence:g} %"
    head = f"{fitted.branch.direction}: {fitted.model}"
    if isinstance(fitted, EquationFit):
        rows = _parameter_rows(fitted.parameters, share)
    else:
        rows = _table_rows(fitted, share, verbose)
    return [head, *_aligned(rows), f"  log-likelihood {fitted.log_likelihood:.4f}"]


def variation_report(apart: VariationFit, verbose: bool) -> list[str]:
    """Return the differences between devices as lines of text; each device has one, if it is ``verbose``."""
    direction, unit = apart.branch.direction, shown_unit(apart.offset.unit)
    head = f"{direction}: differences between {len(apart.devices)} devices (standard deviations)"
    lines = [head, *_aligned(_parameter_rows(apart.parameters, f"{100 * apart.confidence:g} %"))]
    if not apart.certain:
        lines.append("  no difference between devices is certain: the spread holds what there is")
    if verbose:
        rows = [("device", "gain", "offset", "unit")]
        own = zip(apart.devices, apart.deviations.tolist(), strict=True)
        rows += [(device, f"{gain:+.4f}", f"{offset:+.4g}", unit) for device, (gain, offset) in own]
        lines += _aligned(rows)
    return lines


def devices_table(devices: Mapping[str, FittedDevice]) -> list[str]:
    """Return a table of devices, one in each line, and the mean and the standard deviation over them.

    Each has its lowest and its highest conductance with their spreads, all in one unit. For the equation,
    k and sigma follow. A device that the data refuse is marked.

    Parameters
    ----------
    devices : mapping of name to FittedDevice
        One device or more, fitted alike to values of one unit.
    """
    first = next(iter(devices.values())).fit
    top = max(float(device.profile.mean_siemens().max()) for device in devices.values())
    unit = "G0" if first.branch.unit == "G0" else readable_unit(top, first.branch.unit)
    heads = ("device", "curves", "states", "lowest", "spread", "highest", "spread", "k", "sigma")
    sign = shown_unit(unit)
    units = ("", "", "", sign, sign, sign, sign, "", sign + "²" * (first.reading == "spread-variance"))
    table = np.array([_figures(device, unit) for device in devices.values()])
    rows = [
        (
            f"{name} (refused)" if device.reasons else name,
            f"{len(device.fit.branch.curves)} {device.chosen}",
            str(device.profile.states),
            *(f"{figure:.4g}" for figure in figures),
        )
        for (name, device), figures in zip(devices.items(), table, strict=True)
    ]
    if len(table) > 1:
        rows.append(("mean", "", "", *(f"{figure:.4g}" for figure in table.mean(axis=0))))
        rows.append(("deviation", "", "", *(f"{figure:.4g}" for figure in table.std(axis=0, ddof=1))))
    columns = 3 + table.shape[1]
    return _aligned([heads[:columns], units[:columns], *rows])


def _figures(device: FittedDevice, unit: str) -> tuple[float, ...]:
    """Return the lowest conductance, its spread, the highest, its spread; and k and sigma, if fitted."""
    profile, fit = device.profile, device.fit
    scale = profile.siemens_per_unit / UNITS[unit]
    figures = [scale * g for g in (profile.mean[0], profile.spread[0], profile.mean[-1], profile.spread[-1])]
    if isinstance(fit, EquationFit):
        k, sigma = (p.value for p in fit.parameters if p.name in ("k", "sigma"))
        power = 2 if fit.reading == "spread-variance" else 1
        figures += [k, sigma * (UNITS[fit.branch.unit] / UNITS[unit]) ** power]
    return tuple(figures)


def _parameter_rows(parameters: Sequence[Parameter], share: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("parameter", "value", f"{share} from", "to", "unit")]
    return rows + [
        (p.name, f"{p.value:.5g}", f"{p.low:.5g}", f"{p.high:.5g}", shown_unit(p.unit)) for p in parameters
    ]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]


def _table_rows(fitted: TableFit, share: str, verbose: bool) -> list[tuple[str, ...]]:
    unit = shown_unit(fitted.branch.unit)
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
