"""Figures 3 and 4: the conductance over 12 cycles of pulses, under each reading of Equation (1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qcloop.device import READINGS, DeviceProfile, builtin
from qcloop.device.builtin import FWHM, FWHM_PER_SIGMA, FWHM_STAGES
from qcloop.device.cycles import simulate_cycles
from qcloop.figure import (
    BLUE,
    ORANGE,
    TWO_COLUMNS,
    drawn,
    legend_outside,
    new_figure,
    to_png,
    to_svg,
    unit_label,
)
from qcloop.report.page import Block, Picture, Section, Table, Text, Verdict
from qcloop.reproduce import paper
from qcloop.reproduce.part import Outcomes, Part, Presentation
from qcloop.table import csv_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

F64 = npt.NDArray[np.float64]

SAMPLES = ("A", "B")
_COLOURS = {"A": BLUE, "B": ORANGE}
#: Conductance of one code of the built-in devices, in G0.
_LSB = 1 / 32
#: Number of groups of 12 cycles. They show in which range a statistic of 12 cycles lies.
_GROUPS = 2000
#: Percentiles: a measured value of the paper agrees with a reading if it lies within the central 95 % of the
#: groups.
_CENTRAL = (2.5, 97.5)


@dataclass(frozen=True)
class Statistic:
    """A measured value of the paper beside what the array gives under a reading."""

    what: str
    sample: str
    reading: str
    paper: float
    #: The value over all cycles, and the ends of the central 95 % of the groups of 12 cycles.
    value: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether 12 cycles of this reading would give the paper's value."""
        return self.low <= self.paper <= self.high


def cycles_of(profile: DeviceProfile, seed: int) -> F64:
    """Return conductances in G0 that the array gives, (groups, 12, 32): groups, cycles and stages."""
    cycles = simulate_cycles(profile, _GROUPS * paper.CYCLES, seed)
    return cycles.reshape(_GROUPS, paper.CYCLES, profile.states)


def fit_gaussian(conductances: F64) -> tuple[float, float]:
    """Return mean and standard deviation of the normal distribution of greatest likelihood."""
    from scipy.stats import norm  # takes long to import: only if a distribution is fitted

    mean, deviation = norm.fit(conductances.reshape(-1))
    return float(mean), float(deviation)


def _readings(seed: int) -> Iterator[tuple[str, str, F64]]:
    """Yield reading, sample and cycles. Each sample has a seed of its own."""
    for reading in READINGS:
        for index, sample in enumerate(SAMPLES):
            yield reading, sample, cycles_of(builtin(sample, reading=reading), seed + index)


def widths(reading: str, sample: str, cycles: F64) -> list[Statistic]:
    """Return the full widths at half maximum at stages 5 and 29, in G0."""
    found = []
    for stage, measured in zip(FWHM_STAGES, FWHM[sample], strict=True):
        drawn = cycles[:, :, stage - 1]
        low, high = np.percentile(drawn.std(axis=1) * FWHM_PER_SIGMA, _CENTRAL)
        value = fit_gaussian(drawn)[1] * FWHM_PER_SIGMA
        found.append(
            Statistic(
                f"FWHM at stage {stage} (G0)", sample, reading, measured, value, float(low), float(high)
            )
        )
    return found


def width_ratio(reading: str, a: F64, b: F64) -> Statistic:
    """Return how many times wider B is than A at stage 5."""
    stage, index = FWHM_STAGES[0], FWHM_STAGES[0] - 1
    ratios = b[:, :, index].std(axis=1) / a[:, :, index].std(axis=1)
    low, high = np.percentile(ratios, _CENTRAL)
    value = fit_gaussian(b[:, :, index])[1] / fit_gaussian(a[:, :, index])[1]
    measured = FWHM["B"][0] / FWHM["A"][0]
    return Statistic(
        f"FWHM of B to A at stage {stage}", "both", reading, measured, value, float(low), float(high)
    )


def spread_at_on(reading: str, sample: str, cycles: F64) -> Statistic:
    """Return the paper's spread, largest less smallest conductance at stage 1, in per cent of 16 G0."""
    spans = 100 * np.ptp(cycles[:, :, 0], axis=1) / 16.0
    low, high = np.percentile(spans, _CENTRAL)
    measured = paper.SPREAD_AT_ON[sample]
    return Statistic(
        "spread at 16 G0 (%)", sample, reading, measured, float(np.median(spans)), float(low), float(high)
    )


