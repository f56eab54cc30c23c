"""Beyond the paper: the best training on the same devices, what it costs, and states against fluctuation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import Policy
from qcloop.figure import to_png, to_svg
from qcloop.report.page import Block, Picture, Section, Table, Text, Verdict
from qcloop.reproduce.part import Outcomes, Part, Presentation
from qcloop.sweep.plots import Axis, draw_map
from qcloop.sweep.points import Point
from qcloop.table import csv_text
from qcloop.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

F64 = npt.NDArray[np.float64]

#: Number of seeds that are used here: the first three of those given.
_SEEDS = 3


@dataclass(frozen=True)
class Case:
    """A way to train, and its aim if it has one: an accuracy in per cent that was set before the runs."""

    label: str
    recipe: str | None
    settings: dict[str, Any]
    aim: float | None = None

    def points(self, seeds: Sequence[int]) -> list[Point]:
        """Return a point for each seed."""
        return [Point.of(self.recipe, seed=seed, **self.settings) for seed in seeds[:_SEEDS]]


_SMALL = "784-16-16-10"
_LONG = {"network": _SMALL, "epochs": 20, "decay": 0.85}
CASES = (
    Case("784-256-10, A", "best", {}, aim=98.0),
    Case("784-256-10, B", "best", {"device": "B"}),
    Case("784-256-10, A, images not shifted", "best", {"shift": 0}),
    Case("784-256-10, A, 8-bit inputs", "best", {"input_bits": 8}),
    Case(f"{_SMALL}, A", None, _LONG, aim=94.0),
    Case(f"{_SMALL}, B", None, {**_LONG, "device": "B"}),
    Case(f"{_SMALL}, A, 8-bit inputs", None, {**_LONG, "input_bits": 8}),
    Case(f"{_SMALL}, A, rule stochastic", None, {**_LONG, "update": "stochastic"}),
    Case(f"{_SMALL}, A, rule nearest", None, {"network": _SMALL, "update": "nearest"}),
)
#: The same training under each policy. The levels are the same, but the pulses that lead to them differ.
POLICIES = {policy.label: {"network": _SMALL, "policy": policy.label} for policy in Policy}


def _policy_points(seeds: Sequence[int]) -> dict[str, Point]:
    return {label: Point.of(seed=seeds[0], **settings) for label, settings in POLICIES.items()}


def _points(seeds: Sequence[int]) -> list[Point]:
    cases = [point for case in CASES for point in case.points(seeds)]
    return cases + list(_policy_points(seeds).values())


def _present(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    rows, verdicts, files = [], [], []
    for case in CASES:
        points = case.points(seeds)
        final = np.array([100 * outcomes[point].accuracy for point in points])
        median, settings = float(np.median(final)), points[0].settings
        rows.append(
            [
                case.label,
                f"{settings.update}",
                f"{settings.epochs}",
                f"{median:.2f}",
                f"{final.min():.2f} .. {final.max():.2f}",
                "" if case.aim is None else f"{case.aim:g}",
            ]
        )
        files += [(case.label, point.settings.seed, outcomes[point].accuracy) for point in points]
        if case.aim is not None:
            text = f"{case.label}, 32 states, 1-bit inputs: {median:.2f} % (aim {case.aim:g} %)"
            verdicts.append(Verdict(text, good=median >= case.aim))
    head = ("training", "rule", "epochs", "median (%)", "range (%)", "aim (%)")
    caption = f"Test accuracy after the last epoch, {counted(len(CASES[0].points(seeds)), 'seed')}."
    policies, policy_csv = _policies(seeds, outcomes)
    blocks: list[Block] = [Text(_INTRODUCTION), Table(head, rows, caption), *verdicts, policies]
    return Presentation(
        Section(BEYOND.title, blocks),
        {
            "beyond.csv": csv_text(("training", "seed", "test_accuracy"), files),
            "policies.csv": policy_csv,
        },
    )


_INTRODUCTION = (
    "The same devices, trained with float accumulators on the host (rule mixed), float biases and, for "
    "784-256-10, training images that are shifted at random by up to one pixel: without the shifts the "
    "network learns the training set by heart, with ideal devices as well."
)


def _policies(seeds: Sequence[int], outcomes: Outcomes) -> tuple[Table, str]:
    rows, direct = [], 0
    for label, point in _policy_points(seeds).items():
        cost = outcomes[point].cost
        pulses = cost.set_pulses + cost.reset_pulses
        direct = direct or pulses
        rows.append(
            [
                label,
                f"{100 * outcomes[point].accuracy:.2f}",
                f"{cost.writes:,}",
                f"{cost.set_pulses:,}",
                f"{cost.reset_pulses:,}",
                f"{pulses / direct:.2f}",
                f"{cost.programming_time_s or 0:,.0f}",
                f"{cost.write_energy_j or 0:,.2f}",
            ]
        )
    head = (
        "policy",
        "accuracy (%)",
        "writes",
        "SET pulses",
        "RESET pulses",
        "pulses to direct",
        "time (s)",
        "energy (J)",
    )
    caption = f"{_SMALL} on A, one seed. Time: all pulses one after the other. See docs/training.md."
    return Table(head, rows, caption), csv_text(head, rows)


BEYOND = Part("Beyond the paper: better training on the same devices", _points, _present)


# -- states against fluctuation ------------------------------------------------------------------

MAP_STATES = (2, 4, 8, 16, 32, 48, 64)
#: Standard deviations at stage 0, in G0: sigma of Equation (1) in the reading ``spread``.
MAP_SIGMA = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def map_points(recipe: str | None, seeds: Sequence[int]) -> dict[tuple[int, float], list[Point]]:
    """Return the points of the map, one for each seed, by (states, sigma)."""
    return {
        (states, sigma): [
            Point.of(recipe, network=_SMALL, states=states, sigma=sigma, reading="spread", seed=seed)
            for seed in seeds[:_SEEDS]
        ]
        for states in MAP_STATES
        for sigma in MAP_SIGMA
    }


def _map_run(recipe: str | None, seeds: Sequence[int]) -> list[Point]:
    return [point for points in map_points(recipe, seeds).values() for point in points]


def _map_present(name: str, recipe: str | None, seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    cells = map_points(recipe, seeds)
    accuracy = np.array(
        [
            [
                np.median([100 * outcomes[point].accuracy for point in cells[states, sigma]])
                for sigma in MAP_SIGMA
            ]
            for states in MAP_STATES
        ]
    )
    figure = _draw_map(accuracy)
    rows = [
        (states, sigma, point.settings.seed, outcomes[point].accuracy)
        for (states, sigma), points in cells.items()
        for point in points
    ]
    settings = next(iter(cells.values()))[0].settings
    text = Text(
        f"{_SMALL}, rule {settings.update}, {settings.epochs} epochs, median of "
        f"{counted(len(seeds[:_SEEDS]), 'seed')}. The fluctuation is the standard deviation of a write at "
        "the ON end; it shrinks with the stage as in Equation (1)."
    )
    picture = Picture(
        to_svg(figure, name), alt="Heat map of the test accuracy by number of states and fluctuation"
    )
    return Presentation(
        Section(PARTS_OF_MAP[name].title, (text, picture)),
        {
            f"{name}.png": to_png(figure),
            f"{name}.csv": csv_text(("states", "sigma_g0", "seed", "test_accuracy"), rows),
        },
    )


def _draw_map(accuracy: F64) -> "Figure":
    sigma = tuple(f"{sigma:g}" for sigma in MAP_SIGMA)
    x = Axis("fluctuation of a write at the ON end, σ (G0)", MAP_SIGMA, sigma)
    y = Axis("conductance states", MAP_STATES, tuple(map(str, MAP_STATES)))
    return draw_map(accuracy, x, y, 10, 100)


PARTS_OF_MAP = {
    name: Part(
        f"States against fluctuation, rule {rule}",
        partial(_map_run, recipe),
        partial(_map_present, name, recipe),
    )
    for name, rule, recipe in (("map", "mixed", None), ("map-nearest", "nearest", "paper"))
}
