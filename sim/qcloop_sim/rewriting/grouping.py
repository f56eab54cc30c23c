"""Decides which statements of an evaluation share a group, and therefore a bit.

A group is computed as soon as one of the signals it reads has changed. Small groups compute little that has
not changed; but asking for a bit, and setting it, costs something for each group. Which groups are best
depends on how often the signals change. A statement that reads a signal which changes nearly always has no
bit: asking would cost more than it saves.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from math import exp, inf, log1p

from qcloop_sim.rewriting.reading import Statement

#: A statement has no bit if it reads a signal that changes in more than this share of the clocks.
BUSY = 0.3
#: What a group costs by itself, in the unit of :attr:`Statement.cost`. Found by trying.
_OVERHEAD = 4.0
#: No share is taken to be 0 or 1: what was not seen to change may change once.
_LEAST, _MOST = 1e-3, 0.999


@dataclass(frozen=True)
class Group:
    """Statements that are computed together, or skipped together.

    None of them reads what another one defines, unless it is a register, which changes at the end of the
    clock.
    """

    #: Their indices in the list of statements, ascending.
    members: tuple[int, ...]
    #: Whether it is skipped in clocks in which nothing it reads has changed.
    has_bit: bool


def grouped(statements: list[Statement], activity: Callable[[str], float]) -> list[Group]:
    """Return all statements in groups, in an order in which they can be computed.

    Statements of one depth do not depend on one another, so only they are put together.
    """
    shares = _shares(statements, activity)
    unchanged = {name: log1p(-share) for name, share in shares.items()}
    busy = {k for k, one in enumerate(statements) if any(shares[name] > BUSY for name in one.reads)}
    candidates = defaultdict[float, list[int]](list)
    for k, statement in enumerate(statements):
        if k not in busy:
            candidates[_rank(statement)].append(k)
    groups = [
        Group(members, has_bit=True)
        for indices in candidates.values()
        for members in _merged(indices, statements, unchanged)
    ]
    groups += [Group((k,), has_bit=False) for k in sorted(busy) if not statements[k].stored]
    if stored := tuple(k for k in sorted(busy) if statements[k].stored):
        groups.append(Group(stored, has_bit=False))
    return sorted(groups, key=lambda group: (_rank(statements[group.members[0]]), group.members))


def _rank(statement: Statement) -> float:
    """Return when a statement is computed: by its depth; what registers take, after everything else."""
    return inf if statement.stored else statement.depth


def _shares(statements: list[Statement], activity: Callable[[str], float]) -> dict[str, float]:
    """Return the share of clocks in which each signal changes.

    An intermediate result, whose name means nothing, is taken to change as often as the busiest signal it is
    computed from.
    """
    shares = {name: min(max(activity(name), _LEAST), _MOST) for one in statements for name in one.reads}
    for statement in statements:
        for name in statement.defines:
            if name.startswith("i_"):
                shares[name] = max((shares[other] for other in statement.reads), default=_LEAST)
    return shares


def _merged(
    indices: list[int], statements: list[Statement], unchanged: dict[str, float]
) -> list[tuple[int, ...]]:
    """Merge statements two by two, the cheapest merger first, while that costs less than a group by itself.

    What a group costs is the cost of its statements times the share of clocks in which it is computed, that
    is, in which one of its signals changes. The signals are taken to change independently of one another.
    """
    reads: dict[tuple[int, ...], frozenset[str]] = {(k,): statements[k].reads for k in indices}
    cost: dict[tuple[int, ...], float] = {(k,): statements[k].cost for k in indices}
    spent = {group: cost[group] * _changed(reads[group], unchanged) for group in reads}

    def added(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        """Return what the merger of two groups costs."""
        return (cost[a] + cost[b]) * _changed(reads[a] | reads[b], unchanged) - spent[a] - spent[b]

    queue = [(added(a, b), a, b) for a, b in combinations(list(reads), 2)]
    heapq.heapify(queue)
    while queue and queue[0][0] <= _OVERHEAD:
        _, a, b = heapq.heappop(queue)
        if a not in reads or b not in reads:
            continue  # one of them has been merged with another group since
        both = tuple(sorted(a + b))
        reads[both], cost[both] = reads.pop(a) | reads.pop(b), cost[a] + cost[b]
        spent[both] = cost[both] * _changed(reads[both], unchanged)
        for other in reads:
            if other != both:
                heapq.heappush(queue, (added(both, other), both, other))
    return list(reads)


def _changed(names: Iterable[str], unchanged: dict[str, float]) -> float:
    """Return the share of clocks in which at least one signal changes.

    ``unchanged`` has the logarithms of the shares in which they do not: shares are multiplied by adding them.
    """
    return 1 - exp(sum(unchanged[name] for name in names))