def _table(statistics: Sequence[Statistic]) -> Table:
    head = ("reading", "sample", "quantity", "paper", "array", "12 cycles (95 %)", "agrees")
    rows = [
        [
            s.reading,
            s.sample,
            s.what,
            f"{s.paper:g}",
            f"{s.value:.2f}",
            f"{s.low:.1f} .. {s.high:.1f}",
            _yes(s),
        ]
        for s in statistics
    ]
    return Table(
        head, rows, "Array: over 24,000 cycles. The paper's values come from 12 cycles, hence the range."
    )


def _yes(statistic: Statistic) -> str:
    return "yes" if statistic.agrees else "no"


def _verdicts(statistics: Sequence[Statistic]) -> list[Verdict]:
    """Return a verdict for each reading: with which values of the paper it agrees."""
    verdicts = []
    for reading in READINGS:
        mine = [s for s in statistics if s.reading == reading]
        missed = [f"{s.sample}, {s.what}: {s.value:.1f} for {s.paper:g}" for s in mine if not s.agrees]
        text = f"reading {reading}: agrees with {len(mine) - len(missed)} of {len(mine)} figures"
        verdicts.append(
            Verdict(text + (f"; not with {'; '.join(missed)}" if missed else ""), good=not missed)
        )
    return verdicts


def _csv(statistics: Sequence[Statistic]) -> str:
    head = (
        "reading",
        "sample",
        "quantity",
        "paper",
        "array",
        "low_of_12_cycles",
        "high_of_12_cycles",
        "agrees",
    )
    return csv_text(
        head,
        [(s.reading, s.sample, s.what, s.paper, s.value, s.low, s.high, _yes(s)) for s in statistics],
    )


# -- Figure 3 ------------------------------------------------------------------------------------


