"""From the curves of a device to its profile, as the user chooses, and why the data refuse it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from qcloop.device import DEFAULT_READING, DeviceProfile
from qcloop.device.profile import check_states
from qcloop.errors import MeasurementError
from qcloop.fit.equation import DEFAULT_CONFIDENCE, check_confidence, fit_equation, table_cure
from qcloop.fit.profile import Fit, source_of, to_profile
from qcloop.fit.states import fit_table
from qcloop.fit.variation import VariationFit, fit_variation
from qcloop.measurements.curves import Branch, Direction, not_monotone, outliers, without_outliers
from qcloop.measurements.findings import Finding
from qcloop.text import counted, shown_unit

#: Largest conductance, in siemens, of a device that is written without --force: 80 times 16 G0.
_MOST_SIEMENS = 0.1


@dataclass(frozen=True)
class Choices:
    """How a device is made from curves.

    Raises
    ------
    MeasurementError
        If a table is to have a reading, or the confidence is out of range.
    DeviceError
        If the number of states is out of range.
    """

    #: ``equation`` or ``table``.
    model: str = "equation"
    #: Reading of the equation; None for the default one, and for a table.
    reading: str | None = None
    #: Curves that the device is made from; None for those that fall, if there are any.
    curve: Direction | None = None
    #: Number of states; None for one of each pulse.
    states: int | None = None
    confidence: float = DEFAULT_CONFIDENCE
    drop_outliers: bool = False
    #: Whether to tell differences between devices from fluctuation; None: where there are several devices.
    variation: bool | None = None

    def __post_init__(self) -> None:
        if self.model == "table" and self.reading is not None:
            raise MeasurementError(
                f"reading '{self.reading}' is for --model equation: leave one of the two out"
            )
        check_confidence(self.confidence)
        if self.states is not None:
            check_states(self.states)


@dataclass(frozen=True)
class FittedDevice:
    """A device that was made from measured curves."""

    branches: Mapping[Direction, Branch]
    #: The fit of each direction that could be fitted.
    fits: Mapping[Direction, Fit]
    #: Direction of the curves that the device is made from.
    chosen: Direction
    profile: DeviceProfile
    #: Differences between devices in each direction; none if the curves are of one device, or taken as one.
    variations: Mapping[Direction, VariationFit] = field(default_factory=dict)

    @property
    def apart(self) -> dict[Direction, VariationFit]:
        """Differences between devices that are certain: spreads of fits and profile do not hold them."""
        return {way: variation for way, variation in self.variations.items() if variation.certain}

    @property
    def fit(self) -> Fit:
        """The fit that the device is made from."""
        return self.fits[self.chosen]

    @property
    def reasons(self) -> list[str]:
        """Why the device is not written without --force: the data refuse it, or no memristor conducts so."""
        reasons = list(self.fit.refusals)
        top = float(self.profile.mean_siemens().max())
        if top > _MOST_SIEMENS:
            reasons.append(f"a device of {top:.3g} S is none that is known: check column and unit")
        return reasons

    @property
    def with_doubts(self) -> DeviceProfile:
        """The profile; its source says so if the data refuse it."""
        if not self.reasons:
            return self.profile
        doubts = f"{self.profile.source}; forced, though {'; '.join(self.reasons)}"
        return replace(self.profile, source=doubts)

    @property
    def use(self) -> list[str]:
        """Lines on what of the measured curves training uses, and what it does not."""
        used = self.branches[self.chosen]
        other: Direction = "up" if self.chosen == "down" else "down"
        factors = ", ".join(f"{way} {branch.nonlinearity:.2f}" for way, branch in self.branches.items())
        same = f"writes {other} lead to the same means and spreads as writes {self.chosen}"
        lines = [
            *self._differences,
            f"nonlinearity of the mean curves: {factors} (0 is a straight line; above 0, large steps first)",
            f"training uses the {self.profile.states} states of the {_counted(used)} for both ways: {same}",
        ]
        if other in self.branches:
            lines.append(
                f"{_counted(self.branches[other], verb=True)} not used, neither nonlinearity nor spreads nor "
                f"number of pulses: --curve {other} takes the {other} curves"
            )
        return lines

    @property
    def _differences(self) -> list[str]:
        variation, unit = self.profile.variation, shown_unit(self.profile.unit)
        if variation is None:
            return []
        words = variation.words(self.profile.lsb, unit)
        return [f"beside the spread, devices differ by {words}: --no-variation leaves that in the spread"]

    def refuse(self) -> None:
        """Raise MeasurementError, which says what can be done, if the data refuse the device."""
        if self.reasons:
            raise MeasurementError(
                f"no device is written, since the data refuse it: {'; '.join(self.reasons)}; "
                f"{self.ends}: {self.cure}, or write it all the same by --force"
            )

    @property
    def ends(self) -> str:
        """Words on the lowest and highest conductance, as it was measured and in the device."""
        branch, profile = self.fit.branch, self.profile
        high, *_, low = branch.stage_means
        return (
            f"{low:.4g} and {high:.4g} {shown_unit(branch.unit)} were measured, and the device has "
            f"{profile.mean[0]:.4g} to {profile.mean[-1]:.4g} {shown_unit(profile.unit)}"
        )

    @property
    def cure(self) -> str:
        """What the user can do about the reasons."""
        if self.fit.refusals:
            return table_cure(self.fit.branch)
        return "give --unit or --column"


def fit_device(
    branches: Mapping[Direction, Branch],
    choices: Choices,
    path: Path,
    name: str,
    findings: list[Finding],
    device: str = "",
) -> FittedDevice:
    """Fit the curves of a device in each direction, and make its profile.

    Parameters
    ----------
    branches : mapping of direction to Branch
    choices : Choices
    path : Path
        File of the measurements, for the profile's source.
    name : str
        Name of the profile.
    findings : list of Finding
        Outliers, means that go the wrong way, a direction that cannot be fitted, and devices that cannot be
        told apart are appended, also where an error is raised.
    device : str, optional
        What the file calls the device, if it has several.

    Raises
    ------
    MeasurementError
        If there are no curves of the chosen direction, or if they cannot be fitted.
    DeviceError
        If the fitted states are no device, or if devices differ by more than an array holds.
    """
    chosen = _choose(choices.curve, branches)
    fits: dict[Direction, Fit] = {}
    variations: dict[Direction, VariationFit] = {}
    of = f"device {device}, " if device else ""
    for direction, branch in branches.items():
        used = without_outliers(branch) if choices.drop_outliers else branch
        findings += outliers(branch)[1]
        if variation := _variation(used, choices, of, findings):
            variations[direction] = variation
            used = variation.within if variation.certain else used
        findings += [Finding(odd.kind, of + odd.text) for odd in not_monotone(used)]
        try:
            fits[direction] = _fit(used, choices)
        except MeasurementError as error:
            if direction == chosen:
                raise
            findings.append(Finding("not fitted", f"{of}{direction}: {error}"))
    apart = variations.get(chosen)
    apart = apart if apart and apart.certain else None
    source = source_of(path, fits[chosen], device) + _of_curves(branches, chosen, apart)
    profile = to_profile(fits[chosen], name, source, choices.states, apart)
    return FittedDevice(branches, fits, chosen, profile, variations)


def _variation(branch: Branch, choices: Choices, of: str, findings: list[Finding]) -> VariationFit | None:
    """Return the differences between devices, if the curves are of several and they are to be found."""
    several = len({curve.device for curve in branch.curves} - {""}) > 1
    if choices.variation is False or not (several or choices.variation):
        return None
    try:
        return fit_variation(branch, choices.confidence)
    except MeasurementError as error:
        if choices.variation:
            raise
        text = f"{of}{branch.direction}: {error}; the spread holds them as well"
        findings.append(Finding("differences between devices not found", text))
        return None


def _of_curves(branches: Mapping[Direction, Branch], chosen: Direction, apart: VariationFit | None) -> str:
    """Return the end of a profile's source: nonlinearities, and which curves are not used."""
    text = f"; differences between {len(apart.devices)} devices apart" if apart else ""
    text += f"; nonlinearity {branches[chosen].nonlinearity:.2f}"
    for direction, branch in branches.items():
        if direction != chosen:
            text += f"; {_counted(branch)} of nonlinearity {branch.nonlinearity:.2f} not used"
    return text


def _counted(branch: Branch, verb: bool = False) -> str:
    """Return how many curves a branch has in words, such as ``5 up curves`` or ``5 up curves are``."""
    words = counted(len(branch.curves), f"{branch.direction} curve")
    return f"{words} {'are' if len(branch.curves) > 1 else 'is'}" if verb else words


def _choose(curve: Direction | None, branches: Mapping[Direction, Branch]) -> Direction:
    if curve is None:
        return "down" if "down" in branches else "up"
    if curve not in branches:
        found = ", ".join(f"{len(branch.curves)} {direction}" for direction, branch in branches.items())
        raise MeasurementError(f"there are no {curve} curves in the file, only {found}")
    return curve


def _fit(branch: Branch, choices: Choices) -> Fit:
    if choices.model == "table":
        return fit_table(branch, choices.confidence)
    return fit_equation(branch, choices.reading or DEFAULT_READING, choices.confidence)
