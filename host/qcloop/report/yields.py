"""The yield of chips on the page of a sweep: its curves, and a table of some accuracies."""

from math import floor, log10

from qcloop.crossbar.settings import spell
from qcloop.figure import Plot
from qcloop.report.page import Table
from qcloop.statistic import Share
from qcloop.sweep.plan import show
from qcloop.sweep.plots import MOST_LINES, draw_yields
from qcloop.sweep.summary import Group, Summary

#: Most columns of accuracies in the table.
_COLUMNS = 6


def yield_plot(summary: Summary) -> Plot | None:
    """Return the yield curves; None without chips, or if there are more curves than can be told apart."""
    if not 1 <= len(summary.yields) <= MOST_LINES:
        return None
    curves = {", ".join(_texts(group)) or "all": found.curve() for group, found in summary.yields}
    return Plot(draw_yields(curves, ", ".join(map(spell, summary.names))), summary.yield_curves)


def yield_table(summary: Summary) -> Table:
    """Return a table of the share of chips that reaches some accuracies, each with its interval."""
    every = [100 * value for _, found in summary.yields for value in found.chips.values()]
    columns = _steps(min(every), max(every))
    head = (*map(spell, summary.names), "chips", "worst (%)", "best (%)")
    rows = []
    for group, found in summary.yields:
        values = found.chips.values()
        shares = (_text(found.at(percent / 100)) for percent in columns)
        extremes = (f"{100 * value:.2f}" for value in (min(values), max(values)))
        rows.append((*_texts(group), str(len(values)), *extremes, *shares))
    caption = (
        "Share of the chips whose test accuracy after the last epoch is at least what a column names, with "
        "its 95 % interval (Wilson), in per cent. The accuracy of a chip is the mean over its seeds."
    )
    return Table((*head, *(f"{percent:g} % reached" for percent in columns)), rows, caption)


def _steps(low: float, high: float) -> list[float]:
    """Return round numbers from above ``low`` to ``high``, at most :data:`_COLUMNS` of them."""
    if high <= low:
        return [high]
    digit = 10.0 ** floor(log10((high - low) / _COLUMNS))
    step = next(digit * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (digit * factor) < _COLUMNS)
    first, last = floor(low / step) + 1, floor(high / step)
    return [round(step * k, 9) for k in range(first, last + 1)] or [high]


def _text(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.value:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _texts(group: Group) -> list[str]:
    return ["–" if value is None else show(value) for value in group.values]
