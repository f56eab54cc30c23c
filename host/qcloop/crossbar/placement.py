"""Where the tiles of layers lie on an array of one or several boards."""

from collections.abc import Iterable, Sequence

from qcloop.contract.types import ArrayConfig, Region


class Placement:
    """Places regions on the boards of an array, each behind what its board has already.

    A region is placed on the board with the fewest words in use, of several such boards on the first. So
    tiles are spread evenly, and one board is filled from word 0 on. Nothing is ever taken away.

    Parameters
    ----------
    config : ArrayConfig
        Of the whole array; its boards have equal shares of the words, those of board 0 first.
    boards : int
    """

    def __init__(self, config: ArrayConfig, boards: int = 1) -> None:
        self._config = config
        self._words = config.words // boards
        self._used = [0] * boards

    @property
    def words_used(self) -> int:
        """Words in use, of all boards."""
        return sum(self._used)

    @property
    def words_left(self) -> int:
        """Words that are not in use, of all boards."""
        return self._words * len(self._used) - self.words_used

    @property
    def boards_used(self) -> int:
        """Boards that have a region."""
        return sum(used > 0 for used in self._used)

    def place(self, shapes: Sequence[tuple[int, int]]) -> list[Region] | None:
        """Return where regions of (rows, cols) cells lie; from now on their words are in use.

        Returns None if there is no room for all of them. Nothing is placed then.
        """
        used, regions = list(self._used), []
        for rows, cols in shapes:
            board = used.index(min(used))
            region = Region(board * self._words + used[board], rows, cols)
            used[board] += words_of(self._config, [(rows, cols)])
            if used[board] > self._words:
                return None
            regions.append(region)
        self._used = used
        return regions

    def copy(self) -> "Placement":
        """Return a placement with the same regions, to try what else there is room for."""
        other = Placement(self._config, len(self._used))
        other._used = list(self._used)
        return other


def words_of(config: ArrayConfig, shapes: Iterable[tuple[int, int]]) -> int:
    """Return the words that regions of (rows, cols) cells take."""
    return sum(Region(0, rows, cols).end(config) for rows, cols in shapes)
