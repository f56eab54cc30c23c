"""Several boards as one array: each region lies on one of them, and they multiply at the same time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qcloop.array.golden import GoldenArray
from qcloop.array.interface import Array, Cells, Products
from qcloop.contract.formats import MAX_BOARDS
from qcloop.contract.generator import board_seed
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import (
    I8,
    I16,
    U8,
    U16,
    ArrayConfig,
    ArraySettings,
    Counters,
    Positions,
    Region,
)
from qcloop.errors import ArrayError, ConfigError

#: What a board does by itself, on all layers of a network: those of a group are not all on one board.
_ALONE = ArrayPart.LEARNING | ArrayPart.IMAGES


class ArrayGroup(Array):
    """Several arrays of one configuration as one.

    With W words a board, the words of board k are ``k * W`` to ``(k + 1) * W - 1`` of the group, and its
    cells are programmed contiguously from the first of them. ``config`` has the cells of all boards. What a
    board does by itself, ``LEARNING`` and ``IMAGES``, a group has not.

    Board k draws with the seed :func:`qcloop.contract.generator.board_seed` of the group's seed, so its
    fluctuations depend on nothing that the other boards do.

    Parameters
    ----------
    members : sequence of Array
        Two or more. The group closes none of them.

    Raises
    ------
    ConfigError
        If there are too few or too many, or if their configurations differ.

    Attributes
    ----------
    members : tuple of Array
    """

    def __init__(self, members: Sequence[Array]) -> None:
        if not 2 <= len(members) <= MAX_BOARDS:
            raise ConfigError(f"a group has 2..{MAX_BOARDS} boards, not {len(members)}")
        config = members[0].config
        for number, member in enumerate(members):
            if member.config != config:
                raise ConfigError(
                    f"boards 0 and {number} of a group must be alike, but {config} is not {member.config}"
                )
        super().__init__(replace(config, cells=len(members) * config.cells, parts=config.parts & ~_ALONE))
        self.members = tuple(members)
        self.boards = len(members)
        self.micro_batch_size = members[0].micro_batch_size
        #: Boards of regions, and the regions there.
        self._known: dict[Region, tuple[Array, Region]] = {}

    @property
    def board_config(self) -> ArrayConfig:
        """Configuration of each board."""
        return self.members[0].config

    def counters(self) -> Counters:
        """Return what all boards have counted since :meth:`configure`."""
        return sum((member.counters() for member in self.members), Counters())

    def positions(self) -> Positions:
        """Return the next samples of the generators of each board."""
        first, *further = (member.positions() for member in self.members)
        return replace(first, further=tuple(further))

    # -- where a region is ------------------------------------------------------------------------

    def _on(self, region: Region) -> tuple[Array, Region]:
        """Return the board that has a region, and the region there; ArrayError if no board has all of it."""
        if region not in self._known:
            words = self.board_config.words
            board = region.base // words
            if region.end(self.config) > (board + 1) * words or board >= self.boards:
                raise ArrayError(
                    f"region {region.rows} x {region.cols} at word {region.base} ends at word "
                    f"{region.end(self.config)}, but a region lies on one of {self.boards} boards of "
                    f"{words} words"
                )
            there = replace(region, base=region.base - board * words)
            self._known[region] = self.members[board], there
        return self._known[region]

    def _check_inside(self, region: Region) -> None:
        super()._check_inside(region)
        self._on(region)

    def _check_writable(self, region: Region) -> None:
        self._check_inside(region)
        member, there = self._on(region)
        member._check_writable(there)

    def _check_programmed(self, region: Region) -> None:
        member, there = self._on(region)
        member._check_programmed(there)

    def _check_parts(self, needed: ArrayPart) -> None:
        if needed & _ALONE:
            raise ArrayError(
                f"{self.boards} boards as one array make no training step of their own, since none of them "
                "has all layers: leave --step array out, or use one board"
            )
        super()._check_parts(needed)

    # -- the contract -----------------------------------------------------------------------------

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        for board, (member, own) in enumerate(zip(self.members, positions.each(), strict=True)):
            member.configure(replace(settings, seed=board_seed(settings.seed, board)), own)

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        member, there = self._on(region)
        member.program(there, cells, levels)

    def _program_block(self, region: Region, levels: U8) -> None:
        member, there = self._on(region)
        member.program_block(there, levels)

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        member, there = self._on(region)
        member.load(there, levels, codes)

    def _start_forward(self, region: Region, x: U8, bits: int) -> Products:
        member, there = self._on(region)
        return member.start_forward(there, x, bits)

    def _start_backward(self, region: Region, d: I8) -> Products:
        member, there = self._on(region)
        return member.start_backward(there, d)

    def _read(self, region: Region) -> tuple[U8, I16]:
        member, there = self._on(region)
        return member.read(there)

    def _start_read(self, region: Region) -> Cells:
        member, there = self._on(region)
        return member._start_read(there)

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        member, there = self._on(region)
        member.load_variation(there, gains, offsets)

    def _read_variation(self, region: Region) -> tuple[I8, I8]:
        member, there = self._on(region)
        return member.read_variation(there)

    def _age(self, region: Region, drift: I16, spread: U16) -> None:
        member, there = self._on(region)
        member.age(there, drift, spread)

    def _load_endurance(self, region: Region, left: U16) -> None:
        member, there = self._on(region)
        member.load_endurance(there, left)

    def _read_endurance(self, region: Region) -> U16:
        member, there = self._on(region)
        return member.read_endurance(there)


def golden_model(config: ArrayConfig, boards: int = 1) -> Array:
    """Return the golden model of so many boards of a configuration, as one array."""
    if boards == 1:
        return GoldenArray(config)
    return ArrayGroup([GoldenArray(config) for _ in range(boards)])
