"""An order of groups in which none comes before a group that it needs, kept while groups are merged."""

from collections.abc import Callable, Iterable, Mapping


class Ordering:
    """Groups, which others each of them needs, and an order in which they can be computed.

    Parameters
    ----------
    count : int
        Groups are numbers; at first they are 0 to ``count`` - 1, in an order in which they can be computed.
    edges : iterable of pairs of int
        Each pair is a group and another one that needs it.
    """

    def __init__(self, count: int, edges: Iterable[tuple[int, int]]) -> None:
        self._before: dict[int, set[int]] = {k: set() for k in range(count)}
        self._after: dict[int, set[int]] = {k: set() for k in range(count)}
        self._place = {k: k for k in range(count)}
        for a, b in edges:
            self._before[b].add(a)
            self._after[a].add(b)

    def sorted(self) -> list[int]:
        """Return the groups in their order."""
        return sorted(self._place, key=self._place.__getitem__)

    def after(self, group: int) -> set[int]:
        """Return the groups that need this one."""
        return self._after[group]

    def beside(self, group: int) -> set[int]:
        """Return the groups that need this one or that it needs."""
        return self._after[group] | self._before[group]

    def touch(self, a: int, b: int) -> bool:
        """Return whether one of two groups needs the other."""
        return b in self._after[a] or b in self._before[a]

    def merge(self, a: int, b: int) -> bool:
        """Make one group of two, with the number of the first.

        Return whether that is possible: not if a third group needs one of them, and is needed by the other.

        Only groups between both change their places. Those that need the first of them come behind both,
        those that the second needs come before.
        """
        first, second = sorted((a, b), key=self._place.__getitem__)
        start, end = self._place[first], self._place[second]
        behind = self._reached(first, self._after, lambda place: place < end, but=second)
        if any(second in self._after[group] for group in behind):
            return False
        ahead = self._reached(second, self._before, lambda place: place > start, but=first)
        places = sorted(self._place[group] for group in (*ahead, *behind, a, b))
        order = [*sorted(ahead, key=self._place.__getitem__), a, *sorted(behind, key=self._place.__getitem__)]
        del self._place[b]
        self._place.update(zip(order, places, strict=False))
        for here, there in ((self._before, self._after), (self._after, self._before)):
            for group in here.pop(b):
                there[group].discard(b)
                if group != a:
                    there[group].add(a)
                    here[a].add(group)
            here[a] -= {a, b}
        return True

    def _reached(
        self, group: int, edges: Mapping[int, set[int]], within: Callable[[int], bool], but: int
    ) -> set[int]:
        """Return the groups that edges lead to from one, within some places, but for one of them."""
        found, waiting = set[int](), [group]
        while waiting:
            for other in edges[waiting.pop()]:
                if other != but and other not in found and within(self._place[other]):
                    found.add(other)
                    waiting.append(other)
        return found
