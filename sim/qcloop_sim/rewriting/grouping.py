"""Decides which statements of an evaluation share a group, and therefore a bit.

A group is computed as soon as one of the signals it reads has changed. Small groups compute little that has
not changed; but asking for a bit, and setting it, costs something for each group. Which groups are best
depends on which signals change in the same clocks. A statement of which an input changes in most clocks has
no bit: asking would cost more than it saves.

Clocks are sets here, integers of which a bit stands for a clock: those in which one of two signals changes
are ``a | b``. They were taken out of a training (:mod:`~qcloop_sim.rewriting.activity`).
"""

import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import inf

from qcloop_sim.rewriting.reading import Statement

#: How many clocks were taken.
CLOCKS = 256
#: A statement has no bit if its inputs change in more than this share of the clocks.
BUSY = 0.5
#: What a group costs by itself, in the unit of :attr:`Statement.cost`. Found by trying.
_OVERHEAD = 2.0
#: Takes the name of a signal in C++ and returns the clocks in which it changes, None if that is not known.
Activity = Callable[[str], int | None]


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


def grouped(statements: list[Statement], activity: Activity) -> list[Group]:
    """Return all statements in groups, in an order in which they can be computed.

    Statements of one depth do not depend on one another, so only they are put together.
    """
    due = _due(statements, activity)
    busy = {k for k, clocks in enumerate(due) if clocks.bit_count() > BUSY * CLOCKS}
    candidates = defaultdict[float, list[int]](list)
    for k, statement in enumerate(statements):
        if k not in busy:
            candidates[_rank(statement)].append(k)
    groups = [
        Group(members, has_bit=True)
        for indices in candidates.values()
        for members in _merged(indices, statements, due)
    ]
    groups += [Group((k,), has_bit=False) for k in sorted(busy) if not statements[k].stored]
    if stored := tuple(k for k in sorted(busy) if statements[k].stored):
        groups.append(Group(stored, has_bit=False))
    return sorted(groups, key=lambda group: (_rank(statements[group.members[0]]), group.members))


def _rank(statement: Statement) -> float:
    """Return when a statement is computed: by its depth; what registers take, after everything else."""
    return inf if statement.stored else statement.depth


def _due(statements: list[Statement], activity: Activity) -> list[int]:
    """Return for each statement the clocks in which a signal changes that it reads.

    A register, an input or a memory of which nothing is known is taken not to change. A value of which
    nothing is known, such as an intermediate result, whose name means nothing, is taken to change whenever
    one of its inputs does.
    """
    changes = {name: activity(name) for one in statements for name in one.reads | one.defines}
    unknown = {name for name, clocks in changes.items() if clocks is None}
    known = {name: clocks or 0 for name, clocks in changes.items()}
    due = []
    for statement in statements:
        clocks = 0
        for name in statement.reads:
            clocks |= known[name]
        due.append(clocks)
        if not statement.stored:
            for name in statement.defines & unknown:
                known[name] |= clocks
    return due


def _merged(indices: list[int], statements: list[Statement], due: list[int]) -> list[tuple[int, ...]]:
    """Merge statements two by two, the cheapest merger first, while that costs less than a group by itself.

    What a group costs is the cost of its statements times the share of clocks in which it is computed, that
    is, in which one of them is due.
    """
    clocks: dict[tuple[int, ...], int] = {(k,): due[k] for k in indices}
    cost: dict[tuple[int, ...], float] = {(k,): statements[k].cost for k in indices}
    spent = {group: cost[group] * clocks[group].bit_count() for group in clocks}

    def added(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        """Return what the merger of two groups costs, in all clocks together."""
        return (cost[a] + cost[b]) * (clocks[a] | clocks[b]).bit_count() - spent[a] - spent[b]

    queue = [(added(a, b), a, b) for a, b in combinations(list(clocks), 2)]
    heapq.heapify(queue)
    while queue and queue[0][0] <= _OVERHEAD * CLOCKS:
        _, a, b = heapq.heappop(queue)
        if a not in clocks or b not in clocks:
            continue  # one of them has been merged with another group since
        both = tuple(sorted(a + b))
        clocks[both], cost[both] = clocks.pop(a) | clocks.pop(b), cost[a] + cost[b]
        spent[both] = cost[both] * clocks[both].bit_count()
        for other in clocks:
            if other != both:
                heapq.heappush(queue, (added(both, other), both, other))
    return list(clocks)