@drawn
def _present_3(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    statistics: list[Statistic] = []
    figure = new_figure(TWO_COLUMNS, 6.0)
    grid = figure.subplots(len(READINGS), 2 * len(SAMPLES), squeeze=False)
    previous: F64 = np.empty(0)
    for reading, sample, cycles in _readings(seeds[0]):
        statistics += widths(reading, sample, cycles)
        if sample == "B":
            statistics.append(width_ratio(reading, previous, cycles))
        previous = cycles
        row, column = READINGS.index(reading), 2 * SAMPLES.index(sample)
        for offset, (stage, fwhm) in enumerate(zip(FWHM_STAGES, FWHM[sample], strict=True)):
            axes = grid[row][column + offset]
            _draw_histogram(axes, cycles[:, :, stage - 1], stage, fwhm, _COLOURS[sample])
            if row == 0:
                axes.set_title(f"sample {sample}, stage {stage}")
            if row == len(READINGS) - 1:
                axes.set_xlabel(f"conductance ({unit_label('G0')})")
        grid[row][0].set_ylabel(reading)
    legend_outside(figure, grid[0][0])
    picture = Picture(
        to_svg(figure, "fig3"),
        alt="Histograms of the conductance at pulse stages 5 and 29 for both samples under four readings",
        caption="Bars: what the array gives; line: its Gaussian fit; dashed: a Gaussian of the paper's FWHM "
        "at the nominal conductance. Densities, each panel on its own scale.",
    )
    text = Text(
        "Equation (1), G = (1 - k n) f(mu, sigma^2), can be understood in four ways; docs/physics.md "
        "compares them. "
        "Each is drawn as the array draws it: from tables of codes, by the generator GRNG16."
    )
    blocks: list[Block] = [text, picture, _table(statistics), *_verdicts(statistics)]
    return Presentation(
        Section(FIG3.title, blocks), {"fig3.png": to_png(figure), "fig3.csv": _csv(statistics)}
    )


def _draw_histogram(axes: "Axes", drawn: F64, stage: int, fwhm: float, colour: str) -> None:
    from scipy.stats import norm  # takes long to import: only if a distribution is drawn

    mean, deviation = fit_gaussian(drawn)
    nominal, width = paper.nominal(stage), fwhm / FWHM_PER_SIGMA
    reach = 3.2 * max(deviation, width)
    x = np.linspace(max(0.0, nominal - reach), nominal + reach, 300)
    step = _LSB * max(1, round((x[-1] - x[0]) / 40 / _LSB))  # whole codes, or bars would alternate in height
    bins = np.arange(x[0] // _LSB * _LSB - _LSB / 2, x[-1] + step, step)
    axes.hist(drawn.reshape(-1), bins=bins.tolist(), density=True, color=colour, alpha=0.35, label="array")
    axes.set_xlim(x[0], x[-1])
    axes.plot(x, norm.pdf(x, mean, deviation), color=colour, linewidth=1.0, label="its Gaussian fit")
    axes.plot(
        x,
        norm.pdf(x, nominal, width),
        "k--",
        linewidth=0.8,
        label="Gaussian of the FWHM that the paper measured",
    )
    axes.set_yticks([])


# -- Figure 4 ------------------------------------------------------------------------------------


@drawn
def _present_4(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    statistics: list[Statistic] = []
    rows: list[tuple[object, ...]] = []
    bends: list[Block] = []
    figure = new_figure(TWO_COLUMNS, 3.8)
    grid = figure.subplots(len(SAMPLES), len(READINGS), sharex=True, sharey=True, squeeze=False)
    for reading, sample, cycles in _readings(seeds[0]):
        statistics.append(spread_at_on(reading, sample, cycles))
        axes = grid[SAMPLES.index(sample)][READINGS.index(reading)]
        _draw_cycles(axes, cycles[0], _COLOURS[sample])
        axes.set_title(f"{sample}, {reading}")
        rows += [
            (reading, sample, cycle + 1, stage + 1, float(g))
            for (cycle, stage), g in np.ndenumerate(cycles[0])
        ]
        if sample == "A":
            bends.append(_linearity(reading, cycles))
    for axes in grid[-1]:
        axes.set_xlabel("pulse stage n")
    for line in grid:
        line[0].set_ylabel(f"conductance ({unit_label('G0')})")
    legend_outside(figure, grid[0][0])
    picture = Picture(
        to_svg(figure, "fig4"),
        alt="Conductance against pulse stage, 12 cycles of 32 pulses, both samples under four readings",
        caption="12 cycles of 32 RESET pulses; black: nominal 16.5 - 0.5 n.",
    )
    blocks = (picture, _table(statistics), *_verdicts(statistics), *bends)
    head = ("reading", "sample", "cycle", "stage", "conductance_g0")
    return Presentation(
        Section(FIG4.title, blocks),
        {
            "fig4.png": to_png(figure),
            "fig4.csv": _csv(statistics),
            "fig4-cycles.csv": csv_text(head, rows),
        },
    )


def _draw_cycles(axes: "Axes", cycles: F64, colour: str) -> None:
    stages = np.arange(1, cycles.shape[1] + 1)
    every = np.tile(stages, len(cycles))
    axes.plot(every, cycles.reshape(-1), ".", color=colour, markersize=1.8, alpha=0.7, label="12 cycles")
    axes.plot(stages, [paper.nominal(n) for n in stages], "k-", linewidth=0.9, label="nominal, 16.5 - 0.5 n")
    axes.set_ylim(0, 22)


def _linearity(reading: str, cycles: F64) -> Verdict:
    """Return a verdict on the distance of the mean curve from the nominal line; the paper's are linear."""
    mean = cycles.mean(axis=(0, 1))
    nominal = np.array([paper.nominal(n) for n in range(1, len(mean) + 1)])
    stage = int(np.abs(mean - nominal).argmax())
    off = mean[stage] - nominal[stage]
    return Verdict(
        f"reading {reading}: the mean of A leaves the nominal line by at most {abs(off):.2f} G0 "
        f"(stage {stage + 1}: {mean[stage]:.2f} for {nominal[stage]:g})",
        good=bool(abs(off) < 0.25),
    )


FIG3 = Part("Figure 3: distribution of the conductance at stages 5 and 29", lambda seeds: [], _present_3)
FIG4 = Part("Figure 4: 12 cycles of 32 pulses by Equation (1)", lambda seeds: [], _present_4)
