"""Faults of a line, drawn from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random

from qcloop.errors import ConfigError


@dataclass(frozen=True)
class Faults:
    """What goes wrong on a virtual board's line: the same for the same seed and the same bytes.

    Probabilities are for each bit or byte, in either direction.

    Raises
    ------
    ConfigError
        If a probability is not 0 to 0.1, or a number of bytes is negative.
    """

    seed: int = 0
    #: Probability that a bit is flipped.
    flip: float = 0.0
    #: Probabilities that a byte is lost; that it comes twice; that it is delayed, behind up to 64 bytes that
    #: follow it.
    drop: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    #: The board is reset once, when it has been sent so many bytes; 0 for never.
    reset_after: int = 0
    #: The line is cut for good, when the board has been sent so many bytes; 0 for never.
    cut_after: int = 0

    def __post_init__(self) -> None:
        for name in ("flip", "drop", "repeat", "delay"):
            if not 0 <= getattr(self, name) <= 0.1:
                raise ConfigError(f"the probability {name} must be 0 to 0.1, not {getattr(self, name)}")
        for name in ("reset_after", "cut_after"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be a number of bytes, 0 for never, not {getattr(self, name)}")

    @property
    def any(self) -> bool:
        """Whether anything can go wrong."""
        return any(getattr(self, field.name) for field in fields(self) if field.name != "seed")


class BadLine:
    """One direction of a line with faults. What happens to a byte depends only on how many came before it.

    Parameters
    ----------
    faults : Faults
    direction : str
        Names the direction, so that the two have different faults.
    """

    def __init__(self, faults: Faults, direction: str) -> None:
        #: Bytes that went in; those that are delayed, with the index of the byte behind which they come out.
        self._count = 0
        self._delayed: list[tuple[int, int]] = []
        probabilities = {"flip": 1 - (1 - faults.flip) ** 8}
        probabilities |= {name: getattr(faults, name) for name in ("drop", "repeat", "delay")}
        self._random = {name: Random(f"{faults.seed} {direction} {name}") for name in probabilities}
        self._events = {
            name: _events(self._random[name], probability)
            for name, probability in probabilities.items()
            if probability
        }
        self._next = {name: next(events) for name, events in self._events.items()}

    def pass_on(self, data: bytes) -> bytes:
        """Return the bytes that come out of the line when ``data`` goes in."""
        end = self._count + len(data)
        if not self._delayed and (not self._next or min(self._next.values()) >= end):
            self._count = end
            return data
        out = bytearray()
        for byte in data:
            self._one(byte, out)
            self._count += 1
        return bytes(out)

    def _one(self, byte: int, out: bytearray) -> None:
        happens = {name for name, index in self._next.items() if index == self._count}
        for name in happens:
            self._next[name] = next(self._events[name])
        if "flip" in happens:
            byte ^= 1 << self._random["flip"].randrange(8)
        if "delay" in happens:
            self._delayed.append((self._count + self._random["delay"].randint(1, 64), byte))
        elif "drop" not in happens:
            out.append(byte)
            if "repeat" in happens:
                out.append(byte)
        while self._delayed and self._delayed[0][0] <= self._count:
            out.append(self._delayed.pop(0)[1])


def _events(random: Random, probability: float) -> Iterator[int]:
    """Yield the indices of the bytes to which something happens, each with the same probability."""
    index = -1
    while True:
        index += 1
        while random.random() >= probability:
            index += 1
        yield index
