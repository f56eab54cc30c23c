"""Decides which statements of an evaluation share a group, and therefore a bit.

A group is computed as soon as one of the signals it reads has changed. Small groups compute little that has
not changed; but asking for a bit costs something for each group, and so does finding out whether a value that
another group reads has changed. Which groups are best depends on which signals change in the same clocks. A
statement of which an input changes in most clocks has no bit: asking would cost more than it saves.

Clocks are sets here, integers of which a bit stands for a clock: those in which one of two signals changes
are ``a | b``. They were taken out of a training (:mod:`~qcloop_sim.rewriting.activity`).
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import or_

from qcloop_sim.rewriting.ordering import Ordering
from qcloop_sim.rewriting.reading import Statement

#: How many clocks were taken.
CLOCKS = 256
#: A statement has no bit if its inputs change in more than this share of the clocks.
BUSY = 0.5
#: What a group costs by itself, in each clock; a value that is compared with what it was; and a group that is
#: computed although it most often is not, or the other way round: a processor that takes the wrong branch
#: has worked in vain. In the unit of :attr:`Statement.cost`, found by trying.
_OVERHEAD, _COMPARISON, _SURPRISE = 2.0, 3.0, 15.0
#: Takes the name of a signal in C++ and returns the clocks in which it changes, None if that is not known.
Activity = Callable[[str], int | None]


@dataclass(frozen=True)
class Group:
    """Statements that are computed together, or skipped together."""

    #: Their indices in the list of statements, ascending: the order in which they are computed.
    members: tuple[int, ...]
    #: Whether it is skipped in clocks in which nothing it reads has changed.
    has_bit: bool


def grouped(statements: list[Statement], activity: Activity) -> list[Group]:
    """Return all statements in groups, in an order in which they can be computed."""
    return _Grouping(statements, activity).groups()


def _changes(statements: list[Statement], activity: Activity) -> dict[str, int]:
    """Return for each signal the clocks in which it changes.

    A register, an input or a memory of which nothing is known is taken not to change. A value of which
    nothing is known, such as an intermediate result, whose name means nothing, is taken to change whenever
    one of its inputs does.
    """
    changes = {name: activity(name) for one in statements for name in one.reads | one.defines}
    unknown = {name for name, clocks in changes.items() if clocks is None}
    known = {name: clocks or 0 for name, clocks in changes.items()}
    for statement in statements:
        if not statement.stored and (names := statement.defines & unknown):
            clocks = _union(known[name] for name in statement.reads)
            for name in names:
                known[name] |= clocks
    return known


def _union(clocks: Iterable[int]) -> int:
    return reduce(or_, clocks, 0)


class _Grouping:
    """Groups while they are merged. Each has the index of one of its statements as its name."""

    def __init__(self, statements: list[Statement], activity: Activity) -> None:
        self._changes = _changes(statements, activity)
        self._statements = statements
        indices = range(len(statements))
        #: Statements that define a value, and those that read it.
        self._definers = defaultdict[str, set[int]](set)
        self._readers = defaultdict[str, set[int]](set)
        for k, statement in enumerate(statements):
            if not statement.stored:
                for name in statement.defines:
                    self._definers[name].add(k)
        for k, statement in enumerate(statements):
            for name in statement.reads & self._definers.keys():
                self._readers[name].add(k)
        edges = (
            (a, b) for name, readers in self._readers.items() for a in self._definers[name] for b in readers
        )
        self._order = Ordering(len(statements), edges)
        self._members = {k: {k} for k in indices}
        #: Of each group: what it reads, the values that it defines and that others read, and its cost.
        self._reads = {k: set(statements[k].reads) for k in indices}
        self._given = {k: self._read_by_others({k}, statements[k].defines) for k in indices}
        self._work = {k: statements[k].cost for k in indices}
        self._due = {k: _union(self._changes[name] for name in self._reads[k]) for k in indices}
        self._busy = {k for k in indices if self._due[k].bit_count() > BUSY * CLOCKS}
        self._cost = {k: self._cost_of(self._work[k], self._given[k], self._due[k]) for k in indices}

    def groups(self) -> list[Group]:
        """Merge groups two by two, the best merger first, and return them in an order of computation."""
        calm = [k for k in self._members if k not in self._busy]
        stored = [k for k in sorted(self._busy) if self._statements[k].stored]
        for alike in (*self._alike(calm), stored):
            for other in alike[1:]:
                self._merge(alike[0], other)
        self._merge_best(
            (a, b) for a in calm if a in self._members for b in self._order.after(a) if b not in self._busy
        )
        self._merge_best(combinations([k for k in calm if k in self._members], 2), neighbours=False)
        return [Group(tuple(sorted(self._members[k])), self._gains_by_a_bit(k)) for k in self._order.sorted()]

    def _gains_by_a_bit(self, k: int) -> bool:
        always = CLOCKS * (self._work[k] + _COMPARISON * len(self._given[k]))
        return k not in self._busy and self._cost[k] < always

    def _alike(self, indices: list[int]) -> list[list[int]]:
        """Return statements that are due in the same clocks and do not depend on one another."""
        alike = defaultdict[tuple[int, int], list[int]](list)
        for k in indices:
            statement = self._statements[k]
            alike[-1 if statement.stored else statement.depth, self._due[k]].append(k)
        return list(alike.values())

    def _merge_best(self, pairs: Iterable[tuple[int, int]], neighbours: bool = True) -> None:
        """Merge the best pair, and go on with what was merged and its neighbours, or all others."""
        queue = [(gain, a, b) for a, b in pairs if (gain := self._lost(a, b)) <= 0]
        heapq.heapify(queue)
        while queue:
            lost, a, b = heapq.heappop(queue)
            if a not in self._members or b not in self._members:
                continue
            if (now := self._lost(a, b)) != lost:  # one of them has grown since
                if now <= 0:
                    heapq.heappush(queue, (now, a, b))
                continue
            if not self._merge(a, b):
                continue
            others = self._order.beside(a) if neighbours else self._members
            for other in others:
                if other != a and other not in self._busy and (lost := self._lost(a, other)) <= 0:
                    heapq.heappush(queue, (lost, a, other))

    def _merge(self, a: int, b: int) -> bool:
        """Make b part of a, unless a third group would have to be computed between both."""
        both = self._both(a, b)
        if not self._order.merge(a, b):
            return False
        self._reads[a], self._given[a], self._due[a] = both
        self._members[a] |= self._members.pop(b)
        self._work[a] += self._work.pop(b)
        self._cost[a] = self._cost_of(self._work[a], self._given[a], self._due[a])
        for of in (self._reads, self._given, self._due, self._cost):
            del of[b]
        return True

    def _lost(self, a: int, b: int) -> float:
        """Return what a merger costs, in all clocks together: negative if it saves something."""
        _, given, due = self._both(a, b)
        return self._cost_of(self._work[a] + self._work[b], given, due) - self._cost[a] - self._cost[b]

    def _both(self, a: int, b: int) -> tuple[set[str], set[str], int]:
        """Return what two groups read and give together, and when they are due."""
        if not self._order.touch(a, b):
            return (
                self._reads[a] | self._reads[b],
                self._given[a] | self._given[b],
                self._due[a] | self._due[b],
            )
        members = self._members[a] | self._members[b]
        reads = {
            name
            for name in self._reads[a] | self._reads[b]
            if name not in self._definers or not self._definers[name] <= members
        }
        given = self._read_by_others(members, self._given[a] | self._given[b])
        return reads, given, _union(self._changes[name] for name in reads)

    def _read_by_others(self, members: set[int], names: Iterable[str]) -> set[str]:
        return {name for name in names if not self._readers.get(name, members) <= members}

    def _cost_of(self, work: float, given: set[str], due: int) -> float:
        """Return what a group with a bit costs in all clocks together."""
        times = due.bit_count()
        surprises = min(times, CLOCKS - times)
        return (work + _COMPARISON * len(given)) * times + _SURPRISE * surprises + _OVERHEAD * CLOCKS
