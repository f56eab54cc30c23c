"""Several boards, each on a port, as one array."""

from collections.abc import Sequence
from contextlib import ExitStack

from qcloop.array.group import ArrayGroup
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import ArrayConfig
from qcloop.errors import ConfigError
from qcloop.link.ports import BAUD, open_array, split_ports
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkCounts, serve_together


class OpenedBoards(ArrayGroup):
    """The arrays on several ports as one array. They work at the same time.

    Parameters
    ----------
    members : sequence of RemoteArray
        :meth:`close` closes them.
    ports : sequence of str
        What a user calls their ports.

    Raises
    ------
    ConfigError
        If boards differ; the message names two of them, and in what they do.
    """

    def __init__(self, members: Sequence[RemoteArray], ports: Sequence[str]) -> None:
        for member, port in zip(members, ports, strict=True):
            if member.config != members[0].config:
                raise ConfigError(
                    f"boards that are one array must be alike, but the one on {ports[0]} has "
                    f"{_describe(members[0].config)}, and the one on {port} {_describe(member.config)}"
                )
        super().__init__(members)
        self._opened = tuple(members)
        serve_together([member.link for member in members])

    @property
    def name(self) -> str:
        """The ports, as ``--port`` takes them."""
        return ",".join(member.name for member in self._opened)

    @property
    def counts(self) -> LinkCounts:
        """What went over all lines."""
        return sum((member.counts for member in self._opened), LinkCounts())

    def restart(self) -> None:
        """Start a new session with each board: the arrays are as after a reset, and no cell is programmed."""
        for member in self._opened:
            member.restart()

    def close(self) -> None:
        """Release the ports, and end the boards that were started."""
        with ExitStack() as stack:
            for member in self._opened:
                stack.callback(member.close)


def _describe(config: ArrayConfig) -> str:
    return f"{config.lanes} lanes, {config.cells:,} cells, side {config.side}, {config.describe_parts()}"


def open_boards(
    port: str, baud: int = BAUD, parts: ArrayPart = STANDARD_PARTS, images: ImageSet | None = None
) -> RemoteArray | OpenedBoards:
    """Open the array on a port, or those on several ports as one array.

    Parameters
    ----------
    port : str
        A port, as :func:`~qcloop.link.ports.open_array` takes it, or several with commas between them. The
        name of a port has no comma.
    baud, parts, images
        As for :func:`~qcloop.link.ports.open_array`, and the same for each board.

    Raises
    ------
    ConfigError
        If a port stands in it twice, or if boards differ.
    LinkError, ArrayError, QcloopError
        As :func:`~qcloop.link.ports.open_array` raises them.
    """
    ports = split_ports(port)
    with ExitStack() as stack:
        opened: list[RemoteArray] = []
        for one in ports:
            opened.append(open_array(one, baud, parts, images))
            stack.callback(opened[-1].close)
        array = opened[0] if len(opened) == 1 else OpenedBoards(opened, ports)
        stack.pop_all()
    return array
